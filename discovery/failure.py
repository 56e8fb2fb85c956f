"""Who is suspected, by how many, and until when: pure.

Source: SWIM (Das, Gupta and Motivala, 2002), section 4.2, and Lifeguard (Dadgar, Phillips and Currey, 2018), section IV: a
suspect has long to answer if one member accuses it, and little once several do; and who finds itself slow doubts itself first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from discovery.entry import Version
from discovery.messages import Accusation
from transport import PeerId

CONFIRMATIONS = 3
"""Accusers beyond the first after which a suspect has the shortest time; fewer where fewer can watch it."""
LONGEST = 3.0
"""How many times the shortest time a suspect has if nobody agrees with its accuser."""
MAX_AWARENESS = 4
"""Of one's own slowness; times grow by one more for each."""
MAX_LESSONS = 4
"""Refuted suspicions that make us more patient, twice as patient each; with all of them, a silent neighbour is left to its link."""
LESSON = 5.0
"""Seconds until one of them is forgotten: soon, so that a crash is found as fast as before when the loss is over."""
GATHERING = 0.1
"""Seconds between two tellings of suspects; a lone one goes at once."""


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

    def counts(self, accuser: PeerId) -> bool:
        """Whether this accuser is counted, or no more of them need be."""
        return accuser in self.accusers or len(self.accusers) > self.needed

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
        self._deadline = math.inf

    def __contains__(self, peer: PeerId) -> bool:
        return peer in self._cases

    def get(self, peer: PeerId) -> Case | None:
        """The case against a peer."""
        return self._cases.get(peer)

    def open(self, peer: PeerId, version: Version, accuser: PeerId, now: float, *, members: int) -> None:
        """A first accusation, in a network of so many members."""
        shortest = self._timeout * (1 + math.log10(max(1, members)) / 6)
        needed = max(0, min(CONFIRMATIONS, members - 2))
        case = self._cases[peer] = Case(version, now, shortest, needed, {accuser})
        self._deadline = min(self._deadline, case.deadline)

    def settled(self, accusation: Accusation) -> bool:
        """Whether an accusation adds nothing to the case that there is."""
        case = self._cases.get(accusation.peer_id)
        return case is not None and case.version == accusation.version and case.counts(accusation.accuser)

    def confirm(self, peer: PeerId, accuser: PeerId) -> bool:
        """One more accuses a suspect; whether that is worth telling on."""
        case = self._cases.get(peer)
        if case is None or case.counts(accuser):
            return False
        case.accusers.add(accuser)
        self._deadline = min(self._deadline, case.deadline)
        return True

    def close(self, peer: PeerId) -> None:
        """It answered, or is lost, or left."""
        self._cases.pop(peer, None)
        if not self._cases:
            self._deadline = math.inf

    def overdue(self, now: float) -> list[PeerId]:
        """Suspects whose time is up."""
        if now < self._deadline:
            return []
        late = [peer for peer, case in self._cases.items() if now >= case.deadline]
        self._deadline = min((case.deadline for case in self._cases.values()), default=math.inf)
        return late

    def grant(self, seconds: float) -> None:
        """Give every suspect more time: it was us who did not listen."""
        for case in self._cases.values():
            case.grace += seconds
        self._deadline += seconds

    @property
    def deadline(self) -> float:
        """When the next one is lost, or earlier: what was the next may have been closed or given more time since."""
        return self._deadline


class Tellings:
    """Accusations on their way to the neighbours: gathered, since each is a message to every neighbour of every node."""

    def __init__(self) -> None:
        self._gathered: dict[Accusation, set[PeerId]] = {}
        self._told = -math.inf

    def add(self, accusation: Accusation, source: PeerId | None) -> None:
        """Pass on what ``source`` said; None if we say it."""
        self._gathered[accusation] = set() if source is None else {source}

    def heard(self, accusation: Accusation, source: PeerId) -> None:
        """One more neighbour said so: no need to tell it."""
        if self._gathered and (sources := self._gathered.get(accusation)) is not None:
            sources.add(source)

    def take(self, now: float) -> dict[Accusation, set[PeerId]]:
        """What has gathered, and who need not be told since it said so."""
        self._told = now
        gathered, self._gathered = self._gathered, {}
        return gathered

    @property
    def deadline(self) -> float:
        """When something is to be told."""
        return self._told + GATHERING if self._gathered else math.inf


class Awareness:
    """How slow we ourselves seem to be (Lifeguard, section IV-A, "local health multiplier"), and how slow the network is.

    Who refutes a suspicion was given up too soon by somebody whose patience is as ours. Everybody hears of it, so all become
    more patient together, and false suspicions stay few however large the network is and however much it loses. Each of the
    last few counts once until all would be forgotten: a single one that is hard to reach tells little of the others. Who invents
    suspicions gains little: a link whose other end is gone breaks by itself.
    """

    def __init__(self) -> None:
        self.score = 0
        self._level = 0.0
        self._learned = -math.inf
        self._refuted: dict[PeerId, float] = {}

    def factor(self, now: float) -> float:
        """By which our patience with others grows."""
        return max(1 + self.score, 2 ** self._lessons(now))

    def doubt(self) -> None:
        """An answer did not come, or we were late, or are suspected."""
        self.score = min(MAX_AWARENESS, self.score + 1)

    def trust(self) -> None:
        """An answer came in time."""
        self.score = max(0, self.score - 1)

    def learn(self, suspect: PeerId, now: float) -> None:
        """A suspect was there all the time."""
        if now - self._refuted.get(suspect, -math.inf) < MAX_LESSONS * LESSON:
            return
        self._level = min(MAX_LESSONS, self._lessons(now) + 1)
        self._learned = now
        self._refuted.pop(suspect, None)  # the newest stands last
        self._refuted[suspect] = now
        if len(self._refuted) > MAX_LESSONS:
            del self._refuted[next(iter(self._refuted))]

    def _lessons(self, now: float) -> float:
        return max(0.0, self._level - (now - self._learned) / LESSON)
