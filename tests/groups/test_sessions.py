"""Exactly once: the session table and the applier (thesis, section 6.3)."""

from __future__ import annotations

from typing import Any

import pytest

from p2praft import ApplyContext, PeerId, StateMachine
from p2praft.groups.applier import Applied, Applier, CarriedOver
from p2praft.groups.machine import pack, unpack
from p2praft.raft.entries import Commands, LogEntry, OpenSession, Payload
from p2praft.raft.sessions import MAX_SESSIONS, SESSION_TTL, SessionTable, Verdict
from p2praft.raft.types import Index, Term

PEER = PeerId(bytes(32))


class Tally(StateMachine):
    """Adds numbers up, remembers all it saw, refuses negative ones."""

    signature = "tally/1"

    def __init__(self) -> None:
        self.seen: list[int] = []

    def apply(self, command: Any, ctx: ApplyContext) -> Any:
        if command < 0:
            raise ValueError("negative")
        self.seen.append(command)
        return sum(self.seen)

    def query(self, query: Any) -> Any:
        return self.seen

    def snapshot(self) -> Any:
        return self.seen

    def restore(self, snapshot: Any) -> None:
        self.seen = snapshot


def entry(index: int, payload: Payload, time: float = 0.0) -> LogEntry:
    return LogEntry(term=Term(1), index=Index(index), time=time, proposer=PEER, payload=payload)


def commands(session: int, first: int, *values: int, settled: int = 0) -> Commands:
    return Commands(session=session, first=first, settled=settled, commands=tuple(map(pack, values)))


def results(applied: Applied | CarriedOver | None) -> list[Any]:
    assert isinstance(applied, Applied)
    return [(sequence, ok, unpack(result) if ok else result.decode()) for sequence, ok, result in applied.outcomes]


@pytest.fixture
def applier() -> Applier:
    applier = Applier(Tally())
    applier.apply(entry(1, OpenSession(nonce=b"n" * 16)))
    return applier


def test_a_session_is_named_by_the_index_of_its_registration() -> None:
    applied = Applier(Tally()).apply(entry(7, OpenSession(nonce=b"n" * 16)))
    assert applied == Applied(session=7, nonce=b"n" * 16)


def test_commands_are_applied_once_and_a_repeat_gets_the_remembered_results(applier: Applier) -> None:
    assert results(applier.apply(entry(2, commands(1, 1, 5, 6)))) == [(1, True, 5), (2, True, 11)]
    repeat = applier.apply(entry(3, commands(1, 1, 5, 6)))
    assert isinstance(repeat, Applied)
    assert repeat.verdict is Verdict.REPEAT
    assert results(repeat) == [(1, True, 5), (2, True, 11)]
    assert applier.query(None) == [5, 6]


def test_a_repeat_that_brings_more_applies_only_what_is_new(applier: Applier) -> None:
    applier.apply(entry(2, commands(1, 1, 5)))
    assert results(applier.apply(entry(3, commands(1, 1, 5, 7)))) == [(2, True, 12)]
    assert applier.query(None) == [5, 7]


def test_a_gap_is_not_applied(applier: Applier) -> None:
    applied = applier.apply(entry(2, commands(1, 2, 9)))
    assert isinstance(applied, Applied)
    assert applied.verdict is Verdict.GAP
    assert applier.query(None) == []


def test_an_unknown_session_is_never_applied(applier: Applier) -> None:
    applied = applier.apply(entry(2, commands(99, 1, 9)))
    assert isinstance(applied, Applied)
    assert applied.verdict is Verdict.EXPIRED
    assert applier.query(None) == []


def test_an_exception_is_that_commands_outcome_and_the_next_goes_on(applier: Applier) -> None:
    outcome = results(applier.apply(entry(2, commands(1, 1, 1, -1, 2))))
    assert outcome == [(1, True, 1), (2, False, "ValueError: negative"), (3, True, 3)]


def test_settled_results_are_forgotten(applier: Applier) -> None:
    applier.apply(entry(2, commands(1, 1, 1)))
    applier.apply(entry(3, commands(1, 2, 2, settled=1)))
    assert [sequence for sequence, _, _ in applier.sessions.outcomes(1)] == [2]


def test_results_are_detached_from_the_state(applier: Applier) -> None:
    applier.apply(entry(2, commands(1, 1, 1)))
    answer = applier.query(None)
    answer.append(99)
    assert applier.query(None) == [1]


def test_reset_starts_from_nothing(applier: Applier) -> None:
    applier.apply(entry(2, commands(1, 1, 1)))
    applier.reset()
    assert applier.query(None) == []
    assert applier.index == 0
    assert len(applier.sessions) == 0


def test_sessions_expire_by_the_logs_time_alone() -> None:
    table = SessionTable()
    table.open(entry(1, OpenSession(nonce=b"a" * 16), time=0.0))
    table.open(entry(2, OpenSession(nonce=b"b" * 16), time=SESSION_TTL))
    assert table.judge(commands(1, 1, 0)) is Verdict.APPLY
    table.open(entry(3, OpenSession(nonce=b"c" * 16), time=SESSION_TTL + 1))
    assert table.judge(commands(1, 1, 0)) is Verdict.EXPIRED
    assert table.judge(commands(2, 1, 0)) is Verdict.APPLY


def test_the_table_is_bounded_and_the_longest_unused_goes_first() -> None:
    table = SessionTable()
    for index in range(1, MAX_SESSIONS + 2):
        table.open(entry(index, OpenSession(nonce=b"a" * 16), time=float(index) / 1e6))
    assert len(table) == MAX_SESSIONS
    assert table.judge(commands(1, 1, 0)) is Verdict.EXPIRED
    assert table.judge(commands(2, 1, 0)) is Verdict.APPLY


class Batched(Tally):
    """Applies in one go, and may fail as a whole."""

    def apply_batch(self, commands: Any, ctx: ApplyContext) -> list[Any]:
        if any(value < 0 for value in commands):
            raise ValueError("negative")
        self.seen.extend(commands)
        return list(commands)


def test_apply_batch_is_used_where_it_is_overridden() -> None:
    applier = Applier(Batched())
    applier.apply(entry(1, OpenSession(nonce=b"n" * 16)))
    assert results(applier.apply(entry(2, commands(1, 1, 4, 5)))) == [(1, True, 4), (2, True, 5)]
    failed = results(applier.apply(entry(3, commands(1, 3, 6, -1))))
    assert failed == [(3, False, "ValueError: negative"), (4, False, "ValueError: negative")]
