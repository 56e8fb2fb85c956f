"""Whom to dial next: pure. One dial at a time, at a capped rate, whatever the catalog says.

Seeds come first, until they are known; then a lost peer now and then, which heals partitions; then neighbours, while there are too
few; then a stranger now and then. Who watched a lost peer may have watched others that nobody watches now: when half the
network vanishes at once, some of it has no link into the other half. So each loss makes every node look at a few strangers.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from discovery.catalog import Catalog, Record, Status
from discovery.config import DiscoveryConfig
from discovery.view import View
from transport import HostPort, PeerAddr, PeerId

FIRST_BACKOFF = 0.25
"""Seconds before a peer that could not be dialled is tried again, at first."""
DIAL_PATIENCE = 15.0
"""Seconds after which a dial without an outcome is forgotten."""
MAX_DIALS = 4
"""Dials to the living under way at most."""
LOOKS_PER_LOSS = 2
"""Strangers that are dialled because a peer was lost: so everybody left is looked at about as often."""
MAX_LOOKS = 20
"""Strangers that are still to be dialled, at most."""
LOOK_INTERVAL = 0.5
"""Seconds, on average, between two strangers; without a loss there is one in a hundred times as long."""
MAX_PAUSES = 4096
"""Peers and endpoints whose failures are remembered, each; beyond, the oldest are forgotten."""
_DRAWS = 24


@dataclass(slots=True)
class Pause:
    """How long a peer, or an endpoint, is left alone after dials that came to nothing."""

    until: float = 0.0
    backoff: float = FIRST_BACKOFF


class Dialling:
    """Chooses.

    Args:
        me: Never dialled.
        seeds: Whom to try first.
        catalog: Who there is.
        view: Who is linked.
        config: Intervals and limits.
        rng: The dice.
        now: The clock.
    """

    def __init__(
        self,
        me: PeerId,
        seeds: Sequence[PeerAddr],
        catalog: Catalog,
        view: View,
        config: DiscoveryConfig,
        rng: random.Random,
        now: float,
    ) -> None:
        self._me = me
        self._seeds: dict[PeerId, PeerAddr] = {}
        for address in seeds:
            if address.peer_id != me:
                before = self._seeds.get(address.peer_id)
                # What an operator says stands before what a file remembers of the same peer; each may be the one that holds.
                self._seeds[address.peer_id] = address if before is None else before.joined(address)
        self._catalog = catalog
        self._view = view
        self._config = config
        self._rng = rng
        self._pauses: dict[PeerId, Pause] = {}
        self._dead_ends: dict[HostPort, Pause] = {}
        self._dialling: dict[PeerId, tuple[PeerAddr, float]] = {}
        self._looking_at: set[PeerId] = set()
        self._looks = 0
        self._next_dial = now
        self._next_search = now + rng.uniform(1, 3)
        self._next_look = now + rng.uniform(0.5, 1.5) * 100 * LOOK_INTERVAL

    # --- what happened

    @property
    def seeds(self) -> tuple[PeerAddr, ...]:
        """Whom to try first; never ourselves."""
        return tuple(self._seeds.values())

    def add_seed(self, address: PeerAddr) -> None:
        """One more to try first, or where it is now."""
        if address.peer_id != self._me and (address.peer_id in self._seeds or len(self._seeds) < MAX_PAUSES):
            if self._seeds.get(address.peer_id) != address:
                self._pauses.pop(address.peer_id, None)
            self._seeds[address.peer_id] = address

    def on_link(self, peer: PeerId) -> bool:
        """A link is there, whoever dialled; whether we were just looking."""
        dialled = self._dialling.pop(peer, None)
        self._pauses.pop(peer, None)
        for endpoint in dialled[0].endpoints if dialled else ():
            self._dead_ends.pop(endpoint, None)
        looking = peer in self._looking_at
        self._looking_at.discard(peer)
        return looking

    def on_failure(self, peer: PeerId, now: float, *, unreachable: bool) -> None:
        """A dial came to nothing; ``unreachable`` if nothing answered where it went."""
        dialled = self._dialling.pop(peer, None)
        self._looking_at.discard(peer)
        if peer in self._view.neighbours:
            return  # the peer's own dial was first
        self._back_off(self._pauses, peer, now)
        if unreachable and dialled is not None:
            for endpoint in dialled[0].endpoints:
                self._back_off(self._dead_ends, endpoint, now)

    def on_loss(self, now: float) -> None:
        """A peer was lost."""
        self._looks = min(self._looks + LOOKS_PER_LOSS, MAX_LOOKS)
        self._next_look = min(self._next_look, now + self._rng.uniform(0, 2) * LOOK_INTERVAL)

    def forget(self, now: float) -> None:
        """Drop what no longer matters."""
        for peer in [p for p in self._pauses if p not in self._seeds and self._catalog.get(p) is None]:
            del self._pauses[peer]
        for endpoint in [e for e, pause in self._dead_ends.items() if now > pause.until + self._config.seed_backoff]:
            del self._dead_ends[endpoint]

    # --- choosing

    def start(self, address: PeerAddr, now: float) -> bool:
        """Note a dial; false if it is under way, or makes no sense."""
        peer = address.peer_id
        if peer == self._me or peer in self._view.neighbours or peer in self._dialling:
            return False
        self._dialling[peer] = (address, now)
        return True

    def choose(self, now: float) -> PeerAddr | None:
        """Whom to dial now, if anybody."""
        if now < self._next_dial:
            return None
        for peer, (_, since) in list(self._dialling.items()):
            if now - since > DIAL_PATIENCE:
                del self._dialling[peer]
                self._looking_at.discard(peer)
        address = self._seed(now) or self._lost(now) or self._neighbour(now) or self._stranger(now)
        if address is not None:
            self._next_dial = now + self._config.dial_interval
        return address

    def deadline(self, now: float) -> float:
        """When there may be somebody to dial."""
        due = self._next_look
        if self._catalog.of(Status.LOST):
            due = min(due, self._next_search)
        for peer in self._unknown_seeds():
            if peer not in self._dialling and peer not in self._view.neighbours:
                pause = self._pauses.get(peer)
                due = min(due, pause.until if pause else now)
        if self._wants_neighbours():
            due = min(due, now + self._config.dial_interval)
        return max(due, self._next_dial)

    def next_try(self, peer: PeerId) -> float | None:
        """Until when a peer is left alone because of failures; None if it is not."""
        pause = self._pauses.get(peer)
        return None if pause is None else pause.until

    def is_dialling(self, peer: PeerId) -> bool:
        """Whether a dial is under way."""
        return peer in self._dialling

    def may_dial(self, address: PeerAddr, now: float) -> bool:
        """Whether a peer is neither linked, nor being dialled, nor has just failed; nor all its endpoints, whoever gave them."""
        peer = address.peer_id
        pause = self._pauses.get(peer)
        if peer in self._view.neighbours or peer in self._dialling or (pause is not None and now < pause.until):
            return False
        return not self._dead_ends or not all(self._is_dead_end(endpoint, now) for endpoint in address.endpoints)

    # --- inside

    def _back_off(
        self, pauses: dict[PeerId, Pause] | dict[HostPort, Pause], key: PeerId | HostPort, now: float
    ) -> None:
        known: dict[PeerId | HostPort, Pause] = pauses  # type: ignore[assignment]
        if key not in known and len(known) >= MAX_PAUSES:
            del known[next(iter(known))]
        pause = known.setdefault(key, Pause())
        pause.until = now + self._rng.uniform(0.75, 1.25) * pause.backoff
        pause.backoff = min(pause.backoff * 2, self._config.seed_backoff)

    def _is_dead_end(self, endpoint: HostPort, now: float) -> bool:
        pause = self._dead_ends.get(endpoint)
        return pause is not None and now < pause.until

    def _unknown_seeds(self) -> list[PeerId]:
        known = (Status.ALIVE, Status.LEFT)
        records = ((peer, self._catalog.get(peer)) for peer in self._seeds)
        return [peer for peer, record in records if record is None or record.status not in known]

    def _seed(self, now: float) -> PeerAddr | None:
        for peer in self._unknown_seeds():
            pause = self._pauses.get(peer)
            free = peer not in self._view.neighbours and peer not in self._dialling
            if free and (pause is None or now >= pause.until):
                return self._seeds[peer]
        return None

    def _awaited(self) -> int:
        # Dials to lost peers hang for long, and must not keep a node from the living.
        records = (self._catalog.get(peer) for peer in self._dialling)
        return sum(record is not None and record.status is Status.ALIVE for record in records)

    def _wants_neighbours(self) -> bool:
        linked = len(self._view.neighbours)
        if linked >= min(self._view.size(len(self._catalog) + 1), len(self._catalog)):
            return False
        awaited = self._awaited()
        return awaited < MAX_DIALS and linked + awaited < self._view.size(len(self._catalog) + 1)

    def _neighbour(self, now: float) -> PeerAddr | None:
        return self._spare(now) if self._wants_neighbours() else None

    def _stranger(self, now: float) -> PeerAddr | None:
        if now < self._next_look:
            return None
        self._looks = max(0, self._looks - 1)
        self._next_look = now + self._rng.uniform(0.5, 1.5) * LOOK_INTERVAL * (1 if self._looks else 100)
        address = self._spare(now)
        if address is not None:
            self._looking_at.add(address.peer_id)
        return address

    def _lost(self, now: float) -> PeerAddr | None:
        if now < self._next_search:
            return None
        self._next_search = now + self._rng.uniform(1.0, 3.0)
        for _ in range(_DRAWS):
            record = self._catalog.draw(Status.LOST, self._rng)
            if record is None:
                return None
            # Whom we have met is surely worth it; others may be inventions that point at a victim.
            if record.met or self._may_dial(record, now):
                return record.signed.entry.address
        return None

    def _spare(self, now: float) -> PeerAddr | None:
        """A living peer that is no neighbour, at random."""
        for _ in range(_DRAWS):
            record = self._catalog.draw(Status.ALIVE, self._rng)
            if record is None:
                return None
            if self._may_dial(record, now):
                return record.signed.entry.address
        # Few are left to choose from: a small network, or one in which most have failed.
        alive = self._catalog.of(Status.ALIVE)
        if len(alive) > 10 * _DRAWS:
            return None
        spare = [record.signed.entry.address for record in alive if self._may_dial(record, now)]
        return self._rng.choice(spare) if spare else None

    def _may_dial(self, record: Record, now: float) -> bool:
        return self.may_dial(record.signed.entry.address, now)
