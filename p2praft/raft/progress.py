"""What a leader knows of one member's log (paper, figure 2, "Volatile state on leaders").

``PROBE``: where the logs part is not known; one message at a time, repeated by the heartbeat. ``REPLICATE``: it is
known, and messages are pipelined up to a window.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from p2praft.raft.types import Index

WINDOW_MESSAGES = 64
"""Unanswered messages with entries to one member at most."""
WINDOW_BYTES = 4 * 1024 * 1024
"""Unanswered bytes of entries to one member at most, but for the last message."""


@dataclass(slots=True)
class Progress:
    """One member's replication.

    Attributes:
        match: Highest index known to be in the member's log, durable there.
        counted: The same as far as it counts for commits; an observer's stays 0.
        next: Index of the next entry to send.
        probing: Whether ``next`` is still a guess.
        paused: While probing: the guess is on its way.
        held: The member is fetching from others: it gets heartbeats only.
        told_to_install: Since the last heartbeat, that it needs a snapshot.
        commit: The commit index that was last told.
        round: The newest round that it confirmed.
        heard: When it last answered, on the engine's clock, in seconds.
        progressed: When it last answered a round durably.
    """

    next: Index
    heard: float
    progressed: float
    match: Index = Index(0)
    counted: Index = Index(0)
    probing: bool = True
    paused: bool = False
    held: bool = False
    told_to_install: bool = False
    commit: Index = Index(0)
    round: int = 0
    _inflight: deque[tuple[int, int]] = field(default_factory=deque)
    _inflight_bytes: int = 0

    @property
    def ready(self) -> bool:
        """Whether another message with entries may leave."""
        if self.held:
            return False
        if self.probing:
            return not self.paused
        return len(self._inflight) < WINDOW_MESSAGES and self._inflight_bytes < WINDOW_BYTES

    @property
    def owes(self) -> bool:
        """Whether entries, or a probe, have not been answered."""
        return self.paused if self.probing else bool(self._inflight)

    def sent(self, last: Index, size: int) -> None:
        """Entries up to ``last`` left."""
        if self.probing:
            self.paused = True
            return
        self.next = Index(last + 1)
        self._inflight.append((last, size))
        self._inflight_bytes += size

    def matched(self, index: Index, *, counts: bool) -> None:
        """The member's log agrees with ours up to ``index``, durably."""
        self.match = max(self.match, index)
        if counts:
            self.counted = max(self.counted, index)
        if self.probing:
            self.probing = self.paused = False
            self.next = Index(self.match + 1)
        self.next = max(self.next, Index(self.match + 1))
        while self._inflight and self._inflight[0][0] <= index:
            self._inflight_bytes -= self._inflight.popleft()[1]

    def probe(self, next_index: int) -> None:
        """Start over from a guess; never below what is known to match."""
        self.next = Index(max(next_index, self.match + 1))
        self.probing, self.paused = True, False
        self._inflight.clear()
        self._inflight_bytes = 0
