"""Settings of the gossip."""

from __future__ import annotations

from dataclasses import dataclass

from transport.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryConfig:
    """Intervals and limits; the defaults hold from two nodes to a thousand.

    Attributes:
        anti_entropy_interval: Seconds between two comparisons with a random neighbour.
        ping_interval: Seconds of silence after which a neighbour is asked for a sign of life.
        ping_timeout: Seconds that it has to answer before it is suspected, at least; more where the way is long, or much is lost.
        suspicion_timeout: Seconds that a suspect has to answer if several accuse it; grows a little with the logarithm of
            the network's size, and is up to three times as long if nobody else agrees.
        max_neighbours: Links for gossip at most.
        dial_interval: Seconds between two dials that nobody asked for: seeds, spare neighbours, lost peers.
        seed_backoff: Longest pause, in seconds, between two attempts at one seed.
    """

    anti_entropy_interval: float = 2.0
    ping_interval: float = 2.0
    ping_timeout: float = 1.0
    suspicion_timeout: float = 3.0
    max_neighbours: int = 12
    dial_interval: float = 0.1
    seed_backoff: float = 8.0

    def __post_init__(self) -> None:
        bounds = {
            "anti_entropy_interval": (0.05, 3600.0),
            "ping_interval": (0.05, 600.0),
            "ping_timeout": (0.05, 600.0),
            "suspicion_timeout": (0.1, 3600.0),
            "max_neighbours": (3, 64),
            "dial_interval": (0.01, 60.0),
            "seed_backoff": (0.1, 3600.0),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name}={value!r} is not allowed: choose from {low:g} to {high:g}")
