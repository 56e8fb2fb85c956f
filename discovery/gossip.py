"""The gossip engine: pure. Time and dice come in as arguments, messages and dials go out as effects.

How it works
============

*Neighbours.* A node keeps links to a few others, about log10(n) + 4 of them (HyParView: Leitão, Pereira and Rodrigues, 2007), and
knows all members through its catalog, which serves as its passive view. Small networks are simply all connected.

*News.* An entry that changes the catalog is passed on to all neighbours but the one it came from; what changes nothing
stops there. Now and then the catalog is compared with a random neighbour's, by hashes first, and only differences travel.

*Failure.* A neighbour whose link broke is suspected, and the suspicion spreads. Whoever hears of being suspected answers
with a newer entry; who does not is lost after a time that grows with log n (SWIM: Das, Gupta and Motivala, 2002). A node that finds
that its own clock jumped, because it was stopped or starved, gives everybody as much more time (Lifeguard: Dadgar,
Phillips and Currey, 2018).

*Looking around.* Who watched a lost peer may have watched others that nobody watches now: when half the network vanishes at
once, some of it has no link into the other half. So each loss makes every node dial a few strangers.

*Healing.* Lost peers and seeds are dialled now and then. When two nodes link, each tells whom it has lost: if the other side
has them, they hear of it and answer with newer entries, which reach everybody.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from discovery.catalog import Catalog, Record, Status, bucket_of
from discovery.config import DiscoveryConfig
from discovery.entry import Entry, NetworkId, SignedEntry, Version
from discovery.messages import MAX_DIGEST, Digest, Hello, Line, Lost, Message, News, Summary, Suspicion, batches
from transport import HostPort, PeerAddr, PeerId, SecretKey

ROUND_LIMIT = 1.0
"""Seconds between two ticks beyond which a node doubts itself."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to a neighbour."""

    peer: PeerId
    message: Message


@dataclass(frozen=True, slots=True)
class Dial:
    """Link with a peer."""

    address: PeerAddr


@dataclass(frozen=True, slots=True)
class Unlink:
    """End the link with a neighbour."""

    peer: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class Emit:
    """Tell the application: ``kind`` is joined, updated, suspect, lost, left or recovered."""

    kind: str
    peer: PeerId
    reason: str


Effect = Send | Dial | Unlink | Emit

VIEW_FULL = "the view is full"
OTHER_NETWORK = "this node is in another network"


FIRST_BACKOFF = 0.25
"""Seconds before a peer that could not be dialled is tried again, at first."""


LOOKS_PER_LOSS = 2
"""Strangers that are dialled because a peer was lost: so everybody left is looked at about as often."""
MAX_LOOKS = 20
"""Strangers that are still to be dialled, at most."""
LOOK_INTERVAL = 0.5
"""Seconds, on average, between two strangers; without a loss there is one in a hundred times as long."""


