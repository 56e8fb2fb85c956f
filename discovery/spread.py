"""How an entry reaches every node once: pure.

An owner gives its new entry to its neighbours. From there on it is announced by an 8-byte name, and who lacks it asks for it: one
of those that have it, and another if that one does not answer. So an entry travels once to each node, and what nobody asked for
need not be looked at.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from discovery.messages import MAX_WANTED
from transport import PeerId

MAX_OFFERED = 16_384
"""Names of entries that we lack and somebody offers, at most; what comes beyond is dropped, and comes again by comparison."""
ANSWER_TIMEOUT = 0.5
"""Seconds without any entry from somebody that was asked, after which another is asked."""
COALESCE = 0.05
"""Seconds between two announcements; a lone one goes at once."""


class Spread:
    """What neighbours offer, what they were asked for, and what is to be announced to them.

    Attributes:
        busy: Whether there may be anything to ask, to wait for or to announce.
    """

    def __init__(self) -> None:
        self.busy = False
        self._holders: dict[bytes, list[PeerId]] = {}
        self._asked: dict[bytes, PeerId] = {}
        self._under_way: dict[PeerId, dict[bytes, None]] = {}
        self._progress: dict[PeerId, float] = {}
        self._queues: dict[PeerId, deque[bytes]] = {}
        self._asks: dict[PeerId, list[bytes]] = {}
        self._pending: dict[PeerId, dict[bytes, bool]] = {}
        self._announced = -math.inf

    def link(self, peer: PeerId) -> None:
        """A neighbour came."""
        self._under_way[peer] = {}
        self._queues[peer] = deque()
        self._pending[peer] = {}

    def unlink(self, peer: PeerId, now: float) -> None:
        """A neighbour went: others are asked for what it was asked for."""
        self._pending.pop(peer, None)
        self._asks.pop(peer, None)
        self._progress.pop(peer, None)
        queued = self._queues.pop(peer, deque())
        self._release(peer, [*self._under_way.pop(peer, {}), *queued], now)

    # --- asking

    def offer(self, peer: PeerId, entry_id: bytes, now: float) -> None:
        """A neighbour has an entry that we lack."""
        self._pending[peer].pop(entry_id, None)
        holders = self._holders.get(entry_id)
        if holders is None:
            if len(self._holders) >= MAX_OFFERED:
                return
            self._holders[entry_id] = [peer]
            self._ask(peer, entry_id, now)
        elif peer not in holders:
            holders.append(peer)
            if entry_id not in self._asked and len(self._under_way[peer]) < MAX_WANTED:
                self._ask(peer, entry_id, now)  # it waits for somebody who is busy

    def has(self, peer: PeerId, entry_id: bytes) -> None:
        """A neighbour has an entry that we have: no need to tell it."""
        self._pending[peer].pop(entry_id, None)

    def arrive(self, peer: PeerId, entry_id: bytes, now: float) -> tuple[bool, Iterable[PeerId]]:
        """An entry came; whether it was asked of that neighbour, and who is known to have it."""
        holders = self._holders.pop(entry_id, ())
        giver = self._asked.pop(entry_id, None)
        if giver is not None and giver in self._under_way:
            self._under_way[giver].pop(entry_id, None)
            self._progress[giver] = now
            self._ask_more(giver, now)
        return giver == peer, holders

    def take_asks(self) -> list[tuple[PeerId, list[bytes]]]:
        """What is to be asked of whom, at once."""
        asks, self._asks = self._asks, {}
        return [(peer, ids) for peer, ids in asks.items() if ids]

    def hurry(self, now: float) -> None:
        """Ask others for what somebody was asked for and does not give."""
        for peer, ids in list(self._under_way.items()):
            if ids and now >= self._progress[peer] + ANSWER_TIMEOUT:
                self._under_way[peer] = {}
                self._release(peer, list(ids), now)
                self._ask_more(peer, now)

    # --- announcing

    def announce(self, entry_id: bytes, but: Iterable[PeerId], *, whole: bool = False) -> None:
        """Tell the neighbours of an entry; ``whole`` hands it over instead of its name."""
        self.busy = True
        without = set(but)
        for peer, pending in self._pending.items():
            if peer not in without:
                pending[entry_id] = whole

    def take_announcements(self, now: float) -> list[tuple[PeerId, dict[bytes, bool]]]:
        """What is to be announced to whom, if it is time."""
        if now < self._announced + COALESCE:
            return []
        taken = [(peer, pending) for peer, pending in self._pending.items() if pending]
        if taken:
            self._announced = now
            for peer, _ in taken:
                self._pending[peer] = {}
        return taken

    def deadline(self) -> float:
        """When something is to be announced, or somebody has not answered."""
        due = math.inf
        if not self.busy:
            return due
        if any(self._pending.values()):
            due = self._announced + COALESCE
        for peer, ids in self._under_way.items():
            if ids:
                due = min(due, self._progress[peer] + ANSWER_TIMEOUT)
        self.busy = due < math.inf
        return due

    # --- inside

    def _ask(self, peer: PeerId, entry_id: bytes, now: float) -> None:
        self.busy = True
        under_way = self._under_way[peer]
        if len(under_way) >= MAX_WANTED:
            self._queues[peer].append(entry_id)
            return
        if not under_way:
            self._progress[peer] = now
        under_way[entry_id] = None
        self._asked[entry_id] = peer
        self._asks.setdefault(peer, []).append(entry_id)

    def _ask_more(self, peer: PeerId, now: float) -> None:
        """Go on with what a neighbour offered beyond what it may be asked at a time."""
        queue = self._queues[peer]
        while queue and len(self._under_way[peer]) < MAX_WANTED // 2:
            for _ in range(min(len(queue), MAX_WANTED // 2)):
                entry_id = queue.popleft()
                if entry_id in self._holders and entry_id not in self._asked:
                    self._ask(peer, entry_id, now)

    def _release(self, peer: PeerId, ids: list[bytes], now: float) -> None:
        for entry_id in ids:
            holders = self._holders.get(entry_id)
            if holders is None or self._asked.get(entry_id, peer) != peer:
                continue
            self._asked.pop(entry_id, None)
            if peer in holders:
                holders.remove(peer)
            heir = next((holder for holder in holders if holder in self._under_way), None)
            if heir is None:
                del self._holders[entry_id]
            else:
                self._ask(heir, entry_id, now)
