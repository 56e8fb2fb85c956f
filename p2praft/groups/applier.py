"""Applies committed entries to the state machine: pure, the same on every member."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from p2praft.groups.machine import ApplyContext, StateMachine
from p2praft.raft.messages import Commands, Index, LogEntry, OpenSession
from p2praft.raft.sessions import SessionTable, Verdict

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
    """

    session: int
    nonce: bytes | None = None
    verdict: Verdict = Verdict.APPLY
    outcomes: tuple[tuple[int, bool, bytes], ...] = ()


class Applier:
    """The state machine with its sessions.

    Attributes:
        index: The last applied entry's.
        sessions: Part of the replicated state.
    """

    def __init__(self, machine: StateMachine) -> None:
        self.machine = machine
        self.sessions = SessionTable()
        self.index = Index(0)
        self._pristine = b"".join(machine.chunks(machine.snapshot()))

    def reset(self) -> None:
        """Start from nothing: the member takes up another history."""
        self.machine.restore(self.machine.join((self._pristine,)))
        self.sessions = SessionTable()
        self.index = Index(0)

    def restore(self, index: Index, sessions: SessionTable, state: Any) -> None:
        """Take a snapshot's state, as of entry ``index``."""
        self.machine.restore(state)
        self.sessions = sessions
        self.index = index

    def apply(self, entry: LogEntry) -> Applied | None:
        """Apply one entry; None if it carries nothing for the state machine."""
        self.index = entry.index
        payload = entry.payload
        if isinstance(payload, Commands):
            return self._apply_commands(payload, entry)
        if isinstance(payload, OpenSession):
            return Applied(session=self.sessions.open(entry), nonce=payload.nonce)
        return None

    def _apply_commands(self, payload: Commands, entry: LogEntry) -> Applied:
        verdict = self.sessions.judge(payload)
        if verdict is not Verdict.APPLY:
            outcomes = self.sessions.outcomes(payload.session) if verdict is Verdict.REPEAT else ()
            return Applied(session=payload.session, verdict=verdict, outcomes=outcomes)
        repeated = self.sessions.repeated(payload)
        ctx = ApplyContext(index=entry.index, term=entry.term, peer_id=entry.proposer, time=entry.time)
        results = self._run(payload.commands[repeated:], ctx)
        self.sessions.record(payload, results, entry.time)
        first = payload.first + repeated
        outcomes = tuple((first + at, ok, result) for at, (ok, result) in enumerate(results))
        return Applied(session=payload.session, outcomes=outcomes)

    def _run(self, commands: tuple[bytes, ...], ctx: ApplyContext) -> list[tuple[bool, bytes]]:
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
