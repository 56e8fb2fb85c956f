"""How a group is born, meets its double, dies and is born again: told by hand, one after the other."""

from __future__ import annotations

import pytest

from p2praft.raft.histories.states import State, Wait
from tests.simulation.run import settle
from tests.simulation.support import (
    calm,
    copy_disk,
    histories,
    leader_of,
    newcomer,
    put,
    put_back,
    running,
    voters_of,
)
from tests.simulation.world import Plan, World

# --- beginning


@pytest.mark.parametrize("fresh", [1, 2])
def test_fresh_nodes_that_reach_the_group_late_wipe_nothing(fresh: int) -> None:
    """Whatever their clocks say, and although they have founded in the meantime."""
    world = calm(5, expect=1)
    group = histories(world)
    words = put(world, 20)
    numbers = set(range(6, 6 + fresh))
    nodes = [newcomer(world, reaches=numbers, met=True) for _ in range(fresh)]
    world.run(world.now + 6)
    assert histories(world) - group, "they have founded"
    world.cuts.clear()
    world.run(world.now + 10)
    assert histories(world) == group
    assert all(words <= node.state.words for node in nodes)
    settle(world)


def test_a_visitor_of_two_seconds_stops_nobody() -> None:
    world = calm(5, expect=1)
    visitor = newcomer(world, reaches={6}, met=True)
    world.run(world.now + 3)
    put_alone = {world.propose(visitor) for _ in range(50)}
    world.pump(visitor)
    world.run(world.now + 1)
    assert put_alone <= visitor.state.words
    world.cuts.clear()
    world.run(world.now + 2)
    visitor.gone = True
    world.ledger.excuse(visitor, world.nodes)
    world.crash(visitor, restart_after=None)
    world.run(world.now + 5)
    put(world, 3)
    settle(world)


def test_four_of_five_found_although_the_lowest_reaches_only_the_second_lowest() -> None:
    world = World(Plan(seed=1, voters=5, expect=3))
    world.cuts |= {(1, other) for other in (3, 4, 5)} | {(other, 1) for other in (3, 4, 5)}
    world.run(20)
    held = {running(node).ctx.history for node in world.nodes[1:]}
    assert len(held) == 1
    assert held != {bytes(16)}
    put(world, 1)


def test_a_genesis_whose_writer_lost_its_disk_does_not_hold_up_the_founders() -> None:
    world = World(Plan(seed=4, voters=3, expect=3), start=False)
    for node in world.nodes:
        world.start(node)
    while not (writers := [node for node in world.nodes if running(node).histories.state is State.WRITING]):
        world.step()
    writer = writers[0]
    others = [node for node in world.nodes if node is not writer]
    while not all(running(node).last.index for node in others):
        world.step()
    world.crash(writer, restart_after=1, empty=True)
    world.run(world.now + 20)
    put(world, 1)
    settle(world)


# --- meeting


def apart(left: int, right: int, *, volatile: bool = False) -> tuple[World, set[bytes], set[bytes]]:
    """Two groups that were founded out of each other's sight, with what each has acknowledged."""
    world = World(Plan(seed=2, voters=left + right, expect=1, volatile=volatile))
    near = {node.number for node in world.nodes[:left]}
    world.cut(near)
    world.run(6)
    words: list[set[bytes]] = []
    for side in (world.nodes[:left], world.nodes[left:]):
        leader = next(node for node in side if running(node).is_leader)
        put = {world.propose(leader) for _ in range(10)}
        world.pump(leader)
        world.run(world.now + 1)
        assert put <= leader.state.words
        words.append(put)
    assert len(histories(world)) == 2
    return world, words[0], words[1]


@pytest.mark.parametrize("volatile", [False, True])
def test_of_two_groups_the_smaller_ends_by_its_own_quorum_and_all_it_held_is_carried_over(volatile: bool) -> None:
    world, words, others = apart(2, 3, volatile=volatile)
    larger = running(world.nodes[4]).ctx.history
    world.cuts.clear()
    world.run(world.now + 10)
    assert histories(world) == {larger}
    assert world.counts["sealed"] == 2, "both members of the smaller one have seen its seal committed"
    settle(world)
    assert all(words | others <= node.state.words for node in world.nodes)


