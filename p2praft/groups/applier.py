"""Applies committed entries to the state machine: pure, the same on every member."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from p2praft.groups.absorbed import AbsorbedTable, Taken
from p2praft.groups.machine import ApplyContext, StateMachine
from p2praft.raft.entries import Carried, Commands, LogEntry, OpenSession, Origin
from p2praft.raft.histories.entries import Branch, Genesis
from p2praft.raft.sessions import SessionTable, Verdict
from p2praft.raft.types import Index

_OUR_OWN = (MemoryError, RecursionError)
"""What this member alone may run into: as an outcome it would make the members' states differ, so the member stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of one entry with a session.

    Attributes:
        session: Which session.
        nonce: Of a registration; None for commands.
        verdict: What was done with the commands.
        outcomes: (sequence number, ok, encoded result or reason) of each command that was applied now.
        last: With a gap: the newest sequence number that was applied.
    """

    session: int
    nonce: bytes | None = None
    verdict: Verdict = Verdict.APPLY
    outcomes: tuple[tuple[int, bool, bytes], ...] = ()
    last: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedOver:
    """What became of one entry with a part of a list that brings another history over.

    Attributes:
        end: The end that the list carries over.
        digest: The list's.
        taken: What was done with the part.
        complete: Whether nothing of the list is to come.
        outcomes: (place in the list, ok, encoded result or reason) of each command that was applied now.
        repeated: Commands of the part that had come another way already, and were not applied again.
    """

    end: Branch
    digest: bytes
    taken: Taken
    complete: bool = False
    outcomes: tuple[tuple[int, bool, bytes], ...] = ()
    repeated: int = 0

    @property
    def failed(self) -> int:
        """Commands that the state machine refused."""
        return sum(not ok for _, ok, _ in self.outcomes)


@dataclass(slots=True, eq=False)
class Tables:
    """What is replicated beside the machine's state, so that nothing is done twice.

    Attributes:
        sessions: Of the group's proposers.
        absorbed: What other histories have brought.
        genesis: The newest in the log; None in an empty log. Snapshots do not hold it, for their base does.
    """

    sessions: SessionTable = field(default_factory=SessionTable)
    absorbed: AbsorbedTable = field(default_factory=AbsorbedTable)
    genesis: Genesis | None = None

    def origin(self, session: int, number: int) -> Origin | None:
        """Where a command of one of the group's own sessions comes from, for whoever carries it on."""
        if self.genesis is None:
            return None
        return Origin(history=self.genesis.history_at(session), session=session, number=number)

    def has(self, origin: Origin) -> bool:
        """Whether a replayed command was applied before, here or in a history that was taken over."""
        if self.absorbed.has(origin):
            return True
        return self.is_ours(origin) and self.sessions.has(origin.session, origin.number)

    def is_ours(self, origin: Origin) -> bool:
        """Whether a session of that id in our table is the same session."""
        return self.genesis is not None and self.genesis.history_at(origin.session) == origin.history


