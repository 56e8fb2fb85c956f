"""What a simulated run is made of; everything follows from the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from p2praft import ConsensusConfig

CONFIG = ConsensusConfig(
    heartbeat_interval=0.1,
    election_timeout=0.5,
    election_timeout_jitter=0.3,
    bootstrap_delay=0.5,
    voter_grace=3.0,
    shrink_after=10.0,
)

FAULTS = [
    "partition",
    "heal",
    "heal",
    "crash",
    "crash",
    "weather",
    "unbond",
    "transfer",
    "slow disk",
    "hung disk",
    "hand over and be cut off",
    "clock",
    "leave",
    "figure 8",
]
RARE = [
    "burn disk",
    "burn majority",
    "old copy",
    "visitor",
    "late newcomer",
    "all but observers",
    "leave and crash",
    "recover",
    "wrong recover",
    "abandon",
]
"""Faults that begin, end or join histories: a few of them in a run."""


@dataclass(slots=True)
class Plan:
    """One run.

    Attributes:
        gate: Whether nodes meet somebody before they found, as rule 1 wants; without it histories are founded apart.
        apart: Whether the nodes begin in two halves that do not reach each other.
        write_through: Whether writes take no time, as those of volatile members do in the worker.
        snapshots: How likely a member takes a snapshot behind an entry.
        forgets: Whether memories and disks get lost; if not, an old copy of one may be put back.
        rare: How likely a fault is one of :data:`RARE`.
        struck: How likely a new leader is cut off, or killed, in its first moment.
    """

    seed: int
    voters: int
    observers: int = 0
    reluctant: int = 0
    volatile: bool = False
    write_through: bool = False
    expect: int = 0
    gate: bool = True
    apart: bool = False
    steps: int = 6000
    snapshots: float = 0.02
    forgets: bool = True
    rare: float = 0.0
    struck: float = 0.0

    @classmethod
    def of(cls, seed: int) -> Plan:
        """The plan that a seed stands for."""
        rng = random.Random(f"plan {seed}")
        voters = rng.choice([1, 2, 3, 3, 3, 4, 5, 5, 6, 7, 8])
        volatile = rng.random() < 0.3
        return cls(
            seed=seed,
            voters=voters,
            observers=rng.choice([0, 0, 1, 2]) if voters < 8 else 1,
            reluctant=rng.choice([0, 0, 1]),
            volatile=volatile,
            write_through=volatile and seed % 2 == 0,
            expect=voters // 2 + 1 if rng.random() < 0.6 else 1,
            gate=rng.random() < 0.7,
            apart=rng.random() < 0.2,
            snapshots=rng.choice([0.0, 0.02, 0.02, 0.1]),
            rare=rng.choice([0.0, 0.1, 0.2, 0.4]),
            forgets=volatile or rng.random() < 0.6,
            struck=rng.choice([0.0, 0.1, 0.1, 0.9]),
        )
