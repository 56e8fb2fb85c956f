"""Exactly once: the replicated table of sessions (thesis, section 6.3).

A proposer registers once; its session's id is the index of the registration, so an expired session can never be
mistaken for a new one. Commands carry consecutive sequence numbers. A repeat is skipped, and so is whatever would leave
a gap: its proposer sends everything again, in order.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from p2praft.raft.entries import Commands, LogEntry, OpenSession
from p2praft.raft.types import Index

SESSION_TTL = 3600.0
"""Seconds, by the log's time, after which an unused session may be forgotten."""
MAX_SESSIONS = 4096
"""Sessions that are remembered at most; the longest unused goes first."""


@dataclass(slots=True)
class Session:
    """One proposer's state.

    Attributes:
        last: Sequence number of the newest applied command.
        used: Log time of the newest use.
        results: Outcomes of commands that the proposer has not acknowledged, as (sequence number, ok, result).
    """

    used: float
    last: int = 0
    results: deque[tuple[int, bool, bytes]] = field(default_factory=deque)


class Verdict(Enum):
    """What is to be done with an entry's commands."""

    APPLY = "apply"
    REPEAT = "repeat"
    GAP = "gap"
    EXPIRED = "expired"


class SessionTable:
    """Sessions by id; part of the replicated state, so it depends on the log alone."""

    def __init__(self) -> None:
        self._sessions: dict[int, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, entry: LogEntry) -> int:
        """Register the proposer of an :class:`OpenSession` entry; the session's id."""
        assert isinstance(entry.payload, OpenSession)
        for session_id in [i for i, s in self._sessions.items() if s.used < entry.time - SESSION_TTL]:
            del self._sessions[session_id]
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[min(self._sessions, key=lambda i: (self._sessions[i].used, i))]
        self._sessions[entry.index] = Session(used=entry.time)
        return entry.index

    def judge(self, commands: Commands) -> Verdict:
        """Whether commands are the next of their session."""
        session = self._sessions.get(commands.session)
        if session is None:
            return Verdict.EXPIRED
        if commands.first <= session.last:
            # The same calls always travel in the same entry or a longer one, so a repeat may bring more behind it.
            return Verdict.REPEAT if commands.first + len(commands.commands) - 1 <= session.last else Verdict.APPLY
        return Verdict.APPLY if commands.first == session.last + 1 else Verdict.GAP

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._sessions

    def repeated(self, commands: Commands) -> int:
        """How many of the commands, from the front, were applied before."""
        return self._sessions[commands.session].last + 1 - commands.first

    def record(self, commands: Commands, results: list[tuple[bool, bytes]], time: float) -> None:
        """Note the outcomes of the commands that were not applied before."""
        session = self._sessions[commands.session]
        session.used = time
        while session.results and session.results[0][0] <= commands.settled:
            session.results.popleft()
        for ok, result in results:
            session.last += 1
            session.results.append((session.last, ok, result))

    def last(self, session_id: int) -> int:
        """Sequence number of the newest command of a session that was applied; 0 if there is none."""
        session = self._sessions.get(session_id)
        return session.last if session else 0

    def outcomes(self, session_id: Index | int) -> tuple[tuple[int, bool, bytes], ...]:
        """Remembered outcomes of a session, oldest first."""
        session = self._sessions.get(session_id)
        return tuple(session.results) if session else ()

    def has(self, session_id: int, number: int) -> bool:
        """Whether a session's command was applied; a session that was forgotten has none."""
        session = self._sessions.get(session_id)
        return session is not None and number <= session.last

    def advance(self, session_id: int, number: int, outcome: tuple[bool, bytes], time: float) -> None:
        """Note a command that came from elsewhere, so that its proposer's repeat is not applied; numbers may be left out."""
        session = self._sessions.get(session_id)
        if session is not None:
            session.used, session.last = time, number
            session.results.append((number, *outcome))

    def dump(self) -> list[Any]:
        """The table as a MessagePack value; the same on every member."""
        return [[key, s.used, s.last, [list(result) for result in s.results]] for key, s in self._sessions.items()]

    @classmethod
    def load(cls, dumped: list[Any]) -> SessionTable:
        """The table that :meth:`dump` gave."""
        table = cls()
        for key, used, last, results in dumped:
            table._sessions[key] = Session(used=used, last=last, results=deque(map(tuple, results)))
        return table
