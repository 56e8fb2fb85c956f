"""The gossip engine: pure. Time and dice come in as arguments, messages and dials go out as effects.

How it works
============

*Neighbours* (:mod:`discovery.view`, :mod:`discovery.dialling`). A node keeps links to a few others, about log10(n) + 4 of them, and
knows all members through its catalog. Who has no room says whom else to try.

*News* (:mod:`discovery.spread`). An owner gives its new entry to its neighbours; they announce its name to theirs, and who lacks it
asks for it. Now and then the catalog is compared with a random neighbour's (:mod:`discovery.anti_entropy`), and only differences
travel.

*Failure* (:mod:`discovery.failure`). A neighbour whose link broke, or that does not answer a ping, is suspected. The suspicion goes
to everybody, the suspect included, which refutes it by a newer entry; a lone one goes at once, those that follow within a moment go
together. The suspect's other neighbours, when they hear of it, tell it, once for each version of its entry, ask it for a sign of
life themselves, and join in the accusation if none comes. Who is accused by several has little time to answer, who is accused by
one has long. A node that finds itself slow gives everybody more time. Suspicions that are refuted make all nodes wait longer for
answers, for a while: so where much is lost, few are suspected, and a dead neighbour is noticed when its link breaks.

*Healing*. Lost peers and seeds are dialled now and then. When two nodes link, each tells whom it has lost: if the other side
has them, they hear of it and answer with newer entries, which reach everybody.

*Bounds* (:mod:`discovery.catalog`). What nobody asked for is taken in small amounts only; a forged entry ends the link with
whoever sent it, since honest nodes pass on nothing that they have not verified.

The class is made of layers: what all share (:mod:`discovery.core`), who is gone (:mod:`discovery.watching`), entries
(:mod:`discovery.telling`), and here time, messages and links.
"""

from __future__ import annotations

import math

from discovery import anti_entropy
from discovery.catalog import Record, Status
from discovery.effects import OTHER_NETWORK, VIEW_FULL
from discovery.entry import SignedEntry
from discovery.messages import (
    MAX_REFERRED,
    MAX_SUSPECTS,
    Digest,
    Have,
    Hello,
    Lost,
    Message,
    News,
    Ping,
    Pong,
    Referral,
    Summary,
    Suspicion,
    Want,
)
from discovery.telling import FORGED, Telling
from transport import PeerAddr, PeerId

RESOLUTION = 0.001
"""Seconds between two ticks at least."""
ROUND_LIMIT = 1.0
"""Seconds that a tick may come late; beyond, a node doubts itself."""


