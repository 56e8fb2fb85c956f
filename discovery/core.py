"""What every part of the gossip engine works with: the node's state, its own entry, and what it wants done. Pure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from discovery.anti_entropy import FirstExchange
from discovery.catalog import Catalog, Record, Status
from discovery.config import DiscoveryConfig
from discovery.dialling import Dialling
from discovery.effects import Dial, Effect, Emit, Send, Unlink
from discovery.entry import Entry, NetworkId, SignedEntry, Version
from discovery.failure import Awareness, Suspicions, Tellings
from discovery.messages import MAX_IDS, MAX_SUSPECTS, Have, Message, News, Suspicion, Want, batches
from discovery.spread import Spread
from discovery.view import Neighbour, View
from transport import HostPort, PeerAddr, PeerId, SecretKey

REFUTE_INTERVAL = 0.5
"""Seconds between two refutations: accusing a node costs its accuser more than it."""
EAGER_LIMIT = 8
"""Entries that are handed over whole at a time; beyond, their names are announced."""


class Core:
    """One node's view of its network: what all parts share.

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
        exchange: Whether the catalog was compared with anybody's since the start.
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
        self.exchange = FirstExchange()
        self.counters: Counter[str] = Counter()
        self.due = now
        self._dialling = Dialling(self.me, seeds, self.catalog, self.view, config, rng, now)
        self._spread = Spread(self.view.best_round_trip)
        self._suspicions = Suspicions(config.suspicion_timeout)
        self._tellings = Tellings()
        self._awareness = Awareness()
        self._banished: dict[PeerId, float] = {}
        self._effects: list[Effect] = []
        self._next_anti_entropy = now + rng.uniform(0.5, 1) * config.anti_entropy_interval
        self._next_choice = now
        self._next_refutation = now
        self._accused = False
        self._left = False
        self._outrun = 0
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

    @property
    def told(self) -> tuple[PeerAddr, ...]:
        """Where others are said to be: seeds, peers of an earlier run, finds in the local network; our own address is nobody's."""
        own = set(self.own.entry.endpoints)
        return tuple(address for address in self._dialling.seeds if not own.issuperset(address.endpoints))

    def _choose_anew(self, at: float) -> None:
        """Whom to dial may be another from then on."""
        self._next_choice = min(self._next_choice, at)
        self.due = min(self.due, at)

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

    def _refute(self, now: float) -> None:
        """Answer to being suspected.

        Source: SWIM, section 4.2: only the suspect itself raises its version.
        """
        self._accused = False
        self._next_refutation = now + REFUTE_INTERVAL
        if not self._left:
            self._awareness.doubt()
            self._publish(replace(self.own.entry, version=_next(self.own.entry.version)))

    # --- what has gathered

    def _finish(self, now: float) -> None:
        """Send what has gathered while an input was handled."""
        if now >= self._tellings.deadline:
            self._tell_of_suspects(now)
        self.due = min(self.due, self._tellings.deadline)
        if not self._spread.busy:
            return
        for peer, asked in self._spread.take_asks():
            self._send(peer, Want(ids=tuple(asked)))
        for peer, pending in self._spread.take_announcements(now):
            self._announce_to(peer, pending)
        self.due = min(self.due, self._spread.due)

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

    def _tell_of_suspects(self, now: float) -> None:
        told = [
            (accusation, sources)
            for accusation, sources in self._tellings.take(now).items()
            if (record := self.catalog.get(accusation.peer_id)) is not None
            and record.version == accusation.version
            and record.status is not Status.ALIVE
        ]
        for peer in self.view.neighbours:
            suspects = [accusation for accusation, sources in told if peer not in sources]
            for start in range(0, len(suspects), MAX_SUSPECTS):
                self._send(peer, Suspicion(suspects=tuple(suspects[start : start + MAX_SUSPECTS])))

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

    def _flood(self, message: Message) -> None:
        for peer in self.view.neighbours:
            self._effects.append(Send(peer, message))

    def _emit(self, kind: str, record: Record, reason: str) -> None:
        self._effects.append(Emit(kind, record.peer_id, reason))


def _next(version: Version) -> Version:
    return Version(version.incarnation, version.sequence + 1)
