"""Who is suspected, by how many, and until when: pure.

Source: SWIM (Das, Gupta and Motivala, 2002), section 4.2, and Lifeguard (Dadgar, Phillips and Currey, 2018), section IV: a
suspect has long to answer if one member accuses it, and little once several do; and who finds itself slow doubts itself first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from discovery.entry import Version
from transport import PeerId

CONFIRMATIONS = 3
"""Accusers beyond the first after which a suspect has the shortest time; fewer where fewer can watch it."""
LONGEST = 3.0
"""How many times the shortest time a suspect has if nobody agrees with its accuser."""
MAX_AWARENESS = 4
"""Of one's own slowness; times grow by one more for each."""


@dataclass(slots=True)
class Case:
    """One suspect.

    Attributes:
        version: Of its entry that it has to surpass.
        began: When we heard of it, on our clock.
        shortest: Seconds that it has if all agree.
        needed: Accusers beyond the first for that.
        accusers: Who has said so.
        grace: Seconds more, because we were not listening.
    """

    version: Version
    began: float
    shortest: float
    needed: int
    accusers: set[PeerId] = field(default_factory=set)
    grace: float = 0.0

    @property
    def deadline(self) -> float:
        """When it is lost (Lifeguard, section IV-B)."""
        longest = self.shortest * LONGEST
        agreed = math.log(len(self.accusers)) / math.log(self.needed + 1) if self.needed else 1.0
        return self.began + self.grace + max(self.shortest, longest - (longest - self.shortest) * agreed)


class Suspicions:
    """The open cases.

    Args:
        timeout: Seconds that a suspect has at least, in a small network.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._cases: dict[PeerId, Case] = {}

    def __contains__(self, peer: PeerId) -> bool:
        return peer in self._cases

    def get(self, peer: PeerId) -> Case | None:
        """The case against a peer."""
        return self._cases.get(peer)

    def open(self, peer: PeerId, version: Version, accuser: PeerId, now: float, *, members: int) -> None:
        """A first accusation, in a network of so many members."""
        shortest = self._timeout * (1 + math.log10(max(1, members)) / 6)
        needed = max(0, min(CONFIRMATIONS, members - 2))
        self._cases[peer] = Case(version, now, shortest, needed, {accuser})

    def confirm(self, peer: PeerId, accuser: PeerId) -> bool:
        """One more accuses a suspect; whether that is worth telling on."""
        case = self._cases.get(peer)
        if case is None or accuser in case.accusers or len(case.accusers) > case.needed:
            return False
        case.accusers.add(accuser)
        return True

    def close(self, peer: PeerId) -> None:
        """It answered, or is lost, or left."""
        self._cases.pop(peer, None)

    def overdue(self, now: float) -> list[PeerId]:
        """Suspects whose time is up."""
        return [peer for peer, case in self._cases.items() if now >= case.deadline]

    def grant(self, seconds: float) -> None:
        """Give every suspect more time: it was us who did not listen."""
        for case in self._cases.values():
            case.grace += seconds

    @property
    def deadline(self) -> float:
        """When the next one is lost."""
        return min((case.deadline for case in self._cases.values()), default=math.inf)


class Awareness:
    """How slow we ourselves seem to be (Lifeguard, section IV-A, "local health multiplier")."""

    def __init__(self) -> None:
        self.score = 0

    @property
    def factor(self) -> int:
        """By which our patience with others grows."""
        return 1 + self.score

    def doubt(self) -> None:
        """An answer did not come, or we were late, or are suspected."""
        self.score = min(MAX_AWARENESS, self.score + 1)

    def trust(self) -> None:
        """An answer came in time."""
        self.score = max(0, self.score - 1)
