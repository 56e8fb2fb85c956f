"""Whom a node is linked with, and whether they live: pure.

Links are few, about log10(n) + 4 of them, and never more than a bound (HyParView: Leitão, Pereira and Rodrigues, 2007); the
catalog serves as the passive view. Small networks are simply all connected.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from discovery.config import DiscoveryConfig
from discovery.entry import Version
from discovery.rtt import RoundTrip
from transport import PeerId

FEWEST = 6
"""Neighbours that a node wants at least, if there are as many others."""
ROOM_INTERVAL = 1.0
"""Seconds between two neighbours that a full view gives up for somebody who has none."""
FOLLOWS = 1.5
"""How many times longer the side of a link that does not lead waits before it asks."""
EARLY = 0.25
"""Part of the interval by which a neighbour may be asked too early."""
MAX_REMEMBERED = 1024
"""Peers whose round trip is remembered after the link."""


@dataclass(slots=True)
class Bucket:
    """Lets a burst pass, and then so many a second.

    Attributes:
        rate: Tokens that come back a second.
        burst: Tokens at most.
        tokens: Tokens now.
        filled: When they were counted.
    """

    rate: float
    burst: float
    tokens: float
    filled: float

    @classmethod
    def full(cls, rate: float, burst: float, now: float) -> Bucket:
        """A bucket with all its tokens."""
        return cls(rate, burst, burst, now)

    def take(self, now: float) -> bool:
        """Take one token, if there is one."""
        self.tokens = min(self.burst, self.tokens + self.rate * (now - self.filled))
        self.filled = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass(slots=True, eq=False)
class Neighbour:
    """A peer that is linked.

    Attributes:
        since: When the link was made.
        heard: When it last said anything.
        leads: Whether it is we who ask for signs of life; the other side does so only if it hears nothing.
        gifts: What it may tell without having been asked.
        accusations: Whom it may accuse.
        asked: When the ping under way was sent; None if none is.
        until: When we give up waiting for the answer.
        number: Of that ping.
        silent: Whether we have given up waiting for the answer.
        accusers: Who said that it cannot be reached, since it was last heard.
        told: The version in which it was told that it is suspected.
    """

    since: float
    heard: float
    leads: bool
    gifts: Bucket
    accusations: Bucket
    asked: float | None = None
    until: float = math.inf
    number: int = 0
    silent: bool = False
    accusers: list[PeerId] = field(default_factory=list)
    told: Version | None = None


@dataclass(eq=False)
class View:
    """The neighbours.

    Attributes:
        config: Intervals and limits.
        rng: The dice.
        neighbours: Peers linked now.
        round_trips: Of them, and of some that were.
    """

    config: DiscoveryConfig
    rng: random.Random
    neighbours: dict[PeerId, Neighbour] = field(default_factory=dict)
    round_trips: dict[PeerId, RoundTrip] = field(default_factory=dict)
    _next_room: float = -math.inf

    def size(self, members: int) -> int:
        """How many neighbours a node in a network of so many members wants."""
        return min(self.config.max_neighbours, max(FEWEST, math.ceil(math.log10(max(1, members))) + 4))

    @property
    def is_full(self) -> bool:
        """Whether there is no room."""
        return len(self.neighbours) >= self.config.max_neighbours

    def room_for_lonely(self, now: float) -> PeerId | None:
        """Whom to give up for somebody who has no neighbour; None if that has just been done.

        Source: HyParView, section IV-C: such requests have high priority. The pause keeps a crowd of newcomers from
        tearing the view to pieces.
        """
        if now < self._next_room:
            return None
        self._next_room = now + ROOM_INTERVAL
        return self.random()

    def random(self) -> PeerId | None:
        """Any neighbour."""
        return self.rng.choice(list(self.neighbours)) if self.neighbours else None

    def add(self, peer: PeerId, now: float, *, leads: bool) -> None:
        """A link was made; on one of its sides we lead."""
        self.neighbours[peer] = Neighbour(
            since=now,
            heard=now,
            leads=leads,
            gifts=Bucket.full(64.0, 1024.0, now),
            accusations=Bucket.full(64.0, 1024.0, now),
        )

    # --- life

    def ping(self, peer: PeerId, now: float, factor: float) -> int | None:
        """The number to ask a neighbour for a sign of life with; None if it has been asked already.

        Args:
            peer: The neighbour.
            now: The clock.
            factor: Of our patience.
        """
        neighbour = self.neighbours[peer]
        if neighbour.asked is not None:
            return None
        neighbour.asked = now
        neighbour.until = now + self._patience(peer, factor)
        neighbour.number += 1
        return neighbour.number

    def hear(self, peer: PeerId, now: float) -> None:
        """It said something."""
        neighbour = self.neighbours[peer]
        neighbour.heard = now
        neighbour.asked = None
        neighbour.silent = False
        neighbour.accusers.clear()

    def pong(self, peer: PeerId, number: int, now: float) -> bool:
        """It answered; whether to the ping under way, so that the round trip is known."""
        neighbour = self.neighbours[peer]
        if neighbour.asked is None or neighbour.number != number:
            return False
        self.round_trip(peer).add(now - neighbour.asked)
        return True

    def round_trip(self, peer: PeerId) -> RoundTrip:
        """What has been measured with a peer."""
        if peer not in self.round_trips and len(self.round_trips) >= MAX_REMEMBERED:
            del self.round_trips[next(iter(self.round_trips))]
        return self.round_trips.setdefault(peer, RoundTrip())

    def best_round_trip(self, peer: PeerId) -> float | None:
        """The shortest to the peer, in seconds; None before the first measurement."""
        measured = self.round_trips.get(peer)
        return measured.best if measured is not None else None

    def quiet(self, now: float) -> list[PeerId]:
        """Neighbours that have said nothing for an interval, and are to be asked."""
        # Those that are due soon are asked as well: one wake-up serves for many.
        soon = now + EARLY * self.config.ping_interval
        return [peer for peer, n in self.neighbours.items() if n.asked is None and soon >= self._due(n)]

    def give_up(self, now: float, factor: float) -> list[PeerId]:
        """Neighbours that have not answered in time, by our patience of now: each is named once."""
        late: list[PeerId] = []
        for peer, neighbour in self.neighbours.items():
            if neighbour.asked is None or now < neighbour.until or neighbour.silent:
                continue
            neighbour.until = max(neighbour.until, neighbour.asked + self._patience(peer, factor))
            if now >= neighbour.until:
                neighbour.silent = True
                late.append(peer)
        return late

    def forgive(self, now: float) -> None:
        """Begin to wait anew: it was us who did not listen."""
        for neighbour in self.neighbours.values():
            if not neighbour.silent:
                neighbour.heard = now
                neighbour.asked = None

    def deadline(self) -> float:
        """When somebody is to be asked, or given up."""
        return min(
            (self._due(n) if n.asked is None else n.until for n in self.neighbours.values() if not n.silent),
            default=math.inf,
        )

    def _due(self, neighbour: Neighbour) -> float:
        wait = self.config.ping_interval
        return neighbour.heard + (wait if neighbour.leads else wait * FOLLOWS)

    def _patience(self, peer: PeerId, factor: float) -> float:
        measured = self.round_trips.get(peer)
        least = self.config.ping_timeout
        # Bounded: a neighbour that answers ever more slowly must not make itself unwatched.
        return factor * (min(2 * least, measured.timeout(least)) if measured else least)
