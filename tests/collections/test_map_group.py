"""The map on whole groups in virtual time: watches that outlast faults, time that passes by itself, linearizable writes."""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest

from p2praft import ConsensusConfig, GroupClosed, Offline, OutcomeUnknown
from p2praft.collections import Conflict, Map, MapMachine, MapReader, MapReset, history
from p2praft.groups.ticker import TICK_EVERY
from p2praft.testing import Cluster, ClusterMember, run
from tests.linearizability.checker import Operation, check, register

Maps = Cluster[MapMachine]
Member = ClusterMember[MapMachine]


class Follower:
    """Watches through one member, keeps what it was told, and checks that no change is missed or told twice.

    Attributes:
        told: Values by key.
        version: Of the last event.
        resets: How often it had to begin anew.
    """

    def __init__(self, member: Member, since: int = 0) -> None:
        self.reader: MapReader[Any] = MapReader(member.group)
        self.told: dict[str, Any] = {}
        self.version = since
        self.resets = 0

    async def follow(self) -> None:
        async for event in self.reader.watch(since=self.version):
            if isinstance(event, MapReset):
                self.told = {key: entry.value for key, entry in event.entries.items()}
                self.resets += 1
            else:
                assert event.version == self.version + 1
                if event.kind == "set":
                    self.told[event.key] = event.value
                else:
                    del self.told[event.key]
            self.version = event.version


async def write(cluster: Maps, count: int, tag: str) -> None:
    """Some changes, through whoever can."""
    leader = await cluster.wait_leader()
    shelf: Map[str] = Map(leader.group)
    for at in range(count):
        await shelf.write({f"k{at % 7}": f"{tag} {at}"}, [f"k{at % 5}"] if at % 3 == 0 else [])


async def agree(cluster: Maps, followers: list[Follower]) -> None:
    """Every follower comes to know what the map holds."""
    await cluster.wait_settled()
    view = await Map[Any]((await cluster.wait_leader()).group).view()
    await cluster.wait_until(lambda: all(follower.version == view.version for follower in followers), "the followers")
    for follower in followers:
        assert follower.told == {key: entry.value for key, entry in view.items()}


def test_watches_outlast_partitions_crashes_and_changes_of_the_leader() -> None:
    async def scenario() -> None:
        async with Cluster(3, MapMachine, observers=1, loss=0.02) as cluster, anyio.create_task_group() as tasks:
            followers = [Follower(member) for member in cluster]
            for follower in followers:
                tasks.start_soon(follower.follow)
            await write(cluster, 40, "quiet")
            for round_ in range(2):
                cut = await cluster.wait_leader()
                cluster.isolate(cut)
                await cluster.wait_leader(other_than=cut)
                shelf: Map[str] = Map((await cluster.wait_leader(other_than=cut)).group)
                for at in range(30):
                    await shelf.set(f"k{at % 9}", f"cut {round_} {at}")
                cluster.heal()
                await agree(cluster, followers)
            lost = await cluster.wait_leader()
            gone = followers[list(cluster).index(lost)]
            cluster.crash(lost)
            followers.remove(gone)
            await cluster.wait_leader(other_than=lost)
            await write(cluster, 40, "crashed")
            back = Follower(await cluster.restart(lost), since=gone.version)
            back.told = gone.told  # the application was away with its node, and remembers
            followers.append(back)
            tasks.start_soon(back.follow)
            await write(cluster, 40, "back")
            await agree(cluster, followers)
            assert [follower.resets for follower in followers] == [0] * 4
            tasks.cancel_scope.cancel()

    run(scenario)


def test_a_member_that_catches_up_by_a_snapshot_goes_on_without_a_gap() -> None:
    async def scenario() -> None:
        config = ConsensusConfig(expect=2, snapshot_every=100)
        async with Cluster(3, MapMachine, consensus=config) as cluster, anyio.create_task_group() as tasks:
            leader = await cluster.wait_leader()
            behind = cluster.followers[0]
            follower = Follower(behind)
            tasks.start_soon(follower.follow)
            await write(cluster, 20, "before")
            await agree(cluster, [follower])
            cluster.isolate(behind)
            for at in range(400):
                await Map[int](leader.group).set(f"k{at % 11}", at)
            assert leader.group._worker.engine.ctx.log.base.index > behind.group.applied, "it must be installed"
            cluster.heal()
            await agree(cluster, [follower])
            assert (follower.resets, follower.version > 400) == (0, True)
            tasks.cancel_scope.cancel()

    run(scenario)


def test_who_is_away_for_longer_than_the_history_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_CHANGES", 50)

    async def scenario() -> None:
        async with Cluster(3, MapMachine) as cluster, anyio.create_task_group() as tasks:
            await write(cluster, 20, "before")
            behind = cluster.followers[0]
            follower = Follower(behind)
            tasks.start_soon(follower.follow)
            await agree(cluster, [follower])
            cluster.isolate(behind)
            await write(cluster, 200, "meanwhile")
            cluster.heal()
            await agree(cluster, [follower])
            assert follower.resets
            tasks.cancel_scope.cancel()

    run(scenario)


