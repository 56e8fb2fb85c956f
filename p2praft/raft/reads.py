"""Read index: strong reads without a log entry (thesis, section 6.4).

A read that came before a round which a quorum then confirmed may be served by any state that has applied what was
committed when the round began. All reads that arrive while a round is being started share it.
"""

from __future__ import annotations

from collections import deque

from p2praft.raft.context import Context
from p2praft.raft.effects import Readable
from p2praft.raft.messages import ReadIndexResponse
from p2praft.raft.types import Index, Member

MAX_READS = 10_000
"""Reads that may wait at a leader; more are told to ask again."""


class Reads:
    """Reads that wait for confirmation of the leadership.

    Attributes:
        waiting: Those that no round covers yet, as (who asked, its request number).
    """

    def __init__(self) -> None:
        self.waiting: list[tuple[Member, int]] = []
        self._rounds: deque[tuple[int, Index, list[tuple[Member, int]]]] = deque()

    @property
    def pending(self) -> bool:
        """Whether a round is under way for some."""
        return bool(self._rounds)

    def add(self, origin: Member, request: int) -> bool:
        """Take a read; False if too many wait."""
        if len(self.waiting) >= MAX_READS:
            return False
        self.waiting.append((origin, request))
        return True

    def begin(self, round_number: int, commit: Index) -> None:
        """All that wait are covered by this round, at this commit index."""
        self._rounds.append((round_number, commit, self.waiting))
        self.waiting = []

    def confirm(self, round_number: int, ctx: Context) -> set[Member]:
        """A quorum still followed us when this round began: answer what it covers; who now waits for that index."""
        answered: set[Member] = set()
        while self._rounds and self._rounds[0][0] <= round_number:
            _, index, reads = self._rounds.popleft()
            for origin, request in reads:
                answer(origin, request, index, ctx)
                answered.add(origin)
        return answered

    def drop(self, origin: Member) -> None:
        """The bond with ``origin`` broke: what its next process asks must not be answered by an older question."""
        self.waiting = [read for read in self.waiting if read[0] != origin]
        self._rounds = deque(
            (number, index, [read for read in reads if read[0] != origin]) for number, index, reads in self._rounds
        )

    def refuse(self, ctx: Context) -> None:
        """We no longer lead: who waits must ask again."""
        self.begin(0, Index(0))
        for _, _, reads in self._rounds:
            for origin, request in reads:
                answer(origin, request, Index(0), ctx)
        self._rounds.clear()


def answer(origin: Member, request: int, index: Index, ctx: Context) -> None:
    """Tell who asked at which index it may read; 0 if it must ask again."""
    if origin == ctx.me:
        ctx.answers.append(Readable(request=request, index=index))
    else:
        ctx.send(origin, ReadIndexResponse(request=request, index=index))
