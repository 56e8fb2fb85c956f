"""Snapshots through the whole stack, in virtual time: logs stay short, and whoever comes late takes a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest

from p2praft import LeadershipPreference
from p2praft.groups.machine import StateMachine, pack, pack_pieces
from p2praft.groups.snapshots import LOG_BYTES, Schedule, cut
from p2praft.raft.entries import MAX_CHUNK, Commands, LogEntry, Snapshot
from p2praft.raft.types import Index, Term
from tests.groups.conftest import Counter, Lab, Node, lab
from transport import PeerId

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large states are snapshotted as often as small ones."""
    monkeypatch.setattr(Schedule, "made", lambda self, chunks: None)


class Heavy(Counter):
    """A counter whose snapshots have a hundred chunks and one."""

    def snapshot(self) -> Any:
        return [self.value, bytes(100 * MAX_CHUNK)]

    def restore(self, snapshot: Any) -> None:
        self.value = snapshot[0]


async def write(node: Node, count: int) -> None:
    """Entries, one after the other, so that each is one."""
    for _ in range(count):
        await node.group.execute(1)


async def caught_up(node: Node, index: int) -> None:
    with anyio.fail_after(60):
        await node.group.when.committed.reaches(index)


async def everybody(made: Lab, holds: Callable[[Node], bool]) -> None:
    with anyio.fail_after(60):
        while not all(map(holds, made.nodes)):
            await anyio.sleep(0.01)


def snapshot_of(node: Node) -> Snapshot | None:
    return node.group._worker.engine.ctx.snapshot


def base_of(node: Node) -> int:
    return node.group._worker.engine.ctx.log.base.index


async def test_the_log_is_compacted_on_every_member() -> None:
    async with lab(3, snapshot_every=100) as made:
        await write(made.nodes[0], 350)
        await everybody(made, lambda node: base_of(node) > 0)
        for node in made.nodes:
            assert base_of(node) <= 300, "one interval of entries stays for members that lag a little"


async def test_alike_snapshots_have_the_same_digest_everywhere() -> None:
    async with lab(3, snapshot_every=100) as made:
        await write(made.nodes[0], 150)
        await everybody(made, lambda node: snapshot_of(node) is not None)
        assert len({snapshot_of(node) for node in made.nodes}) == 1


async def test_a_member_that_comes_late_takes_a_snapshot_and_the_entries_behind_it() -> None:
    async with lab(3, snapshot_every=100) as made:
        await write(made.leader, 450)
        late = await made.start("late")
        await caught_up(late, made.leader.group.committed)
        assert base_of(late) >= 200
        assert late.machine.value == 450


async def test_an_observer_that_comes_late_takes_one_too() -> None:
    async with lab(3, snapshot_every=100) as made:
        await write(made.leader, 450)
        late = await made.start("late", preference=LeadershipPreference.OBSERVER)
        await caught_up(late, made.leader.group.committed)
        assert late.machine.value == 450


@pytest.mark.usefixtures("eager")
async def test_a_large_snapshot_comes_from_the_followers_and_not_from_the_leader() -> None:
    async with lab(3, snapshot_every=100, machine=Heavy) as made:
        leader, givers = made.leader, made.followers
        await write(leader, 350)
        await everybody(made, lambda node: base_of(node) == 200)
        given = {node.host: count_given(node) for node in made.nodes}
        # Whoever meets the leader first has nobody else to ask yet.
        made.net.cut(leader.host, "late")
        late = await made.start("late", seeds=[node.network.address for node in givers])
        with anyio.fail_after(60):
            while len(late.group.bonds) < 2:
                await anyio.sleep(0.1)
        made.net.heal()
        await caught_up(late, leader.group.committed)
        assert late.machine.value == 350
        assert given[leader.host] == []
        assert all(given[node.host] for node in givers), "both followers gave some of it"
        assert sum(map(len, given.values())) == 101


@pytest.mark.usefixtures("eager")
async def test_a_giver_that_dies_midway_is_replaced() -> None:
    async with lab(3, snapshot_every=100, machine=Heavy) as made:
        leader, victim = made.leader, made.followers[0]
        await write(leader, 350)
        await everybody(made, lambda node: base_of(node) == 200)
        given = count_given(victim)
        late = await made.start("late")
        with anyio.fail_after(30):
            while len(given) < 5:
                await anyio.sleep(0.001)
        made.net.crash(victim.host)
        await caught_up(late, leader.group.committed)
        assert late.machine.value == 350


@pytest.mark.usefixtures("eager")
async def test_the_leader_stays_while_a_large_snapshot_is_made_and_given() -> None:
    async with lab(3, snapshot_every=100, machine=Heavy) as made:
        leader, term = made.leader, made.leader.group.term
        await write(leader, 350)
        late = await made.start("late")
        await caught_up(late, leader.group.committed)
        assert leader.group.is_leader
        assert leader.group.term == term


