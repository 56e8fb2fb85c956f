"""The gossip engine: pure. Time and dice come in as arguments, messages and dials go out as effects.

How it works
============

*Neighbours* (:mod:`discovery.view`, :mod:`discovery.dialling`). A node keeps links to a few others, about log10(n) + 4 of them, and
knows all members through its catalog. Who has no room says whom else to try.

*News* (:mod:`discovery.spread`). An owner gives its new entry to its neighbours; they announce its name to theirs, and who lacks it
asks for it. Now and then the catalog is compared with a random neighbour's (:mod:`discovery.anti_entropy`), and only differences
travel.

*Failure* (:mod:`discovery.failure`). A neighbour whose link broke, or that does not answer a ping, is suspected. The suspicion goes
to everybody at once, the suspect included, which refutes it by a newer entry. The suspect's other neighbours, when they hear of
it, ask it for a sign of life themselves, and join in the accusation if none comes. Who is accused by several has little time
to answer, who is accused by one has long. A node that finds itself slow gives everybody more time.

*Healing*. Lost peers and seeds are dialled now and then. When two nodes link, each tells whom it has lost: if the other side
has them, they hear of it and answer with newer entries, which reach everybody.

*Bounds*. What nobody asked for is taken in small amounts only; a forged entry ends the link with whoever sent it, since honest
nodes pass on nothing that they have not verified.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from discovery import anti_entropy
from discovery.catalog import PRESENT, Catalog, Record, Status
from discovery.config import DiscoveryConfig
from discovery.dialling import Dialling
from discovery.effects import NO_ANSWER, OTHER_NETWORK, VIEW_FULL, Dial, Effect, Emit, Send, Unlink
from discovery.entry import Entry, NetworkId, SignedEntry, Version
from discovery.failure import CONFIRMATIONS, Awareness, Suspicions
from discovery.messages import (
    MAX_IDS,
    MAX_REFERRED,
    MAX_SUSPECTS,
    Accusation,
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
    batches,
)
from discovery.spread import Spread
from discovery.view import Neighbour, View
from transport import HostPort, PeerAddr, PeerId, SecretKey

RESOLUTION = 0.001
"""Seconds between two ticks at least."""
ROUND_LIMIT = 1.0
"""Seconds that a tick may come late; beyond, a node doubts itself."""
REFUTE_INTERVAL = 0.5
"""Seconds between two refutations: accusing a node costs its accuser more than it."""
BANISHMENT = 60.0
"""Seconds that a peer which sent something forged is not linked with."""
MAX_BANISHED = 256
EAGER_LIMIT = 8
"""Entries that are handed over whole at a time; beyond, their names are announced."""
CHOICE_DELAY = 0.02
"""Seconds between news and the choice of whom to dial: news come in crowds."""
FORGED = "it sent an entry that its owner did not sign"


class Gossip:
    """One node's view of its network.

    Args:
        key: Signs the node's entry.
        network: Which network.
        endpoints: Where the node can be dialled.
        tags: Its words.
        seeds: Whom to try first.
        config: Intervals and limits.
        rng: The dice.
        now: The clock at the start, seconds, monotonic.
        incarnation: Where to start; above what was used before, if that is known.
        holds: Whether an entry's signature holds; large simulations remember the answers.

    Attributes:
        catalog: All others.
        own: The node's own entry.
        view: Peers linked now.
        counters: What was refused, by why.
        due: When the next tick is worth making, by the clock; inputs may bring it forward.
    """

    def __init__(
        self,
        *,
        key: SecretKey,
        network: NetworkId,
        endpoints: Sequence[HostPort],
        tags: Collection[str] = (),
        seeds: Sequence[PeerAddr] = (),
        config: DiscoveryConfig,
        rng: random.Random,
        now: float,
        incarnation: int = 1,
        holds: Callable[[SignedEntry], bool] = SignedEntry.holds,
    ) -> None:
        self._key = key
        self._config = config
        self._rng = rng
        self._holds = holds
        self.me = key.peer_id
        self.network = network
        self.catalog = Catalog(self.me, network)
        self.view = View(config, rng)
        self.counters: Counter[str] = Counter()
        self.due = now
        self._dialling = Dialling(self.me, seeds, self.catalog, self.view, config, rng, now)
        self._spread = Spread()
        self._suspicions = Suspicions(config.suspicion_timeout)
        self._awareness = Awareness()
        self._banished: dict[PeerId, float] = {}
        self._effects: list[Effect] = []
        self._next_anti_entropy = now + rng.uniform(0.5, 1) * config.anti_entropy_interval
        self._next_choice = now
        self._next_refutation = now
        self._accused = False
        self._left = False
        self.own = SignedEntry.sign(
            key,
            Entry(
                network=network,
                peer_id=self.me,
                version=Version(incarnation, 1),
                endpoints=tuple(endpoints),
                tags=tuple(sorted(tags)),
            ),
        )

    @property
    def neighbours(self) -> dict[PeerId, Neighbour]:
        """Peers linked now."""
        return self.view.neighbours

    @property
    def view_size(self) -> int:
        """How many neighbours a node in a network of this size wants."""
        return self.view.size(len(self.catalog) + 1)

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
            self._spread.deadline(),
            self.view.deadline(),
        )
        if self._accused:
            due = min(due, self._next_refutation)
        if not self._left:
            due = min(due, self._next_choice)
        return due

    def _choose_anew(self, at: float) -> None:
        """Whom to dial may be another from then on."""
        self._next_choice = min(self._next_choice, at)
        self.due = min(self.due, at)

    def _doubt_ourselves(self, now: float) -> None:
        """We were stopped, or starved: what we did not hear meanwhile proves nothing (Lifeguard, section IV-A)."""
        self._awareness.doubt()
        self._suspicions.grant(now - self.due)
        self.view.forgive(now)

    def _watch(self, now: float) -> None:
        for peer in self.view.give_up(now):
            self._awareness.doubt()
            record = self.catalog.get(peer)
            if record is not None and record.status in PRESENT:
                self._accuse(record, now, "it does not answer")
                for accuser in self.view.neighbours[peer].accusers:
                    self._suspicions.confirm(peer, accuser)
        for peer in self.view.quiet(now):
            self._ping(peer, now)

    def _finish(self, now: float) -> None:
        """Send what has gathered while an input was handled."""
        if not self._spread.busy:
            return
        for peer, asked in self._spread.take_asks():
            self._send(peer, Want(ids=tuple(asked)))
        for peer, pending in self._spread.take_announcements(now):
            self._announce_to(peer, pending)
        self.due = min(self.due, self._spread.deadline())

    def _announce_to(self, peer: PeerId, pending: dict[bytes, bool]) -> None:
        whole: list[SignedEntry] = []
        names: list[bytes] = []
        eager = sum(pending.values()) <= EAGER_LIMIT
        for entry_id, hand_over in pending.items():
            record = self.catalog.find(entry_id)
            if record is None:
                continue  # there is a newer one by now
            if hand_over and eager:
                whole.append(record.signed)
            else:
                names.append(entry_id)
        for batch in batches(whole):
            self._send(peer, News(entries=batch))
        for start in range(0, len(names), MAX_IDS):
            self._send(peer, Have(ids=tuple(names[start : start + MAX_IDS])))

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
            case Digest():
                self._hear_offers(message.ids, peer, now)
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
        if self.me < peer:  # one side begins
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

    # --- our own entry

    def update(self, *, groups: Collection[bytes] | None = None, endpoints: Sequence[HostPort] | None = None) -> None:
        """Announce a change of the node's own entry."""
        entry = self.own.entry
        changed = replace(
            entry,
            groups=entry.groups if groups is None else tuple(sorted(groups)),
            endpoints=entry.endpoints if endpoints is None else tuple(endpoints),
        )
        if changed != entry:
            self._publish(replace(changed, version=_next(entry.version)))

    def leave(self) -> None:
        """Say goodbye to everybody."""
        self._left = True
        self._publish(replace(self.own.entry, left=True, version=_next(self.own.entry.version)))

    def _publish(self, entry: Entry) -> None:
        self.own = SignedEntry.sign(self._key, entry)
        self._flood(News(entries=(self.own,)))

    def _hear_of_myself(self, signed: SignedEntry, source: PeerId) -> None:
        """An entry of ours that is newer than ours: our own past, from before we forgot it. Jump above it."""
        theirs, ours = signed.entry.version, self.own.entry.version
        if signed == self.own:
            return
        if theirs < ours:
            self._send(source, News(entries=(self.own,)))
        elif self._holds(signed) and not self._left:
            self._publish(replace(self.own.entry, version=Version(theirs.incarnation + 1, 1)))

    def _refute(self, now: float) -> None:
        """Answer to being suspected.

        Source: SWIM, section 4.2: only the suspect itself raises its version.
        """
        self._accused = False
        self._next_refutation = now + REFUTE_INTERVAL
        if not self._left:
            self._awareness.doubt()
            self._publish(replace(self.own.entry, version=_next(self.own.entry.version)))

    # --- entries

    def _hear_offers(self, ids: Iterable[bytes], peer: PeerId, now: float) -> None:
        open_to = self.catalog.is_open_to(peer)
        for entry_id in ids:
            if entry_id == self.own.id or self.catalog.find(entry_id) is not None:
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
            peer = signed.entry.peer_id
            if peer == self.me:
                self._hear_of_myself(signed, source)
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
            self._flood(Suspicion(suspects=(self._accusation(record),)), but=source)
        elif record.status is Status.LEFT:
            if before in PRESENT:
                self._emit("left", record, "it said goodbye")
        elif before is None or before is Status.LEFT:
            self._emit("joined", record, "a signed entry came")
        elif before is Status.LOST:
            self._emit("recovered", record, "it made a newer entry")
        elif before is Status.SUSPECT:
            self._emit("recovered", record, "it refuted the suspicion")
        else:
            self._emit("updated", record, "it made a newer entry")

    def _banish(self, peer: PeerId, now: float) -> None:
        if len(self._banished) >= MAX_BANISHED:
            del self._banished[next(iter(self._banished))]
        self._banished[peer] = now + BANISHMENT
        self._unlink(peer, FORGED, now)

    # --- failure

    def _accuse(self, record: Record, now: float, reason: str) -> None:
        """Suspect a peer by what we saw ourselves."""
        if self._suspect(record, self.me, now, reason):
            self._flood(Suspicion(suspects=(self._accusation(record),)))

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
        spread: list[Accusation] = []
        for accusation in message.suspects:
            if accusation.peer_id == self.me:
                self._hear_accusation(accusation, now, source)
                continue
            record = self.catalog.get(accusation.peer_id)
            if record is None or (neighbour is not None and not neighbour.accusations.take(now)):
                continue
            if record.version > accusation.version:
                self._send(source, News(entries=(record.signed,)))
            elif record.status in PRESENT and record.version == accusation.version:
                if record.status is Status.ALIVE and record.peer_id in self.view.neighbours:
                    # It can answer for itself, and we see whether it does.
                    self._send(record.peer_id, Suspicion(suspects=(accusation,)))
                    self._ping(record.peer_id, now)
                    accusers = self.view.neighbours[record.peer_id].accusers
                    if len(accusers) <= CONFIRMATIONS and accusation.accuser not in accusers:
                        accusers.append(accusation.accuser)
                elif self._suspect(record, accusation.accuser, now, f"{accusation.accuser.short} cannot reach it"):
                    spread.append(accusation)
        if spread:
            self._flood(Suspicion(suspects=tuple(spread)), but=source)

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
        number = self.view.ping(peer, now, self._awareness.factor)
        if number is not None:
            self._send(peer, Ping(number=number))
            self.due = min(self.due, now + self._config.ping_timeout)

    # --- effects

    def take_effects(self) -> list[Effect]:
        """What is to be done because of the inputs since the last call."""
        effects, self._effects = self._effects, []
        return effects

    def _dial(self, address: PeerAddr, now: float) -> None:
        if self._dialling.start(address, now):
            self._effects.append(Dial(address))

    def _unlink(self, peer: PeerId, reason: str, now: float) -> None:
        del self.view.neighbours[peer]
        self._spread.unlink(peer, now)
        self._effects.append(Unlink(peer, reason))

    def _send(self, peer: PeerId, message: Message) -> None:
        self._effects.append(Send(peer, message))

    def _flood(self, message: Message, *, but: PeerId | None = None) -> None:
        for peer in self.view.neighbours:
            if peer != but:
                self._effects.append(Send(peer, message))

    def _emit(self, kind: str, record: Record, reason: str) -> None:
        self._effects.append(Emit(kind, record.peer_id, reason))


def _next(version: Version) -> Version:
    return Version(version.incarnation, version.sequence + 1)