def test_a_group_without_its_quorum_does_not_end_in_favour_of_another() -> None:
    """What it has acknowledged may be on the members that are away."""
    world, words, _ = apart(3, 5)
    smaller = running(world.nodes[0]).ctx.history
    for node in world.nodes[:2]:
        world.crash(node, restart_after=None)
    world.cuts.clear()
    world.run(world.now + 20)
    assert running(world.nodes[2]).ctx.history == smaller
    assert running(world.nodes[2]).histories.waits is not None
    for node in world.nodes[:2]:
        world.start(node)
    world.run(world.now + 10)
    assert len(histories(world)) == 1
    settle(world)
    assert words <= leader_of(world).state.words


def test_a_lone_holder_of_a_dead_history_does_not_take_a_working_group_with_it() -> None:
    world, words, others = apart(5, 3)
    lone = world.nodes[0]
    for node in world.nodes[1:5]:
        node.gone = True
        world.crash(node, restart_after=None)
    world.cuts.clear()
    working = running(world.nodes[5]).ctx.history
    world.run(world.now + 20)
    assert running(world.nodes[5]).ctx.history == working
    waits = running(lone).histories.waits
    assert waits is not None
    assert waits[0] is Wait.VOTERS
    running(lone).recover(waits[1], world.now)
    world.pump(lone)
    world.run(world.now + 15)
    assert len(histories(world)) == 1
    settle(world)
    assert words | others <= leader_of(world).state.words


def test_a_member_that_moved_and_restarts_does_not_unmake_what_its_old_history_acknowledged() -> None:
    world, words, _ = apart(2, 3)
    world.cuts.clear()
    world.run(world.now + 10)
    mover = world.nodes[0]
    world.crash(mover, restart_after=0.5)
    world.run(world.now + 10)
    assert len(histories(world)) == 1
    settle(world)
    assert words <= mover.state.words


# --- dying, and being born again


def test_in_memory_members_that_restart_as_soon_as_all_is_safe_keep_everything() -> None:
    world = calm(3, observers=1, volatile=True)
    for node in list(world.nodes):
        while not running(leader_of(world)).status().safe:
            world.step()
        world.crash(node, restart_after=0.2)
        world.run(world.now + 10)
    assert world.ledger.excused == set()
    settle(world)


def test_four_in_memory_survive_that_all_three_voters_are_killed_and_come_back() -> None:
    world = calm(4, volatile=True, write=50)
    words = set(leader_of(world).state.words)
    standing_by = next(node for node in world.nodes if node not in voters_of(world))
    for node in voters_of(world):
        world.crash(node, restart_after=1)
    world.run(world.now + 20)
    assert words <= leader_of(world).state.words
    assert all(words <= node.state.words for node in world.nodes), standing_by.number
    settle(world)


@pytest.mark.parametrize("volatile", [False, True])
def test_an_observer_that_is_the_only_holder_gives_its_history_to_those_that_may_vote(volatile: bool) -> None:
    world = calm(3, observers=1, volatile=volatile, write=50)
    words = set(leader_of(world).state.words)
    for node in world.nodes[:3]:
        world.crash(node, restart_after=1, empty=True)
    world.run(world.now + 20)
    assert words <= leader_of(world).state.words
    assert world.nodes[3].member not in running(leader_of(world)).voters
    settle(world)


def test_two_wiped_machines_of_three_come_back_and_the_third_has_everything() -> None:
    """Nobody has to be asked: both are back as later incarnations, so a majority is known to have forgotten."""
    world = calm(3, write=50)
    words = set(leader_of(world).state.words)
    for node in world.nodes[1:]:
        world.crash(node, restart_after=1, empty=True)
    world.run(world.now + 20)
    assert words <= leader_of(world).state.words
    assert len(voters_of(world)) == 3
    settle(world)


