"""A member's strong reads on their way: pure, like :mod:`p2praft.groups.proposals`.

All reads that arrive in one turn of the worker share one request to the leader; each waits for the index that the
leader answers, and then for the local state to reach it.
"""

from __future__ import annotations

from p2praft.groups.waiting import Flag
from p2praft.raft.types import Index


class StrongRead:
    """One caller's read.

    Attributes:
        ready: Set when the local state may serve it, or it failed.
        failure: Why it never will.
    """

    __slots__ = ("failure", "ready")

    def __init__(self) -> None:
        self.ready = Flag()
        self.failure: Exception | None = None


class Queries:
    """Reads that wait.

    Attributes:
        resend_at: When reads that nobody answered are asked for again, on the worker's clock.
    """

    def __init__(self, *, forward_timeout: float) -> None:
        self.resend_at = float("inf")
        self._forward_timeout = forward_timeout
        self._new: list[StrongRead] = []
        self._asked: dict[int, list[StrongRead]] = {}
        self._indexed: list[tuple[Index, list[StrongRead]]] = []
        self._request = 0
        self._not_before = 0.0

    @property
    def idle(self) -> bool:
        """Whether nobody waits for the leader's answer."""
        return not self._new and not self._asked

    def add(self) -> StrongRead:
        """Queue a read."""
        read = StrongRead()
        self._new.append(read)
        return read

    def withdraw(self, read: StrongRead) -> None:
        """Its caller no longer waits."""
        for reads in (self._new, *self._asked.values(), *(reads for _, reads in self._indexed)):
            if read in reads:
                reads.remove(read)

    def next_request(self, now: float) -> int | None:
        """Number of a request to make now, for all reads that none covers; None if there are none."""
        if not self._new or now < self._not_before:
            return None
        self._request += 1
        self._asked[self._request], self._new = self._new, []
        if self.resend_at in (float("inf"), self._not_before):  # else something else is out, perhaps overdue
            self.resend_at = now + self._forward_timeout
        return self._request

    def on_answer(self, request: int, index: Index, now: float, *, retry_delay: float) -> None:
        """The leader answered; with 0 it must be asked again, after ``retry_delay`` seconds."""
        reads = self._asked.pop(request, None)
        if not reads:
            pass
        elif index:
            self._indexed.append((index, reads))
        else:
            self._new.extend(reads)
            self.resend_at = self._not_before = now + retry_delay
        if not self._asked and not self._new:
            self.resend_at = float("inf")

    def rewind(self, now: float, delay: float = 0.0) -> None:
        """Ask again for all that is unanswered, after ``delay`` seconds."""
        for reads in self._asked.values():
            self._new.extend(reads)
        self._asked.clear()
        self._not_before = now + delay
        self.resend_at = self._not_before if self._new else float("inf")

    def restart(self, now: float) -> None:
        """Another history was taken up: an index of the old one says nothing about it."""
        for _, reads in self._indexed:
            self._new.extend(reads)
        self._indexed.clear()
        self.rewind(now)

    def serve(self, applied: Index) -> None:
        """The state has applied this much."""
        if not self._indexed:
            return
        for index, reads in self._indexed:
            if index <= applied:
                for read in reads:
                    read.ready.set()
        self._indexed = [(index, reads) for index, reads in self._indexed if index > applied]

    def fail(self, error: Exception) -> None:
        """No read will be served any more."""
        for reads in (self._new, *self._asked.values(), *(reads for _, reads in self._indexed)):
            for read in reads:
                read.failure = error
                read.ready.set()
        self._new.clear()
        self._asked.clear()
        self._indexed.clear()
