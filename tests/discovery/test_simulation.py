"""Whole networks of engines, seeded, in virtual time."""

from __future__ import annotations

import random

import pytest

from discovery.catalog import Status
from discovery.gossip import Gossip
from discovery.messages import News, Suspicion
from tests.discovery.support import address, peer
from tests.discovery.world import World
from transport import PeerId

SIZE = 30


def network(
    seed: int = 0, size: int = SIZE, *, loss: float = 0.0, drop: float = 0.0, skew: bool = False, wire: bool = False
) -> World:
    """Nodes that started together with one seed, and know each other."""
    world = World(seed, loss=loss, drop=drop, skew=skew, wire=wire)
    for number in range(size):
        world.start(number, seeds=[0])
    world.run_until(world.converged, within=10.0)
    return world


def test_five_nodes_know_each_other_within_a_second() -> None:
    world = World(1)
    for number in range(5):
        world.start(number, seeds=[0])
    assert world.run_until(world.converged, within=2.0) <= 1.0


def test_thirty_nodes_with_one_seed_find_each_other() -> None:
    world = network(wire=True)
    joined = [(told.node, told.peer) for told in world.told if told.kind == "joined"]
    assert len(joined) == len(set(joined)) == SIZE * (SIZE - 1)
    assert {told.kind for told in world.told} == {"joined"}


def test_a_newcomer_is_known_everywhere_in_a_moment() -> None:
    world = network()
    world.run(5.0)
    world.start(SIZE, seeds=[7])
    assert world.run_until(lambda: all(SIZE in world.knows(n) for n in range(SIZE)), within=2.0) <= 0.3
    world.run_until(world.converged, within=5.0)


def test_any_member_serves_as_a_seed_and_one_that_is_down_is_waited_for() -> None:
    world = World(2)
    world.start(1, seeds=[0])
    world.start(2, seeds=[1])
    world.run_until(world.converged, within=5.0)
    world.run(20.0)
    world.start(0)
    world.run_until(lambda: len(world.nodes) == 3 and world.converged(), within=20.0)


def test_a_crash_is_noticed_by_all_and_nobody_else_is_lost() -> None:
    world = network()
    world.crash(3)
    world.run_until(world.converged, within=25.0)
    lost = {(told.node, told.peer) for told in world.told if told.kind == "lost"}
    assert lost == {(number, 3) for number in world.nodes}


def test_a_departure_is_known_at_once() -> None:
    world = network()
    world.run(5.0)
    world.leave(4)
    world.run(1.0)
    left = [told.node for told in world.told if told.kind == "left"]
    assert sorted(left) == sorted(world.nodes)
    world.run(20.0)
    assert not [told for told in world.told if told.kind in ("suspect", "lost")]
    assert world.converged()


def test_a_partition_that_heals_leaves_no_trace() -> None:
    world = network()
    island = set(range(10))
    world.cut_off(island)
    world.run_until(lambda: all(world.knows(n) == island - {n} for n in island), within=60.0)
    world.run_until(lambda: all(not world.knows(n) & island for n in world.nodes.keys() - island), within=60.0)
    world.run(60.0)
    world.heal()
    world.run_until(world.converged, within=60.0)


def test_a_short_partition_loses_nobody() -> None:
    world = network()
    world.cut_off(range(10))
    world.run(3.0)
    world.heal()
    world.run(30.0)
    assert not [told for told in world.told if told.kind == "lost"]
    assert world.converged()


def test_a_restart_with_nothing_remembered_is_believed_at_once() -> None:
    world = network()
    world.nodes[5].update(groups=[b"g" * 16])
    world.run(2.0)
    world.crash(5)
    world.start(5, seeds=[1], port=7002)
    world.run_until(world.converged, within=30.0)
    record = world.nodes[20].catalog.get(peer(5))
    assert record is not None
    assert record.signed.entry.address == address(5, 7002)
    assert record.signed.entry.groups == ()


def test_who_comes_after_a_crash_does_not_count_the_dead() -> None:
    world = network()
    world.crash(3)
    world.run_until(world.converged, within=25.0)
    world.start(SIZE, seeds=[0])
    world.run_until(world.converged, within=20.0)
    world.run(30.0)
    assert not [told for told in world.told if told.node == SIZE and told.peer == 3]
    record = world.nodes[SIZE].catalog.get(peer(3))
    assert record is not None
    assert record.status is Status.LOST


def test_a_crowd_that_starts_with_one_seed_never_crowds_it() -> None:
    world = network(size=150)
    assert world.now <= 5.0
    world.run(20.0)
    assert world.most_connections() <= 16, "the seed included, and what is being dialled as well"
    assert max(len(node.neighbours) for node in world.nodes.values()) <= 12


def test_an_entry_travels_to_each_node_about_once() -> None:
    world = network(size=100)
    world.run(10.0)
    entries = 0

    def count(message: object) -> None:
        nonlocal entries
        entries += len(message.entries) if isinstance(message, News) else 0

    world.on_send = count
    for number in range(10):
        world.update(number, bytes([number]) * 16)
        world.run(3.0)
    assert world.converged()
    assert entries <= 1.2 * 10 * 100