def test_recover_compares_members_while_one_wiped_machine_is_back() -> None:
    """Of five, three are lost; one of them is back, wiped. It is not what is waited for, and nothing refuses."""
    world = calm(5, write=20)
    lost = world.nodes[2:]
    for node in lost:
        world.crash(node, restart_after=None)
    lost[0].storage = world.new_storage()
    world.start(lost[0])
    for node in lost[1:]:
        node.gone = True
    world.run(world.now + 10)
    asked = running(world.nodes[0])
    assert asked.histories.waits is not None
    wait, members = asked.histories.waits
    assert wait is Wait.VOTERS
    assert {member.peer_id.key[0] for member in members} == {4, 5}
    asked.recover(members, world.now)
    world.pump(world.nodes[0])
    world.run(world.now + 15)
    put(world, 1)
    settle(world)


def test_members_that_went_on_without_one_take_what_it_held_beyond() -> None:
    """`recover` was wrong: the one that was declared lost has acknowledged more, and comes back."""
    world = calm(3)
    leader = leader_of(world)
    others = [node for node in world.nodes if node is not leader]
    world.crash(others[0], restart_after=None)
    beyond = put(world, 5)
    world.crash(leader, restart_after=None)
    world.crash(others[1], restart_after=None)
    world.start(others[0])
    world.run(world.now + 10)
    alone = running(others[0])
    assert alone.histories.waits is not None
    alone.recover(alone.histories.waits[1], world.now)
    world.pump(others[0])
    world.run(world.now + 10)
    put(world, 3)
    for node in (leader, others[1]):
        world.start(node)
    world.run(world.now + 20)
    settle(world)
    assert beyond <= leader_of(world).state.words


def test_who_abandons_a_history_joins_the_one_that_lives() -> None:
    world, _, others = apart(3, 3)
    stranded = world.nodes[0]
    for node in world.nodes[1:3]:
        node.gone = True
        world.ledger.excuse(node, world.nodes)
        world.crash(node, restart_after=None)
    world.cuts.clear()
    world.run(world.now + 5)
    running(stranded).abandon(world.now)
    world.pump(stranded)
    world.run(world.now + 10)
    assert running(stranded).ctx.history == running(world.nodes[5]).ctx.history
    assert others <= stranded.state.words
    assert stranded.storage.archives()
    settle(world)


# --- members


def test_a_leave_is_not_granted_while_another_voter_has_just_died() -> None:
    world = calm(3)
    leader = leader_of(world)
    leaver, victim = (node for node in voters_of(world) if node is not leader)
    world.crash(victim, restart_after=None)
    running(leaver).leave()
    world.pump(leaver)
    world.run(world.now + 5)
    assert len(running(leader).voters) == 3
    put(world, 1)
    world.start(victim)
    world.run(world.now + 5)
    assert leaver not in voters_of(world), "with the third back, it may go"


def test_a_voter_whose_disk_hangs_is_replaced_whatever_its_packets_say() -> None:
    world = calm(4)
    victim = next(node for node in voters_of(world) if node is not leader_of(world))
    victim.hung = True
    for _ in range(10):
        put(world, 1)
    assert victim not in voters_of(world)
    victim.hung = False
    settle(world)


@pytest.mark.parametrize("when", ["the leader stays", "the leader was paused", "in a new term"])
def test_an_old_copy_of_a_data_directory_is_told_so_and_goes_on_as_a_new_member(when: str) -> None:
    world = calm(3)
    leader = leader_of(world)
    victim = next(node for node in voters_of(world) if node is not leader)
    old, copy = victim.member, copy_disk(victim)
    words = put(world, 20)
    if when == "the leader was paused":
        world.cut({leader.number})
        world.run(world.now + 3)
        put(world, 5)
        world.cuts.clear()
        world.run(world.now + 2)
    elif when == "in a new term":
        other = next(node for node in voters_of(world) if node not in (leader, victim))
        running(leader).transfer_leadership(other.member, world.now)
        world.pump(leader)
        world.run(world.now + 3)
    put_back(world, victim, copy)
    world.run(world.now + 15)
    assert victim.member.is_later_than(old)
    assert old not in running(leader_of(world)).voters
    assert victim.member in running(leader_of(world)).voters
    assert words <= victim.state.words
    settle(world)
