"""The part of the gossip engine that notices who is gone: pure. The rules stand in :mod:`discovery.gossip`."""

from __future__ import annotations

from discovery import anti_entropy
from discovery.catalog import PRESENT, Record, Status
from discovery.core import Core
from discovery.effects import NO_ANSWER
from discovery.failure import CONFIRMATIONS
from discovery.messages import (
    Accusation,
    News,
    Ping,
    Suspicion,
)
from transport import PeerId


class Watching(Core):
    """Asks neighbours for signs of life, hears accusations and makes them."""

    # --- neighbours

    def _doubt_ourselves(self, now: float) -> None:
        """We were stopped, or starved: what we did not hear meanwhile proves nothing (Lifeguard, section IV-A)."""
        self._awareness.doubt()
        self._suspicions.grant(now - self.due)
        self.view.forgive(now)

    def _watch(self, now: float) -> None:
        for peer in self.view.give_up(now, self._awareness.factor(now)):
            self._awareness.doubt()
            record = self.catalog.get(peer)
            if record is not None and record.status in PRESENT:
                self._accuse(record, now, "it does not answer")
                for accuser in self.view.neighbours[peer].accusers:
                    self._suspicions.confirm(peer, accuser)
        for peer in self.view.quiet(now):
            self._ping(peer, now)

    # --- accusations

    def _accuse(self, record: Record, now: float, reason: str) -> None:
        """Suspect a peer by what we saw ourselves."""
        if self._suspect(record, self.me, now, reason):
            self._tellings.add(self._accusation(record), None)

    def _suspect(self, record: Record, accuser: PeerId, now: float, reason: str) -> bool:
        """Open or strengthen the case against a peer; whether others should hear of it."""
        peer = record.peer_id
        if peer in self._suspicions:
            news = self._suspicions.confirm(peer, accuser)
        else:
            members = len(self.catalog) + 1
            self._suspicions.open(peer, record.version, accuser, now, members=members)
            self.catalog.set_status(record, Status.SUSPECT, now)
            self._emit("suspect", record, reason)
            news = True
        self.due = min(self.due, self._suspicions.deadline)
        return news

    def _lose(self, peer: PeerId, now: float) -> None:
        case = self._suspicions.get(peer)
        accusers = len(case.accusers) if case else 0
        self._suspicions.close(peer)
        record = self.catalog.get(peer)
        if record is None or record.status is not Status.SUSPECT:
            return
        self.catalog.set_status(record, Status.LOST, now)
        who = "one peer" if accusers == 1 else f"{accusers} peers"
        self._emit("lost", record, f"suspected by {who}, and did not answer in time")
        if peer in self.view.neighbours:
            self._unlink(peer, NO_ANSWER, now)
        self._dialling.on_loss(now)
        self._choose_anew(now)

    def _hear_suspicion(self, message: Suspicion, source: PeerId, now: float) -> None:
        neighbour = self.view.neighbours.get(source)
        for accusation in message.suspects:
            if accusation.peer_id == self.me:
                self._hear_accusation(accusation, now, source)
                continue
            if self._suspicions.settled(accusation):
                self._tellings.heard(accusation, source)
                continue  # most are: each comes over every link
            record = self.catalog.get(accusation.peer_id)
            if record is None or (neighbour is not None and not neighbour.accusations.take(now)):
                continue
            if record.version > accusation.version:
                self._spread.name(source, record.signed.id)
            elif record.status in PRESENT and record.version == accusation.version:
                if record.status is Status.ALIVE and record.peer_id in self.view.neighbours:
                    self._hear_of_neighbour(accusation, now)
                elif self._suspect(record, accusation.accuser, now, f"{accusation.accuser.short} cannot reach it"):
                    self._tellings.add(accusation, source)

    def _hear_of_neighbour(self, accusation: Accusation, now: float) -> None:
        """A neighbour is suspected. It can answer for itself, and we see whether it does."""
        neighbour = self.view.neighbours[accusation.peer_id]
        if neighbour.told != accusation.version:  # once is enough: a link loses nothing
            neighbour.told = accusation.version
            self._send(accusation.peer_id, Suspicion(suspects=(accusation,)))
            self._ping(accusation.peer_id, now)
        if len(neighbour.accusers) <= CONFIRMATIONS and accusation.accuser not in neighbour.accusers:
            neighbour.accusers.append(accusation.accuser)

    def _hear_accusation(self, accusation: Accusation, now: float, source: PeerId | None = None) -> None:
        """We are suspected. A version above ours is no reason to jump, since an accusation is not signed: its entry would be."""
        version = self.own.entry.version
        if accusation.version == version:
            self._accused = True
            if now >= self._next_refutation:
                self._refute(now)
            else:
                self.due = min(self.due, self._next_refutation)
        elif accusation.version < version:
            if source is not None:
                self._send(source, News(entries=(self.own,)))
        elif source is not None:
            self._send(source, anti_entropy.summarize(self.catalog, self.own))

    def _accusation(self, record: Record) -> Accusation:
        return Accusation(peer_id=record.peer_id, version=record.version, accuser=self.me)

    def _ping(self, peer: PeerId, now: float) -> None:
        number = self.view.ping(peer, now, self._awareness.factor(now))
        if number is not None:
            self._send(peer, Ping(number=number))
            self.due = min(self.due, now + self._config.ping_timeout)