def test_news_is_everywhere_in_five_seconds_though_a_third_of_all_datagrams_is_lost() -> None:
    world = network(size=60)
    world.run(5.0)
    world.loss = 0.3
    for run in range(10):
        world.update(run, bytes([run]) * 16)
        assert time_to_know(world, run) <= 5.0


def test_where_a_third_of_all_datagrams_is_lost_false_suspicions_stay_few() -> None:
    world = network(size=60)
    world.run(5.0)
    world.loss = 0.3
    world.run(5.0)
    messages = 0

    def count(message: object) -> None:
        nonlocal messages
        messages += isinstance(message, Suspicion)

    world.on_send = count
    world.told.clear()
    world.run(60.0)
    assert messages / 60.0 <= 150
    assert not [told for told in world.told if told.kind == "lost"]
    world.loss = 0.0
    world.run(30.0)
    world.crash(0)
    world.run_until(world.converged, within=10.0)


def test_what_vanishes_without_a_trace_is_found_by_comparing() -> None:
    """No transport of ours loses a message of a link that lives; the gossip would survive it."""
    world = network(size=40)
    world.run(5.0)
    world.drop = 0.1
    for run in range(10):
        world.update(run, bytes([run]) * 16)
        assert time_to_know(world, run) <= 20.0


def test_news_is_everywhere_in_a_second() -> None:
    world = network(size=100)
    world.run(10.0)
    for number in range(5):
        world.update(number, b"g" * 16)
        assert time_to_know(world, number) <= 1.0


def test_a_crash_is_known_everywhere_in_ten_seconds() -> None:
    world = network(size=100)
    world.run(10.0)
    for number in (0, 99):
        world.crash(number)
        gone = peer(number)
        world.run_until(lambda gone=gone: all(lost(node, gone) for node in world.nodes.values()), within=10.0)  # type: ignore[misc]


def test_nobody_is_lost_wrongly_in_ten_minutes_with_loss() -> None:
    world = network(loss=0.05)
    world.run(600.0)
    assert not [told for told in world.told if told.kind in ("lost", "left")]


def test_a_process_that_is_stopped_for_a_moment_is_not_lost_and_loses_nobody() -> None:
    world = network()
    world.run(10.0)
    for number in (0, 5, 9):
        world.stop(number, 4.0)
        world.run(20.0)
    assert not [told for told in world.told if told.kind == "lost"]
    assert world.converged()


def test_clocks_that_are_wrong_by_years_change_nothing() -> None:
    world = network(3, skew=True)
    world.run(10.0)
    world.crash(4)
    world.run_until(world.converged, within=15.0)
    world.leave(5)
    world.run(1.0)
    world.start(5, seeds=[0], port=7002)
    world.run_until(world.converged, within=5.0)


def test_an_idle_network_says_little_however_large_it_is() -> None:
    def bytes_a_second(size: int) -> float:
        world = network(size=size)
        world.run(20.0)
        world.weigh, before = True, world.bytes
        world.run(20.0)
        return (world.bytes - before) / size / 20

    small, large = bytes_a_second(20), bytes_a_second(100)
    assert large <= 1.5 * small
    assert large <= 1000


def test_one_seed_gives_one_history() -> None:
    def history(seed: int) -> list[object]:
        world = network(seed, size=8, loss=0.1)
        world.crash(2)
        world.run(30.0)
        return list(world.told)

    assert history(7) == history(7)
    assert history(7) != history(8)


def time_to_know(world: World, number: int) -> float:
    """Seconds until every node has the present entry of one, or a newer one."""
    version, who = world.nodes[number].own.entry.version, peer(number)
    nodes = [node for other, node in world.nodes.items() if other != number]

    def known() -> bool:
        records = (node.catalog.get(who) for node in nodes)
        return all(record is not None and record.version >= version for record in records)

    return world.run_until(known, within=30.0, step=0.02)


def lost(node: Gossip, who: PeerId) -> bool:
    record = node.catalog.get(who)
    return record is not None and record.status is Status.LOST


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_they_converge(seed: int) -> None:
    """Random starts, crashes, departures, restarts and partitions under loss; then peace."""
    dice = random.Random(f"faults {seed}")
    world = network(seed, size=15, loss=0.05, skew=seed % 2 == 1, wire=seed < 2)
    gone: list[int] = []
    for _ in range(12):
        match dice.choice(("start", "crash", "leave", "restart", "cut", "heal", "change")):
            case "start":
                number = len(world.nodes) + len(gone)
                world.start(number, seeds=dice.sample(sorted(world.nodes), 2))
            case "crash" | "leave" as how if len(world.nodes) > 8:
                number = dice.choice(sorted(world.nodes))
                gone.append(number)
                if how == "crash":
                    world.crash(number)
                else:
                    world.leave(number)
                    world.run(0.6)
            case "restart" if gone:
                number = gone.pop(dice.randrange(len(gone)))
                world.start(number, seeds=dice.sample(sorted(world.nodes), 2), port=dice.choice((7001, 7002)))
            case "cut":
                world.cut_off(dice.sample(sorted(world.nodes), dice.randint(1, len(world.nodes) // 2)))
            case "heal":
                world.heal()
            case "change":
                world.nodes[dice.choice(sorted(world.nodes))].update(groups=[dice.randbytes(16)])
        world.run(dice.uniform(0, 15))
    world.heal()
    took = world.run_until(world.converged, within=180.0)
    assert took <= 180.0
