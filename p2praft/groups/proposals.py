"""A proposer's side of exactly-once: what it wants executed, in order, through whatever leader there is.

Pure: the worker feeds it what the engine and the applier report, and asks it what to propose next. Calls take effect
in the order in which they were added. Until a call is sent it can be withdrawn; from then on it stays until the log
has settled it, through any number of leaders.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio

from p2praft.errors import HistoryEnded, OutcomeUnknown
from p2praft.groups.applier import Applied
from p2praft.groups.stats import GroupStats
from p2praft.groups.waiting import Flag
from p2praft.raft.entries import Commands, OpenSession
from p2praft.raft.sessions import SessionTable, Verdict
from p2praft.raft.types import Index

MAX_PENDING = 65_536
"""Commands of one member that may be unsettled; more callers wait."""
MAX_PENDING_BYTES = 32 * 1024 * 1024
"""Their bytes, likewise."""
BATCH_COMMANDS = 4096
BATCH_BYTES = 512 * 1024
RETRY_DELAY = 0.05
"""Seconds before a refused proposal is sent again."""
MAX_PATIENCE = 16
"""The pause between two sendings of what is not answered doubles each time, up to so many times the first."""


class Call(Flag):
    """Commands that one caller wants executed, applied without others in between; set once they are settled.

    Attributes:
        commands: Encoded.
        size: Bytes of its commands.
        first: Sequence number of the first command; 0 until sent.
        index: Where a leader said it stands; may change with the leader until it is committed.
        results: One (ok, encoded result) a command, once settled.
        failure: Why it will never be settled, if so.
        indexed: Set when ``index`` is first known, or it failed; None unless somebody waits for that.
    """

    __slots__ = ("commands", "failure", "first", "index", "indexed", "results", "size")

    def __init__(self, commands: tuple[bytes, ...]) -> None:
        super().__init__()
        self.commands = commands
        self.size = sum(map(len, commands))
        self.first = 0
        self.index = Index(0)
        self.results: list[tuple[bool, bytes]] = []
        self.failure: Exception | None = None
        self.indexed: Flag | None = None

    def wait_index(self) -> Flag:
        """What is set once ``index`` is known."""
        if self.indexed is None:
            self.indexed = Flag()
            if self.index or self.is_set():
                self.indexed.set()
        return self.indexed

    def note_index(self, index: Index) -> None:
        """A leader gave it a place."""
        self.index = index
        if self.indexed is not None:
            self.indexed.set()

    def finish(self) -> None:
        """It is settled."""
        self.set()
        if self.indexed is not None:
            self.indexed.set()


class Proposals:
    """The queue of one member's calls.

    Attributes:
        resend_at: When unanswered proposals are sent again, on the worker's clock; ``inf`` if none is out.
    """

    def __init__(self, *, nonce: bytes, forward_timeout: float, stats: GroupStats | None = None) -> None:
        self._stats = stats or GroupStats()
        self._nonce = nonce
        self._forward_timeout = self._patience = forward_timeout
        self._session: int | None = None
        self._next = 1
        self._settled_up_to = 0
        self._unsent: deque[Call] = deque()
        self._sent: deque[Call] = deque()
        self._requests: dict[int, list[Call]] = {}
        self._request = 0
        self._opening = self._minds_gap = False
        self._count = 0
        self._bytes = 0
        self._room: anyio.Event | None = None
        self.resend_at = float("inf")
        self._not_before = 0.0

    # --- callers

    @property
    def has_room(self) -> bool:
        """Whether another call may be added."""
        return self._count < MAX_PENDING and self._bytes < MAX_PENDING_BYTES

    async def wait_room(self) -> None:
        """Wait until another call may be added."""
        while not self.has_room:
            self._room = self._room or anyio.Event()
            await self._room.wait()

    def add(self, commands: tuple[bytes, ...]) -> Call:
        """Queue commands."""
        call = Call(commands)
        self._unsent.append(call)
        self._count += len(commands)
        self._bytes += call.size
        return call

    def withdraw(self, call: Call) -> bool:
        """Forget a call that was never sent; False if it was."""
        if call.first or call not in self._unsent:
            return False
        self._unsent.remove(call)
        self._release(call)
        return True

    def fail(self, error: Exception) -> None:
        """No call will be settled any more."""
        for call in (*self._sent, *self._unsent):
            call.failure = error
            call.finish()
        self._sent.clear()
        self._unsent.clear()
        self._count = self._bytes = 0
        self._wake_waiters()

    @property
    def pending(self) -> int:
        """Commands that are not settled."""
        return self._count

    @property
    def idle(self) -> bool:
        """Whether every call is settled."""
        return not self._sent and not self._unsent

    @property
    def unsent(self) -> int:
        """Calls that no leader has been handed yet."""
        return len(self._unsent)

    # --- the worker

    def rewind(self, now: float, delay: float = 0.0) -> None:
        """Whatever is unsettled must be sent again, in order, after ``delay`` seconds: the leader may not have it."""
        self._requests.clear()
        self._opening = False
        self._unsent.extendleft(reversed(self._sent))
        self._sent.clear()
        self._not_before = now + delay
        self.resend_at = self._not_before if self._unsent or self._session is None else float("inf")

    def on_time(self, now: float) -> None:
        """Nothing came of what was sent for too long, or the time to send again has come."""
        if now < self.resend_at:
            return
        self.resend_at = float("inf")
        if self._sent or self._opening:
            # What is slow to arrive must not be followed by copies of itself without end.
            self._patience = min(2 * self._patience, MAX_PATIENCE * self._forward_timeout)
            self._minds_gap = False
            self.rewind(now)

    def next_proposal(self, now: float) -> tuple[int, OpenSession | Commands] | None:
        """The next thing to propose and its request number; None if there is nothing to send now."""
        if now < self._not_before:
            return None
        if self._session is None:
            if self._opening or not self._unsent:
                return None
            self._opening = True
            self._request += 1
            self._expect_answer(now)
            return self._request, OpenSession(nonce=self._nonce)
        if not self._unsent:
            return None
        batch: list[Call] = []
        commands: list[bytes] = []
        size = 0
        while self._unsent and (
            not batch
            or (
                len(commands) + len(self._unsent[0].commands) <= BATCH_COMMANDS
                and size + self._unsent[0].size <= BATCH_BYTES
            )
        ):
            call = self._unsent.popleft()
            if not call.first:
                call.first = self._next
                self._next += len(call.commands)
            batch.append(call)
            commands.extend(call.commands)
            size += call.size
        self._sent.extend(batch)
        self._request += 1
        self._requests[self._request] = batch
        self._stats.on_proposed(batch[-1].first + len(batch[-1].commands) - 1, now)
        self._expect_answer(now)
        return self._request, Commands(
            session=self._session, first=batch[0].first, settled=self._settled_up_to, commands=tuple(commands)
        )

    def on_answer(self, request: int, index: Index, now: float) -> None:
        """The leader gave the proposal a place, or refused it (index 0)."""
        if index == 0:
            if request in self._requests or (self._opening and request == self._request):
                self.rewind(now, RETRY_DELAY)
            return
        for call in self._requests.pop(request, ()):
            call.note_index(index)

    def on_applied(self, applied: Applied, now: float) -> None:
        """An entry was applied; settle what it settles of ours."""
        if applied.nonce is not None:
            if applied.nonce == self._nonce and self._session is None:
                self._session = applied.session
                self._opening = False
                self.resend_at = float("inf")
            return
        if applied.session != self._session:
            return
        if applied.verdict is Verdict.EXPIRED:
            self.restart(now)
        elif applied.verdict is Verdict.GAP:
            if applied.last < self._settled_up_to:
                # The history was born again without commands that it had acknowledged: those of ours would never follow.
                self.restart(now)
            elif not self._minds_gap:
                # What was under way behind the gap runs into it as well, and was sent again already.
                self._minds_gap = True
                self.rewind(now)
            return
        self._minds_gap = False
        for sequence, ok, result in applied.outcomes:
            self._settle(sequence, ok, result)
        self._stats.on_settled(self._settled_up_to, now)
        self._patience = self._forward_timeout
        self.resend_at = now + self._patience if self._sent else float("inf")

    def on_restored(self, sessions: SessionTable, now: float) -> None:
        """A snapshot was taken in place of entries that we never saw applied: its sessions say what came of ours."""
        if self._session is not None and self._session not in sessions:
            self._forget_sent(now, _expired)
        elif self._session is not None:
            outcomes = sessions.outcomes(self._session)
            self.on_applied(Applied(session=self._session, verdict=Verdict.REPEAT, outcomes=outcomes), now)

    def on_history_left(self, history: bytes, now: float, *, archived: bool) -> None:
        """This member gave up a history without its end: whether what was sent in it took effect, it cannot know."""
        name = history.hex()
        kept = f"its log is kept in archive {name[:8]}" if archived else "its log was empty"

        def failure() -> OutcomeUnknown:
            return HistoryEnded(
                f"this member has given up history {name[:8]} of the group ({kept}): whether this command took effect in it "
                "cannot be known here; look at the state, then execute it anew if it is not in it",
                name,
            )

        self._forget_sent(now, failure)

    def _forget_sent(self, now: float, failure: Callable[[], OutcomeUnknown]) -> None:
        """Whether what was sent took effect, nobody knows; what was not is proposed in another session."""
        self.rewind(now)
        while self._unsent and self._unsent[0].first:
            call = self._unsent.popleft()
            call.failure = failure()
            self._release(call)
            call.finish()
        self.restart(now)

    def restart(self, now: float) -> None:
        """Our session is unknown: none of what is unsettled was applied, and under it never will be. Open another."""
        self._session = None
        self._stats.on_restart()
        self.rewind(now)
        for call in self._unsent:
            call.first = 0
            call.results.clear()
        self._next, self._settled_up_to = 1, 0

    # --- inner workings

    def _expect_answer(self, now: float) -> None:
        if self.resend_at in (float("inf"), self._not_before):  # else something else is out, perhaps overdue
            self.resend_at = now + self._patience

    def _settle(self, sequence: int, ok: bool, result: bytes) -> None:
        if sequence != self._settled_up_to + 1:
            return  # a repeat's outcome that we had already
        queue = self._sent or self._unsent
        if not queue or not queue[0].first:
            return
        call = queue[0]
        call.results.append((ok, result))
        self._settled_up_to = sequence
        if len(call.results) == len(call.commands):
            queue.popleft()
            self._release(call)
            call.finish()

    def _release(self, call: Call) -> None:
        self._count -= len(call.commands)
        self._bytes -= call.size
        self._wake_waiters()

    def _wake_waiters(self) -> None:
        if self._room is not None and self.has_room:
            self._room.set()
            self._room = None


def _expired() -> OutcomeUnknown:
    return OutcomeUnknown(
        "this member was away for so long that the group forgot its commands' outcomes: whether this one took effect "
        "cannot be known; look at the state, then execute it anew if it did not"
    )