@dataclass(slots=True)
class _Pause:
    """How long a peer is left alone after dials that came to nothing."""

    until: float = 0.0
    backoff: float = FIRST_BACKOFF


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

    Attributes:
        catalog: All others.
        own: The node's own entry.
        neighbours: Peers linked now.
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
    ) -> None:
        self._key = key
        self._config = config
        self._rng = rng
        self.me = key.peer_id
        self.network = network
        self.catalog = Catalog(self.me, network)
        self.neighbours: dict[PeerId, float] = {}
        self._effects: list[Effect] = []
        self._seeds = [address for address in seeds if address.peer_id != self.me]
        self._pauses: dict[PeerId, _Pause] = {}
        self._dialling: dict[PeerId, float] = {}
        self._next_dial = now
        self._next_anti_entropy = now + rng.uniform(0.5, 1) * config.anti_entropy_interval
        self._next_search = now + rng.uniform(1, 3)
        self._looks = 0
        self._looking_at: set[PeerId] = set()
        self._next_look = now + rng.uniform(0.5, 1.5) * 100 * LOOK_INTERVAL
        self._last_tick = now
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

    # --- inputs

    def tick(self, now: float) -> None:
        """Let time pass; call it some times a second."""
        pause = now - self._last_tick
        self._last_tick = now
        if pause > ROUND_LIMIT:
            for record in self.catalog:
                record.deadline += pause  # it was us who did not listen
        for record in self.catalog:
            if record.status is Status.SUSPECT and now >= record.deadline:
                self.catalog.set_status(record, Status.LOST, now)
                self._emit("lost", record, "suspected, and did not answer in time")
                self._looks = min(self._looks + LOOKS_PER_LOSS, MAX_LOOKS)
                self._next_look = min(self._next_look, now + self._rng.uniform(0, 2) * LOOK_INTERVAL)
        self._dial_somebody(now)
        if now >= self._next_anti_entropy:
            self._next_anti_entropy = now + self._rng.uniform(0.75, 1.25) * self._config.anti_entropy_interval
            self._forget(now)
            if self.neighbours:
                peer = self._rng.choice(sorted(self.neighbours))
                self._send(peer, Summary(buckets=self.catalog.summary(self.own)))

    def receive(self, peer: PeerId, message: Message, now: float) -> None:
        """Handle a neighbour's message."""
        if peer not in self.neighbours:
            return
        if isinstance(message, News):
            self._take(message.entries, peer, now)
        elif isinstance(message, Lost):
            self._take_lost(message.entries, peer, now)
        elif isinstance(message, Summary):
            self._compare(message, peer)
        elif isinstance(message, Digest):
            self._answer(message, peer)
        elif isinstance(message, Suspicion):
            self._hear_suspicion(message, peer, now)

    def link_up(self, peer: PeerId, hello: SignedEntry, now: float) -> str | None:
        """A link with ``peer`` is there, and it said ``hello``; why it is not wanted, if it is not."""
        self._dialling.pop(peer, None)
        just_looking = peer in self._looking_at
        self._looking_at.discard(peer)
        if hello.entry.network != self.network:
            return OTHER_NETWORK
        if hello.entry.peer_id != peer or hello.entry.left:
            return "the entry is not the peer's own"
        if self._left:
            return "this node is leaving"
        if len(self.neighbours) >= self._config.max_neighbours and peer not in self.neighbours:
            # Somebody else makes room, at random: newcomers must get in, and they know the rest in a moment.
            self._unlink(self._rng.choice(sorted(self.neighbours)), VIEW_FULL)
        self.neighbours[peer] = now
        self._take((hello,), peer, now)
        record = self.catalog.get(peer)
        if record is not None and record.signed != hello:
            # It forgot its own past, and would be taken for it: shown that, it jumps above.
            self._send(peer, News(entries=(record.signed,)))
        if record is None:
            del self.neighbours[peer]
            return "the catalog is full"
        if record.status in (Status.SUSPECT, Status.LOST):
            # It answers, so it is there; others learn that from the newer entry that it makes when it hears of this.
            self._send(peer, Suspicion(suspects=(_line(record),)))
            self._revive(record, now, "it is linked again")
        gone = [_line(r) for r in self.catalog if r.status in (Status.SUSPECT, Status.LOST)]
        if gone:
            self._send(peer, Suspicion(suspects=tuple(gone[:MAX_DIGEST])))
        self._send(peer, Summary(buckets=self.catalog.summary(self.own)))
        self._pauses.pop(peer, None)
        if just_looking and len(self.neighbours) > self.view_size:
            self._unlink(peer, VIEW_FULL)
        return None

    def link_down(self, peer: PeerId, now: float, *, reason: str, orderly: bool) -> None:
        """The link with a neighbour ended; ``orderly`` if one side wanted it."""
        if self.neighbours.pop(peer, None) is None:
            return
        record = self.catalog.get(peer)
        if orderly or record is None or record.status is not Status.ALIVE:
            return
        self._suspect(record, now, f"its link broke: {reason}")
        self._flood(Suspicion(suspects=(_line(record),)), but=peer)
        self._dial(record.signed.entry.address, now)

    def dial_failed(self, peer: PeerId, now: float, *, unreachable: bool = False) -> None:
        """A dial came to nothing.

        Args:
            peer: Who was dialled.
            now: The clock.
            unreachable: Whether nothing answered, rather than that it did not want to link.
        """
        self._dialling.pop(peer, None)
        self._looking_at.discard(peer)
        if peer in self.neighbours:
            return  # the peer's own dial was first
        pause = self._pauses.setdefault(peer, _Pause())
        pause.until = now + self._rng.uniform(0.75, 1.25) * pause.backoff
        pause.backoff = min(pause.backoff * 2, self._config.seed_backoff)
        record = self.catalog.get(peer)
        if unreachable and record is not None and record.status is Status.ALIVE:
            # All that watched it may be gone with it: then a stranger's dial is what finds out.
            self._suspect(record, now, "it cannot be dialled")
            self._flood(Suspicion(suspects=(_line(record),)))

    def update(self, *, groups: Collection[bytes] | None = None, endpoints: Sequence[HostPort] | None = None) -> None:
        """Announce a change of the node's own entry."""
        entry = self.own.entry
        changed = replace(
            entry,
            groups=entry.groups if groups is None else tuple(sorted(groups)),
            endpoints=entry.endpoints if endpoints is None else tuple(endpoints),
        )
        if changed != entry:
            self._announce(replace(changed, version=Version(entry.version.incarnation, entry.version.sequence + 1)))

    def leave(self) -> None:
        """Say goodbye to everybody."""
        entry = self.own.entry
        self._left = True
        self._announce(
            replace(entry, left=True, version=Version(entry.version.incarnation, entry.version.sequence + 1))
        )

    # --- outputs

    def take_effects(self) -> list[Effect]:
        """What is to be done because of the inputs since the last call."""
        effects, self._effects = self._effects, []
        return effects

    @property
    def view_size(self) -> int:
        """How many neighbours a node in a network of this size wants."""
        members = len(self.catalog) + 1
        return min(self._config.max_neighbours, max(6, math.ceil(math.log10(members)) + 4))

    # --- news

    def _take(self, entries: Sequence[SignedEntry], source: PeerId, now: float) -> None:
        news: list[SignedEntry] = []
        for signed in entries:
            if signed.entry.peer_id == self.me:
                self._hear_of_myself(signed)
            elif self.catalog.is_news(signed) and signed.holds() and self._merge(signed, source, now):
                news.append(signed)
        if news:
            for batch in batches(news):
                self._flood(News(entries=batch), but=source)

    def _take_lost(self, entries: Sequence[SignedEntry], source: PeerId, now: float) -> None:
        """Remember peers that a neighbour has lost, without ever having thought them alive.

        A neighbour can be wrong: whoever of ours is linked with such a peer lets it answer.
        """
        for signed in entries:
            record = self.catalog.get(signed.entry.peer_id)
            if signed.entry.peer_id == self.me or (record is not None and record.status is not Status.LOST):
                self._take((signed,), source, now)
            elif self.catalog.is_news(signed) and not signed.entry.left and signed.holds():
                merged = self.catalog.merge(signed, now, source=source)
                if merged is not None:
                    self.catalog.set_status(merged[0], Status.LOST, now)
                    self._flood(Suspicion(suspects=(_line(merged[0]),)), but=source)
        self._hear_suspicion(Suspicion(suspects=tuple(map(_line_of, entries))), source, now)

    def _merge(self, signed: SignedEntry, source: PeerId, now: float) -> bool:
        merged = self.catalog.merge(signed, now, source=source)
        if merged is None:
            return False
        record, before = merged
        if record.status is Status.LEFT:
            if before in (Status.ALIVE, Status.SUSPECT):
                self._emit("left", record, "it said goodbye")
        elif before is None or before is Status.LEFT:
            self._emit("joined", record, "a signed entry came")
        elif before is Status.LOST:
            self._emit("recovered", record, "it made a newer entry")
        elif before is Status.SUSPECT:
            self._emit("recovered", record, "it refuted the suspicion")
        else:
            self._emit("updated", record, "it made a newer entry")
        return True

    def _hear_of_myself(self, signed: SignedEntry) -> None:
        """An entry of ours that is newer than ours: our own past, from before we forgot it. Jump above it."""
        theirs = signed.entry.version
        if theirs >= self.own.entry.version and signed != self.own and signed.holds():
            self._announce(replace(self.own.entry, version=Version(theirs.incarnation + 1, 1)))

    def _announce(self, entry: Entry) -> None:
        self.own = SignedEntry.sign(self._key, entry)
        self._flood(News(entries=(self.own,)))

    # --- anti-entropy

    def _compare(self, summary: Summary, peer: PeerId) -> None:
        mine = self.catalog.summary(self.own)
        differing = [at for at, (a, b) in enumerate(zip(mine, summary.buckets, strict=True)) if a != b]
        if differing:
            self._rng.shuffle(differing)
            self._send(peer, self._digest(differing, answer=True))

    def _answer(self, digest: Digest, peer: PeerId) -> None:
        theirs = {line.peer_id: line.version for line in digest.lines}
        wanted = set(digest.buckets)
        newer: dict[Status, list[SignedEntry]] = {status: [] for status in Status}
        for signed in self._known(wanted):
            version = theirs.get(signed.entry.peer_id)
            if version is None or signed.entry.version > version:
                record = self.catalog.get(signed.entry.peer_id)
                newer[Status.ALIVE if record is None else record.status].append(signed)
        for batch in batches(newer[Status.ALIVE] + newer[Status.SUSPECT] + newer[Status.LEFT]):
            self._send(peer, News(entries=batch))
        for batch in batches(newer[Status.LOST]):
            self._send(peer, Lost(entries=batch))
        if suspects := newer[Status.SUSPECT]:
            self._send(peer, Suspicion(suspects=tuple(map(_line_of, suspects[:MAX_DIGEST]))))
        if digest.answer:
            self._send(peer, self._digest(list(digest.buckets), answer=False))

    def _digest(self, buckets: list[int], *, answer: bool) -> Digest:
        """Lines of as many of the buckets as fit, at least one bucket."""
        taken: list[int] = []
        lines: list[Line] = []
        for bucket in buckets:
            more = [Line(peer_id=s.entry.peer_id, version=s.entry.version) for s in self._known({bucket})]
            if taken and len(lines) + len(more) > MAX_DIGEST:
                break
            taken.append(bucket)
            lines.extend(more)
        return Digest(buckets=tuple(taken), lines=tuple(lines[:MAX_DIGEST]), answer=answer)

    def _known(self, buckets: set[int]) -> list[SignedEntry]:
        known = [record.signed for bucket in buckets for record in self.catalog.in_bucket(bucket)]
        if bucket_of(self.me) in buckets:
            known.append(self.own)
        return known

    # --- failure

    def _suspect(self, record: Record, now: float, reason: str) -> None:
        deadline = now + self._config.suspicion_timeout * max(1.0, math.log10(len(self.catalog) + 1))
        self.catalog.set_status(record, Status.SUSPECT, now, deadline=deadline)
        self._emit("suspect", record, reason)

    def _revive(self, record: Record, now: float, reason: str) -> None:
        self.catalog.set_status(record, Status.ALIVE, now)
        self._emit("recovered", record, reason)

    def _hear_suspicion(self, message: Suspicion, source: PeerId, now: float) -> None:
        spread: list[Line] = []
        for line in message.suspects:
            if line.peer_id == self.me:
                self._refute(line, source)
                continue
            record = self.catalog.get(line.peer_id)
            if record is None:
                continue
            if record.version > line.version:
                self._send(source, News(entries=(record.signed,)))
            elif record.status is Status.ALIVE:
                if line.peer_id in self.neighbours:
                    self._send(line.peer_id, Suspicion(suspects=(line,)))  # it can answer for itself
                else:
                    self._suspect(record, now, "a neighbour cannot reach it")
                    spread.append(line)
        if spread:
            self._flood(Suspicion(suspects=tuple(spread)), but=source)

    def _refute(self, line: Line, source: PeerId) -> None:
        """Answer to being suspected.

        Source: SWIM, section 4.2: only the suspect itself raises its version.
        """
        version = self.own.entry.version
        if line.version == version and not self._left:
            self._announce(replace(self.own.entry, version=Version(version.incarnation, version.sequence + 1)))
        elif line.version > version:
            # A line is not signed, so it is no reason to jump; the entry that it speaks of would be.
            self._send(source, self._digest([bucket_of(self.me)], answer=False))
        else:
            self._send(source, News(entries=(self.own,)))

    # --- neighbours

    def _dial_somebody(self, now: float) -> None:
        if now < self._next_dial or self._left:
            return
        for peer, since in list(self._dialling.items()):
            if now - since > 15:
                del self._dialling[peer]
                self._looking_at.discard(peer)
        address = (
            self._seed_to_dial(now)
            or self._lost_to_dial(now)
            or self._neighbour_to_dial(now)
            or self._stranger_to_dial(now)
        )
        if address is not None:
            self._next_dial = now + self._config.dial_interval
            self._dial(address, now)

    def _dial(self, address: PeerAddr, now: float) -> None:
        peer = address.peer_id
        if peer not in self.neighbours and peer not in self._dialling and peer != self.me:
            self._dialling[peer] = now
            self._effects.append(Dial(address))

    def _seed_to_dial(self, now: float) -> PeerAddr | None:
        for address in self._seeds:
            record = self.catalog.get(address.peer_id)
            known = record is not None and record.status in (Status.ALIVE, Status.LEFT)
            if not known and self._may_dial(address.peer_id, now):
                return address
        return None

    def _may_dial(self, peer: PeerId, now: float) -> bool:
        pause = self._pauses.get(peer)
        return peer not in self.neighbours and peer not in self._dialling and (pause is None or now >= pause.until)

    def _neighbour_to_dial(self, now: float) -> PeerAddr | None:
        # Dials to lost peers hang for long, and must not keep a node from the living.
        awaited = sum(record.status is Status.ALIVE for record in map(self.catalog.get, self._dialling) if record)
        return None if len(self.neighbours) + awaited >= self.view_size else self._spare(now)

    def _stranger_to_dial(self, now: float) -> PeerAddr | None:
        if now < self._next_look:
            return None
        self._looks = max(0, self._looks - 1)
        self._next_look = now + self._rng.uniform(0.5, 1.5) * LOOK_INTERVAL * (1 if self._looks else 100)
        address = self._spare(now)
        if address is not None:
            self._looking_at.add(address.peer_id)
        return address

    def _spare(self, now: float) -> PeerAddr | None:
        """A living peer that is no neighbour, at random."""
        spare = [
            record.signed.entry.address
            for record in self.catalog
            if record.status is Status.ALIVE and self._may_dial(record.signed.entry.peer_id, now)
        ]
        return self._rng.choice(spare) if spare else None

    def _lost_to_dial(self, now: float) -> PeerAddr | None:
        if now < self._next_search:
            return None
        self._next_search = now + self._rng.uniform(1.0, 3.0)
        lost = [record.signed.entry.address for record in self.catalog if record.status is Status.LOST]
        return self._rng.choice(lost) if lost else None

    def _forget(self, now: float) -> None:
        self.catalog.expire(now)
        seeds = {address.peer_id for address in self._seeds}
        for peer in [peer for peer in self._pauses if peer not in seeds and self.catalog.get(peer) is None]:
            del self._pauses[peer]

    def _unlink(self, peer: PeerId, reason: str) -> None:
        del self.neighbours[peer]
        self._effects.append(Unlink(peer, reason))

    # --- sending

    def _send(self, peer: PeerId, message: Message) -> None:
        self._effects.append(Send(peer, message))

    def _flood(self, message: Message, *, but: PeerId | None = None) -> None:
        for peer in self.neighbours:
            if peer != but:
                self._effects.append(Send(peer, message))

    def _emit(self, kind: str, record: Record, reason: str) -> None:
        self._effects.append(Emit(kind, record.signed.entry.peer_id, reason))

    def hello(self) -> Hello:
        """How a link begins."""
        return Hello(entry=self.own)


def _line(record: Record) -> Line:
    return _line_of(record.signed)


def _line_of(signed: SignedEntry) -> Line:
    return Line(peer_id=signed.entry.peer_id, version=signed.entry.version)
