"""How long a peer takes to answer: pure.

Source: RFC 6298, "Computing TCP's Retransmission Timer", section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

ALPHA, BETA, K = 1 / 8, 1 / 4, 4
GRANULARITY = 0.001
"""Seconds; finer than any event loop keeps time."""


@dataclass(slots=True)
class RoundTrip:
    """Smoothed round-trip time and its variation.

    Attributes:
        srtt: Smoothed round-trip time, seconds; None before the first sample.
        rttvar: Its mean deviation, seconds.
        best: The shortest of all, seconds, which no loss and no queue has made longer; None before the first.
    """

    srtt: float | None = None
    rttvar: float = 0.0
    best: float | None = None

    def add(self, sample: float) -> None:
        """Take a measurement, in seconds."""
        self.best = sample if self.best is None else min(self.best, sample)
        if self.srtt is None:  # (2.2)
            self.srtt, self.rttvar = sample, sample / 2
        else:  # (2.3): the variation is updated with the time as it was before
            self.rttvar = (1 - BETA) * self.rttvar + BETA * abs(self.srtt - sample)
            self.srtt = (1 - ALPHA) * self.srtt + ALPHA * sample

    def timeout(self, least: float) -> float:
        """Seconds after which an answer is late, and no less than ``least``."""
        return least if self.srtt is None else max(least, self.srtt + max(GRANULARITY, K * self.rttvar))