class Gossip(Telling):
    """One node's view of its network, and all that may be done to it. See :class:`~discovery.core.Core` for its arguments."""

    # --- what people ask

    def next_try(self, peer: PeerId) -> float | None:
        """Until when a peer is left alone because dials came to nothing; None if it is not."""
        return self._dialling.next_try(peer)

    def is_dialling(self, peer: PeerId) -> bool:
        """Whether a dial to the peer is under way."""
        return self._dialling.is_dialling(peer)

    def suspicion_of(self, peer: PeerId) -> tuple[int, float] | None:
        """How many accuse a suspect, and when it is lost; None if nobody does."""
        case = self._suspicions.get(peer)
        return None if case is None else (len(case.accusers), case.deadline)

    # --- time

    def tick(self, now: float) -> None:
        """Let time pass; to be called when it is ``due``, and allowed at any time."""
        if now - self.due > ROUND_LIMIT:
            self._doubt_ourselves(now)
        for peer in self._suspicions.overdue(now):
            self._lose(peer, now)
        self._watch(now)
        if self._accused and now >= self._next_refutation:
            self._refute(now)
        if self._spread.busy:
            self._spread.hurry(now)
        if now >= self._next_choice and not self._left:
            if (address := self._dialling.choose(now)) is not None:
                self._dial(address, now)
            self._next_choice = self._dialling.deadline(now)
        if now >= self._next_anti_entropy:
            self._next_anti_entropy = now + self._rng.uniform(0.75, 1.25) * self._config.anti_entropy_interval
            self.catalog.expire(now)
            self._dialling.forget(now)
            if (partner := self.view.random()) is not None:
                self._send(partner, anti_entropy.summarize(self.catalog, self.own))
        self._finish(now)
        self.due = max(self._deadline(now), now + RESOLUTION)

    def _deadline(self, now: float) -> float:
        due = min(
            self._next_anti_entropy,
            self._suspicions.deadline,
            self._tellings.deadline,
            self._spread.deadline(),
            self.view.deadline(),
        )
        if self._accused:
            due = min(due, self._next_refutation)
        if not self._left:
            due = min(due, self._next_choice)
        return due

    # --- messages

    def receive(self, peer: PeerId, message: Message, now: float) -> None:
        """Handle a neighbour's message."""
        if peer not in self.view.neighbours:
            return
        match message:
            case Ping():
                self._send(peer, Pong(number=message.number))
            case Pong():
                if self.view.pong(peer, message.number, now):
                    self._awareness.trust()
            case Have():
                self._hear_offers(message.ids, peer, now)
            case Want():
                self._give(message.ids, peer)
            case News():
                self._take(message.entries, peer, now, Status.ALIVE)
            case Lost():
                self._take(message.entries, peer, now, Status.LOST)
            case Summary():
                if buckets := anti_entropy.differing(self.catalog, self.own, message):
                    self._send(peer, anti_entropy.digest(self.catalog, self.own, buckets, now, self._rng))
                else:
                    self.exchange.on_equal()
            case Digest():
                self._hear_offers(message.ids, peer, now)
                self.exchange.on_digest(filter(self._lacks, message.ids))
                if lacking := anti_entropy.lacking(self.catalog, self.own, message, now):
                    self._send(peer, Have(ids=tuple(lacking)))
            case Suspicion():
                self._hear_suspicion(message, peer, now)
            case Hello() | Referral():
                pass  # they have their place before a link is made
        if peer in self.view.neighbours:
            self.view.hear(peer, now)
        self._finish(now)

    # --- links

    def hello(self) -> Hello:
        """How a link begins."""
        return Hello(entry=self.own, lonely=not self.view.neighbours)

    def referral(self, peer: PeerId) -> Referral:
        """Whom else to try, for a peer that is not taken in: at random, ourselves first, so that it knows us."""
        chosen: dict[PeerId, SignedEntry] = {self.me: self.own}
        for _ in range(3 * MAX_REFERRED):
            record = self.catalog.draw(Status.ALIVE, self._rng)
            if record is not None and record.peer_id != peer and len(chosen) < MAX_REFERRED:
                chosen[record.peer_id] = record.signed
        return Referral(entries=tuple(chosen.values()))

    def referred(self, peer: PeerId, referral: Referral, now: float) -> None:
        """A peer that was dialled has no room, and names others."""
        for signed in referral.entries:
            if self.catalog.is_news(signed) and self._holds(signed):
                self._merge(signed, peer, now, Status.ALIVE)
        self.dial_failed(peer, now)

    def link_up(self, peer: PeerId, hello: SignedEntry, now: float, *, lonely: bool = False) -> str | None:
        """A link with ``peer`` is there, and it said ``hello``; why it is not wanted, if it is not.

        Args:
            peer: Who it is, proven.
            hello: Its entry; the signature holds.
            now: The clock.
            lonely: Whether it has no neighbour.
        """
        looking = self._dialling.on_link(peer)
        if hello.entry.network != self.network:
            return OTHER_NETWORK
        if hello.entry.peer_id != peer or hello.entry.left:
            return "the entry is not the peer's own"
        if self._left:
            return "this node is leaving"
        if now < self._banished.get(peer, -math.inf):
            return FORGED
        if self.catalog.is_news(hello):
            # From the owner's own mouth, and hardly anybody else has heard it: handed over whole.
            self._merge(hello, self.me, now, Status.ALIVE, whole=True, but=(peer,))
        record = self.catalog.get(peer)
        if record is None:
            return "the catalog is full"
        if self.view.is_full and peer not in self.view.neighbours:
            spare = self.view.room_for_lonely(now) if lonely else None
            if spare is None:
                self._finish(now)
                return VIEW_FULL
            self._unlink(spare, VIEW_FULL, now)
        self._link(record, hello, now)
        if looking and len(self.view.neighbours) > self.view_size:
            self._unlink(peer, VIEW_FULL, now)
        self._finish(now)
        self._choose_anew(now)
        return None

    def _link(self, record: Record, hello: SignedEntry, now: float) -> None:
        peer = record.peer_id
        record.met = True
        if peer in self.view.neighbours:
            self._spread.unlink(peer, now)  # a new link takes the old one's place
        self.view.add(peer, now, leads=self.me < peer)
        self._spread.link(peer)
        if record.signed != hello:
            # It forgot its own past, and would be taken for it: shown that, it jumps above.
            self._send(peer, News(entries=(record.signed,)))
        if record.status in (Status.SUSPECT, Status.LOST):
            # It answers, so it is there; others learn that from the newer entry that it makes when it hears of this.
            self._send(peer, Suspicion(suspects=(self._accusation(record),)))
            self._suspicions.close(peer)
            self.catalog.set_status(record, Status.ALIVE, now)
            self._emit("recovered", record, "it is linked again")
        gone = self.catalog.of(Status.SUSPECT) + self.catalog.of(Status.LOST)
        if gone:
            self._send(peer, Suspicion(suspects=tuple(map(self._accusation, gone[:MAX_SUSPECTS]))))
        # One side begins; who has not met the network yet begins as well, for only who has begun learns what it lacks.
        if self.me < peer or not self.exchange.done:
            self._send(peer, anti_entropy.summarize(self.catalog, self.own))

    def link_down(self, peer: PeerId, now: float, *, reason: str, orderly: bool) -> None:
        """The link with a neighbour ended; ``orderly`` if one side wanted it."""
        if self.view.neighbours.pop(peer, None) is None:
            return
        self._spread.unlink(peer, now)
        record = self.catalog.get(peer)
        if not orderly and record is not None and record.status is Status.ALIVE:
            self._accuse(record, now, f"its link broke: {reason}")
            self._dial(record.signed.entry.address, now)
        self._finish(now)
        self._choose_anew(now)

    def dial_failed(self, peer: PeerId, now: float, *, unreachable: bool = False) -> None:
        """A dial came to nothing.

        Args:
            peer: Who was dialled.
            now: The clock.
            unreachable: Whether nothing answered, rather than that it did not want to link.
        """
        self._dialling.on_failure(peer, now, unreachable=unreachable)
        record = self.catalog.get(peer)
        if unreachable and peer not in self.view.neighbours and record is not None and record.status is Status.ALIVE:
            # All that watched it may be gone with it: then a stranger's dial is what finds out.
            self._accuse(record, now, "it cannot be dialled")
        self._finish(now)
        self._choose_anew(now)

    def add_seed(self, address: PeerAddr, now: float) -> None:
        """One more to try first, found in the neighbourhood."""
        self._dialling.add_seed(address)
        self._choose_anew(now)