def test_an_entrys_time_ends_on_every_member_though_nobody_says_anything() -> None:
    async def scenario() -> None:
        async with Cluster(3, MapMachine, observers=1) as cluster, anyio.create_task_group() as tasks:
            followers = [Follower(member) for member in cluster]
            for follower in followers:
                tasks.start_soon(follower.follow)
            shelf: Map[int] = Map(cluster[0].group)
            await shelf.set_many({"a": 1, "b": 2}, ttl=5)
            await shelf.set("stays", 3)
            began = anyio.current_time()
            await anyio.sleep(4)
            assert list(await shelf.items()) == ["a", "b", "stays"]
            await cluster.wait_until(lambda: all(list(follower.told) == ["stays"] for follower in followers), "the end")
            late = anyio.current_time() - began - 5
            assert -0.1 < late < TICK_EVERY + 1, "the leader's timer, and a commit"
            assert [next(member.machine.state.entries.items())[0] for member in cluster] == ["stays"] * 4
            index = cluster[0].group.applied
            await anyio.sleep(30)
            assert cluster[0].group.applied == index, "with nothing left to end, nothing is written"
            tasks.cancel_scope.cancel()

    run(scenario)


def test_a_new_leader_minds_the_time_as_well() -> None:
    async def scenario() -> None:
        async with Cluster(3, MapMachine, skew=1) as cluster:
            first = await cluster.wait_leader()
            await Map[int](first.group).set("lease", 1, ttl=5)
            cluster.isolate(first)
            second = await cluster.wait_leader(other_than=first)
            await cluster.wait_until(lambda: second.machine.state.get("lease") is None, "the end", timeout=10)
            assert first.machine.state.get("lease") is not None, "the log's time stands still for who is cut off"
            cluster.heal()
            await cluster.wait_settled()
            assert first.machine.state.get("lease") is None

    run(scenario)


def test_many_that_end_at_once_end_bit_by_bit_but_are_gone_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2praft.collections.map_machine.SWEEP", 10)

    async def scenario() -> None:
        async with Cluster(1, MapMachine) as cluster:
            machine, shelf = cluster[0].machine, Map[int](cluster[0].group)
            await shelf.set_many({f"k{at}": at for at in range(100)}, ttl=1)
            await cluster.wait_until(lambda: machine.version > 100, "the first to be removed")
            assert len(machine.state.entries) > 0
            assert len(await shelf.items()) == 0
            await cluster.wait_until(lambda: machine.version == 200, "all to be removed")
            assert len(machine.state.entries) == 0

    run(scenario)


@pytest.mark.parametrize("seed", range(3))
def test_compare_and_set_is_linearizable(seed: int) -> None:
    """Every value is written once, so that a version stands for a value and a register's model can judge."""
    done: list[Operation] = []

    async def client(name: str, cluster: Maps, rng: random.Random, until: float) -> None:
        number = 0
        known: dict[str, tuple[Any, int]] = {}
        while anyio.current_time() < until:
            shelf: Map[Any] = Map(rng.choice(cluster.alive).group)
            key = rng.choice(["x", "y"])
            number += 1
            value, call = f"{name} {number}", anyio.current_time()
            kind = rng.choice(["read", "cas", "cas", "write"])
            argument: Any = None
            result: Any = None
            answered = True
            try:
                if kind == "read":
                    entry = await shelf.get(key)
                    known[key] = (entry.value, entry.version) if entry else (None, 0)
                    result = known[key][0]
                elif kind == "cas":
                    before, version = known.get(key, (None, 0))
                    argument = (before, value)
                    try:
                        known[key] = (
                            value,
                            await shelf.set(key, value, expected=version, timeout=rng.choice([0.05, 3])),
                        )
                        result = True
                    except Conflict:
                        result = False
                else:
                    argument = value
                    await shelf.set(key, value, timeout=rng.choice([0.05, 3]))
            except Offline:
                continue
            except (OutcomeUnknown, GroupClosed):
                answered = False
            returned = {"returned": anyio.current_time()} if answered else {}
            done.append(
                Operation(client=name, key=key, kind=kind, argument=argument, result=result, call=call, **returned)
            )
            await anyio.sleep(rng.uniform(0, 0.05))

    async def scenario() -> None:
        rng = random.Random(seed)
        async with Cluster(3, MapMachine, seed=seed, loss=0.02) as cluster, anyio.create_task_group() as tasks:
            until = anyio.current_time() + 12
            for number in range(4):
                tasks.start_soon(client, f"c{number}", cluster, random.Random(rng.random()), until)
            while anyio.current_time() < until - 3:
                await anyio.sleep(rng.uniform(0.3, 1.5))
                cluster.isolate(rng.choice(list(cluster)))
                await anyio.sleep(rng.uniform(0.3, 2))
                cluster.heal()

    run(scenario)
    assert sum(operation.kind == "cas" and operation.result is True for operation in done) > 0
    assert sum(operation.kind == "cas" and operation.result is False for operation in done) > 0
    violation = check(done, register)
    assert violation is None, str(violation)