async def test_a_call_that_was_applied_out_of_sight_is_settled_by_the_snapshot_of_others() -> None:
    """The caller's own member is cut off after it has sent its command, and comes back when the log is compacted."""
    async with lab(3, snapshot_every=100) as made:
        caller, leader = made.followers[0], made.leader
        await caller.group.execute(1)
        results: list[int] = []

        async def call() -> None:
            results.append(await caller.group.execute(1000, timeout=300))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            with anyio.fail_after(10):
                while leader.machine.value < 1001:
                    await anyio.sleep(0.0001)
            made.net.partition([caller.host], [node.host for node in made.nodes if node is not caller])
            assert not results, "the answer has not reached the caller"
            await write(leader, 450)
            assert base_of(leader) > caller.group.committed
            made.net.heal()
        assert results == [1001]
        await caught_up(caller, leader.group.committed)
        assert caller.machine.value == 1451, "executed once"


def count_given(node: Node) -> list[int]:
    """The chunks that a node gives from now on."""
    given: list[int] = []
    snapshots = node.group._worker.snapshots
    give = snapshots._send

    def send(request: object, message: object) -> None:
        given.append(message.number)  # type: ignore[attr-defined]
        give(request, message)  # type: ignore[arg-type]

    snapshots._send = send
    return given


# --- pure parts


def command(index: int, size: int = 1) -> LogEntry:
    payload = Commands(session=1, first=index, settled=0, commands=(bytes(size),))
    return LogEntry(term=Term(1), index=Index(index), time=0.0, proposer=PeerId(bytes(32)), payload=payload)


def test_a_snapshot_is_due_by_count_or_by_bytes() -> None:
    schedule = Schedule(100)
    assert [index for index in range(1, 301) if schedule.note(command(index))] == [100, 200, 300]
    schedule.begin()
    assert schedule.note(command(301, LOG_BYTES))


def test_a_large_state_is_written_no_more_often_than_its_own_size_of_log() -> None:
    schedule = Schedule(100)
    schedule.made(1000)
    size = command(1, 10_000).size
    due = [index for index in range(1, 20_001) if schedule.note(command(index, 10_000))]
    assert due[0] * size >= 1000 * MAX_CHUNK


@pytest.mark.parametrize(
    "value", [None, 1, [], {}, [1, [2] * 100, {"a": [3] * 20}], {"k": {"l": [bytes(10)] * 50}}, [[[[[1] * 20] * 20]]]]
)
def test_a_snapshot_in_pieces_is_the_same_bytes(value: object) -> None:
    pieces = list(pack_pieces(value))
    assert b"".join(pieces) == pack(value)
    assert StateMachine().join(iter(pieces)) == value


def test_chunks_are_full_but_the_last() -> None:
    assert [len(chunk) for chunk in cut([bytes(3), bytes(2 * MAX_CHUNK), bytes(1)])] == [MAX_CHUNK, MAX_CHUNK, 4]
    assert list(cut([])) == [b""]


async def test_a_failing_snapshot_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with lab(1, snapshot_every=100) as made:
        [node] = made.nodes
        node.machine.snapshot = lambda: 1 / 0  # type: ignore[method-assign]
        await write(node, 250)
        assert node.machine.value == 250
        assert base_of(node) == 0
    assert "snapshot() failed at entry 100" in caplog.text


async def test_a_snapshot_that_changes_while_it_is_encoded_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The machine hands out its live state, against the rules."""
    async with lab(1, snapshot_every=100) as made:
        [node] = made.nodes

        def chunks(snapshot: Any) -> Iterator[bytes]:
            yield b"x" * (MAX_CHUNK + 1)
            raise RuntimeError("dictionary changed size during iteration")

        node.machine.chunks = chunks  # type: ignore[method-assign]
        await write(node, 250)
        assert node.machine.value == 250
        assert base_of(node) == 0
    assert "cannot be encoded: RuntimeError: dictionary changed size" in caplog.text


async def test_a_fetched_snapshot_of_a_history_that_was_left_is_nobody_s_failure() -> None:
    async with lab(1) as made:
        [node] = made.nodes
        snapshots = node.group._worker.snapshots
        gone = Snapshot(base=node.group._worker.engine.ctx.log.base_at(1), chunks=1, digest=bytes(32))
        decode = snapshots._decode

        def yielded_meanwhile(snapshot: Snapshot, pending: bool) -> Any:
            snapshots.reset()
            return decode(snapshot, pending)

        snapshots._decode = yielded_meanwhile  # type: ignore[method-assign]
        snapshots.take(gone)
        assert await node.group.execute(1) == 1
        assert node.group.failure is None