class Applier:
    """The state machine with what is replicated beside it.

    Args:
        machine: The state machine.
        pristine: The bytes of its first snapshot, if it is not in its first state now.

    Attributes:
        index: The last applied entry's.
        tables: Part of the replicated state.
    """

    def __init__(self, machine: StateMachine, pristine: bytes | None = None) -> None:
        self.machine = machine
        self.tables = Tables()
        self.index = Index(0)
        self.pristine = b"".join(machine.chunks(machine.snapshot())) if pristine is None else pristine

    @property
    def sessions(self) -> SessionTable:
        """Of the group's proposers."""
        return self.tables.sessions

    @property
    def absorbed(self) -> AbsorbedTable:
        """What other histories have brought."""
        return self.tables.absorbed

    def reset(self) -> None:
        """Start from nothing: the member takes up another history."""
        self.machine.restore(self.machine.join((self.pristine,)))
        self.tables = Tables()
        self.index = Index(0)

    def restore(self, index: Index, tables: Tables, state: Any) -> None:
        """Take a snapshot's state, as of entry ``index``."""
        self.machine.restore(state)
        self.tables = tables
        self.index = index

    def apply(self, entry: LogEntry) -> Applied | CarriedOver | None:
        """Apply one entry; None if it carries nothing for the state machine."""
        self.index = entry.index
        payload = entry.payload
        if isinstance(payload, Commands):
            return self._apply_commands(payload, entry)
        if isinstance(payload, OpenSession):
            return Applied(session=self.sessions.open(entry), nonce=payload.nonce)
        if isinstance(payload, Carried):
            return self._apply_carried(payload, entry)
        if isinstance(payload, Genesis):
            self.tables.genesis = payload
        return None

    def _apply_commands(self, payload: Commands, entry: LogEntry) -> Applied:
        verdict = self.sessions.judge(payload)
        if verdict is not Verdict.APPLY:
            outcomes = self.sessions.outcomes(payload.session) if verdict is Verdict.REPEAT else ()
            last = self.sessions.last(payload.session)
            return Applied(session=payload.session, verdict=verdict, outcomes=outcomes, last=last)
        repeated = self.sessions.repeated(payload)
        ctx = ApplyContext(index=entry.index, term=entry.term, peer_id=entry.proposer, time=entry.time)
        results = self._run(payload.commands[repeated:], ctx)
        self.sessions.record(payload, results, entry.time)
        first = payload.first + repeated
        outcomes = tuple((first + at, ok, result) for at, (ok, result) in enumerate(results))
        return Applied(session=payload.session, outcomes=outcomes)

    def _apply_carried(self, part: Carried, entry: LogEntry) -> CarriedOver:
        """Apply what is new of a part of a list; nothing of it if it is not what comes next."""
        tables = self.tables
        taken = tables.absorbed.judge(part)
        if taken is not Taken.APPLY:
            begun = tables.absorbed.get(part.of)
            done = taken is Taken.REPEAT and begun is not None and begun.is_complete
            return CarriedOver(end=part.end, digest=part.digest, taken=taken, complete=done)
        skipped = tables.absorbed.take(part)
        first = part.first + len(part.lists) + len(part.seen)
        fresh: list[int] = []
        for at, origin in enumerate(part.origins[skipped:], start=skipped):
            if origin.session == 0 or not tables.has(origin):
                fresh.append(at)
                if origin.session:
                    tables.absorbed.note(origin)
        ctx = ApplyContext(index=entry.index, term=entry.term, peer_id=entry.proposer, time=entry.time)
        results = self._run([part.commands[at] for at in fresh], ctx) if fresh else []
        for at, result in zip(fresh, results, strict=True):
            origin = part.origins[at]
            if origin.session and tables.is_ours(origin):
                tables.sessions.advance(origin.session, origin.number, result, entry.time)
        begun = tables.absorbed.get(part.of)
        assert begun is not None
        return CarriedOver(
            end=part.end,
            digest=part.digest,
            taken=taken,
            complete=begun.is_complete,
            outcomes=tuple((first + at, ok, result) for at, (ok, result) in zip(fresh, results, strict=True)),
            repeated=len(part.commands) - skipped - len(fresh),
        )

    def _run(self, commands: Sequence[bytes], ctx: ApplyContext) -> list[tuple[bool, bytes]]:
        machine = self.machine
        if type(machine).apply_batch is StateMachine.apply_batch:
            return [self._run_one(command, ctx) for command in commands]
        try:
            values = machine.apply_batch([machine.decode(command) for command in commands], ctx)
            if len(values) != len(commands):
                raise ValueError(f"apply_batch returned {len(values)} results for {len(commands)} commands")
            return [(True, machine.encode(value)) for value in values]
        except _OUR_OWN:
            raise
        except Exception as error:  # user code: whatever it raises is the commands' outcome, alike everywhere
            return [(False, _reason(error))] * len(commands)

    def _run_one(self, command: bytes, ctx: ApplyContext) -> tuple[bool, bytes]:
        machine = self.machine
        try:
            return (True, machine.encode(machine.apply(machine.decode(command), ctx)))
        except _OUR_OWN:
            raise
        except Exception as error:  # as above
            return (False, _reason(error))

    def query(self, query: Any) -> Any:
        """The machine's answer, detached from its state."""
        machine = self.machine
        return machine.decode(machine.encode(machine.query(query)))


def _reason(error: Exception) -> bytes:
    return f"{type(error).__name__}: {error}".encode(errors="replace")[:4096]
