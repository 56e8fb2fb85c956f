"""Settings of networks and groups; nonsense is refused with the field's name and the allowed range."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from discovery import DiscoveryConfig
from p2praft.errors import ConfigError
from transport import QuicConfig


def _check(name: str, value: float, low: float, high: float, unit: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        unit = f" {unit}" if unit else ""
        raise ConfigError(f"{name}={value!r} is not allowed: choose from {low:g} to {high:g}{unit}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsensusConfig:
    """How a group agrees: give all members the same. No part of the GroupId: members whose settings differ share a group.

    Attributes:
        heartbeat_interval: Seconds between a leader's heartbeats.
        election_timeout: Seconds without a leader before a follower considers an election; at least twice the
            heartbeat interval.
        election_timeout_jitter: Up to this many random seconds are added, so that members do not collide.
        bootstrap_delay: Seconds that a member without history waits for others before it founds one.
        expect: How many eligible members must be bonded before a history is founded. More than half of the nodes
            that could ever found the group makes a second history impossible, if they keep their logs: a founder
            whose memory died with its process is a new node, and may found again beside nodes that know of nothing.
        max_voters: Upper bound on the voter set.
        voter_grace: Seconds that a voter may give no durable answer before it is replaced, if somebody can take its place.
        shrink_after: Seconds that a voter may give no durable answer before a set of more than three does without it,
            if nobody can take its place; at least ``voter_grace``. None for ten times ``voter_grace``.
        forward_timeout: Seconds after which an unanswered forwarded command is sent again.
        query_timeout: Default bound, in seconds, on a strong read.
        snapshot_every: Entries applied between two snapshots, after which the log before them is dropped but for as many
            entries again. A large state waits until as many bytes of log have come as it has itself.
    """

    heartbeat_interval: float = 0.15
    election_timeout: float = 0.6
    election_timeout_jitter: float = 0.4
    bootstrap_delay: float = 1.0
    expect: int = 1
    max_voters: int = 5
    voter_grace: float = 20.0
    shrink_after: float | None = None
    forward_timeout: float = 2.0
    query_timeout: float = 10.0
    snapshot_every: int = 10_000

    def __post_init__(self) -> None:
        _check("heartbeat_interval", self.heartbeat_interval, 0.005, 60, "seconds")
        _check("election_timeout", self.election_timeout, 2 * self.heartbeat_interval, 600, "seconds")
        _check("election_timeout_jitter", self.election_timeout_jitter, 0.001, 600, "seconds")
        _check("bootstrap_delay", self.bootstrap_delay, 0, 600, "seconds")
        _check("expect", self.expect, 1, 31)
        _check("max_voters", self.max_voters, 1, 31)
        _check("voter_grace", self.voter_grace, 0.1, 86_400, "seconds")
        if self.shrink_after is not None:
            _check("shrink_after", self.shrink_after, self.voter_grace, 864_000, "seconds")
        _check("forward_timeout", self.forward_timeout, 0.05, 600, "seconds")
        _check("query_timeout", self.query_timeout, 0.05, 3600, "seconds")
        _check("snapshot_every", self.snapshot_every, 100, 100_000_000)
        for name in ("expect", "max_voters", "snapshot_every"):
            if not isinstance(getattr(self, name), int):
                raise ConfigError(f"{name}={getattr(self, name)!r} is not allowed: it is a whole number")
        if self.expect > self.max_voters:
            raise ConfigError(f"expect={self.expect} is not allowed: it is at most max_voters={self.max_voters}")

    @property
    def shrink_silence(self) -> float:
        """``shrink_after``, or what takes its place, in seconds."""
        return 10 * self.voter_grace if self.shrink_after is None else self.shrink_after


@dataclass(frozen=True, slots=True)
class LeadershipPreference:
    """Whether and how eagerly a member campaigns.

    ``NORMAL`` campaigns, ``reluctant(factor)`` waits ``factor`` times longer, ``OBSERVER`` never campaigns and never
    counts.
    """

    factor: float = 1.0

    NORMAL: ClassVar[LeadershipPreference]
    OBSERVER: ClassVar[LeadershipPreference]

    @classmethod
    def reluctant(cls, factor: float = 3) -> LeadershipPreference:
        """Campaigns only after ``factor`` (1 to 1000) times the election timeout."""
        _check("factor", factor, 1, 1000)
        return cls(float(factor))

    @property
    def is_observer(self) -> bool:
        """Whether the member takes part in no quorum."""
        return self.factor == 0

    @property
    def is_reluctant(self) -> bool:
        """Whether others are preferred as voters and leaders."""
        return self.factor > 1

    def __str__(self) -> str:
        return "observer" if self.is_observer else "normal" if self.factor == 1 else f"reluctant({self.factor:g})"


LeadershipPreference.NORMAL = LeadershipPreference(1.0)
LeadershipPreference.OBSERVER = LeadershipPreference(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """How a node is reached and finds others; the defaults suit machines on one LAN.

    Attributes:
        quic: The links: idle timeout, limits, datagram size.
        discovery: The gossip: intervals, view sizes, suspicion.
        shutdown_timeout: Seconds that leaving the network may take at most before it is cut short.
    """

    quic: QuicConfig = field(default_factory=QuicConfig)
    discovery: DiscoveryConfig = field(default_factory=DiscoveryConfig)
    shutdown_timeout: float = 3.0

    def __post_init__(self) -> None:
        _check("shutdown_timeout", self.shutdown_timeout, 0.1, 60, "seconds")
