"""The part of the gossip engine that takes entries and passes them on: pure. The rules stand in :mod:`discovery.gossip`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from discovery.catalog import PRESENT, Record, Status
from discovery.core import REFUTE_INTERVAL
from discovery.effects import Elsewhere
from discovery.entry import SignedEntry, Version
from discovery.messages import MAX_SUSPECTS, Accusation, Lost, News, Suspicion, batches
from discovery.watching import Watching
from transport import PeerId

BANISHMENT = 60.0
"""Seconds that a peer which sent something forged is not linked with."""
MAX_BANISHED = 256
CHOICE_DELAY = 0.02
"""Seconds between news and the choice of whom to dial: news come in crowds."""
OUTRUN = 5
"""Entries of our own that we did not make, each newer than the one before though we jumped above that, after which we say that
another process has our key. Our own past does this once or twice: it makes nothing new."""
FORGED = "it sent an entry that its owner did not sign"


class Telling(Watching):
    """Hears of entries, asks for them, gives them, merges them."""

    def _lacks(self, entry_id: bytes) -> bool:
        return entry_id != self.own.id and self.catalog.find(entry_id) is None

    def _hear_offers(self, ids: Iterable[bytes], peer: PeerId, now: float) -> None:
        open_to = self.catalog.is_open_to(peer)
        for entry_id in ids:
            if not self._lacks(entry_id):
                self._spread.has(peer, entry_id)
            elif open_to:
                self._spread.offer(peer, entry_id, now)

    def _give(self, ids: Iterable[bytes], peer: PeerId) -> None:
        entries: list[SignedEntry] = []
        suspects: list[Record] = []
        lost: list[SignedEntry] = []
        for entry_id in dict.fromkeys(ids):
            record = self.catalog.find(entry_id)
            if entry_id == self.own.id:
                entries.append(self.own)
            elif record is not None and record.status is Status.LOST:
                lost.append(record.signed)
            elif record is not None:
                entries.append(record.signed)
                if record.status is Status.SUSPECT:
                    suspects.append(record)
        for batch in batches(entries):
            self._send(peer, News(entries=batch))
        for batch in batches(lost):
            self._send(peer, Lost(entries=batch))
        if suspects:
            self._send(peer, Suspicion(suspects=tuple(map(self._accusation, suspects[:MAX_SUSPECTS]))))

    def _take(self, entries: Sequence[SignedEntry], source: PeerId, now: float, status: Status) -> None:
        neighbour = self.view.neighbours[source]
        for signed in entries:
            asked, holders = self._spread.arrive(source, signed.id, now)
            self.exchange.on_entry(signed.id)
            peer = signed.entry.peer_id
            if peer == self.me:
                self._hear_of_myself(signed, source, now)
                if status is Status.LOST:
                    self._hear_accusation(Accusation(peer_id=peer, version=signed.entry.version, accuser=source), now)
                continue
            if not self.catalog.is_news(signed):
                if signed.entry.network != self.network:
                    self.counters["foreign entries"] += 1
                elif status is Status.LOST:
                    accusation = Accusation(peer_id=peer, version=signed.entry.version, accuser=source)
                    self._hear_suspicion(Suspicion(suspects=(accusation,)), source, now)
                continue
            if not asked and not neighbour.gifts.take(now):
                self.counters["entries nobody asked for"] += 1
                if self.catalog.is_open_to(source):
                    self._spread.offer(source, signed.id, now)  # perhaps, but at our pace
                continue
            if not self._holds(signed):
                self.counters["forged entries"] += 1
                self._banish(source, now)
                return
            self._merge(signed, source, now, status, but=(source, *holders))

    def _merge(
        self,
        signed: SignedEntry,
        source: PeerId,
        now: float,
        status: Status,
        *,
        whole: bool = False,
        but: Iterable[PeerId] = (),
    ) -> None:
        """Take an entry whose signature holds, tell the application, and pass it on."""
        entry = signed.entry
        known = self.catalog.get(entry.peer_id)
        # Whom a neighbour has lost we only look for; but what is newer than what we know was made by somebody alive.
        lost = status is Status.LOST and not entry.left and (known is None or known.status is Status.LOST)
        merged = self.catalog.merge(signed, now, source=source, status=Status.LOST if lost else None)
        if merged is None:
            self.counters["entries without room"] += 1
            return
        record, before = merged
        self._suspicions.close(entry.peer_id)
        self._choose_anew(now + CHOICE_DELAY)
        self._spread.announce(signed.id, but, whole=whole)  # to the owner as well: it may have forgotten this past
        if record.status is Status.LOST:
            self._tellings.add(self._accusation(record), source)
        elif record.status is Status.LEFT:
            if before in PRESENT:
                self._emit("left", record, "it said goodbye")
        elif before is None or before is Status.LEFT:
            self._emit("joined", record, "a signed entry came")
        elif before is Status.LOST:
            self._emit("recovered", record, "it made a newer entry")
        elif before is Status.SUSPECT:
            self._awareness.learn(entry.peer_id, now)
            self._emit("recovered", record, "it refuted the suspicion")
        else:
            self._emit("updated", record, "it made a newer entry")

    def _banish(self, peer: PeerId, now: float) -> None:
        if len(self._banished) >= MAX_BANISHED:
            del self._banished[next(iter(self._banished))]
        self._banished[peer] = now + BANISHMENT
        self._unlink(peer, FORGED, now)

    def _hear_of_myself(self, signed: SignedEntry, source: PeerId, now: float) -> None:
        """An entry of ours that is newer than ours: our own past, from before we forgot it, or a twin. Jump above it."""
        theirs, ours = signed.entry.version, self.own.entry.version
        if signed == self.own:
            return
        if theirs < ours:
            self._send(source, News(entries=(self.own,)))
        elif self._holds(signed) and not self._left:
            if self._outrun >= OUTRUN and now < self._next_refutation:
                return  # two processes that jump above each other would flood the network
            self._next_refutation = now + REFUTE_INTERVAL
            self._publish(replace(self.own.entry, version=Version(theirs.incarnation + 1, 1)))
            if not set(signed.entry.endpoints) & set(self.own.entry.endpoints):
                self._outrun += 1
                if self._outrun == OUTRUN:
                    self._effects.append(Elsewhere(signed.entry.address))
