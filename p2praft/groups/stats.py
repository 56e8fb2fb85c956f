"""What one member counts of its group's work: plain numbers, read when somebody asks for metrics."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Sequence

LATENCIES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets, in seconds: from a commit in memory to a group that just elects again."""
WATCHED = 1024
"""Proposals on their way that are timed; more are not counted in the histogram."""


class Histogram:
    """Durations in buckets.

    Attributes:
        bounds: Upper bounds of the buckets, inclusive; one more bucket holds the rest.
        counts: How many fell into each bucket.
        total: The sum of all, in seconds.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = LATENCIES) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


class GroupStats:
    """The counters of one group on this node.

    Attributes:
        events: How often each kind of group event came.
        campaigns: How often this member became a candidate.
        terms_led: How often it became the leader.
        commits: From handing a proposal to the leader until it was applied here. Timed by proposals, not by commands:
            those that are executed together share one.
        writes: Durable writes of the storage, each of all that had queued up.
    """

    __slots__ = ("_proposed", "campaigns", "commits", "events", "terms_led", "writes")

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.campaigns = 0
        self.terms_led = 0
        self.commits = Histogram()
        self.writes = Histogram()
        self._proposed: deque[tuple[int, float]] = deque(maxlen=WATCHED)

    def on_event(self, kind: str, text: str) -> None:
        """A group event."""
        self.events[kind] += 1
        if kind == "role":
            role = text.partition(" ")[0]
            self.campaigns += role == "candidate"
            self.terms_led += role == "leader"

    def on_proposed(self, last: int, now: float) -> None:
        """Commands up to sequence number ``last`` are on their way; sent again, they count from the first time."""
        if not self._proposed or last > self._proposed[-1][0]:
            self._proposed.append((last, now))

    def on_settled(self, last: int, now: float) -> None:
        """Commands up to sequence number ``last`` have taken effect."""
        while self._proposed and self._proposed[0][0] <= last:
            self.commits.observe(now - self._proposed.popleft()[1])

    def on_restart(self) -> None:
        """Sequence numbers begin anew."""
        self._proposed.clear()
