"""How an entry reaches every node once: pure.

An owner gives its new entry to its neighbours. From there on it is announced by an 8-byte name, and who lacks it asks for it: one
of those that have it, and another if that one does not answer. So an entry travels once to each node, and what nobody asked for
need not be looked at.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable

from discovery.messages import MAX_WANTED
from transport import PeerId

MAX_OFFERED = 16_384
"""Names of entries that we lack and somebody offers, at most; what comes beyond is dropped, and comes again by comparison."""
ANSWER_TIMEOUT = 0.2
"""Seconds, and at least three of the shortest round trips, without any entry from whom we asked; then another is asked."""
ANSWER_TRIPS = 3
MAX_WAITS = 25
"""How often that may pass, with nobody left to ask, before an entry is forgotten; it comes again by comparison."""
COALESCE = 0.05
"""Seconds between two announcements; a lone one goes at once."""


class Spread:
    """What neighbours offer, what they were asked for, and what is to be announced to them.

    Args:
        round_trip: The shortest to a neighbour, in seconds; None if none was measured.

    Attributes:
        due: When something is to be announced, or somebody has not answered, or earlier.
    """

    def __init__(self, round_trip: Callable[[PeerId], float | None] = lambda peer: None) -> None:
        self.due = math.inf
        self._round_trip = round_trip
        self._holders: dict[bytes, dict[PeerId, bool]] = {}  # and whether each was asked
        self._asked: dict[bytes, PeerId] = {}
        self._waits: dict[bytes, int] = {}
        self._under_way: dict[PeerId, dict[bytes, None]] = {}
        self._progress: dict[PeerId, float] = {}
        self._queues: dict[PeerId, deque[bytes]] = {}
        self._asks: dict[PeerId, list[bytes]] = {}
        self._pending: dict[PeerId, dict[bytes, bool]] = {}
        self._announced = -math.inf

    @property
    def busy(self) -> bool:
        """Whether there may be anything to ask, to wait for or to announce."""
        return self.due < math.inf

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
        under_way = self._under_way.pop(peer, {})
        for holders in self._holders.values():
            holders.pop(peer, None)  # should it come back, nothing was asked of it over its new link
        for entry_id in (*under_way, *queued):
            self._pass_on(peer, entry_id, now)

    # --- asking

    def offer(self, peer: PeerId, entry_id: bytes, now: float) -> None:
        """A neighbour has an entry that we lack."""
        self._pending[peer].pop(entry_id, None)
        holders = self._holders.get(entry_id)
        if holders is None:
            if len(self._holders) >= MAX_OFFERED:
                return
            self._holders[entry_id] = {peer: False}
            self._ask(peer, entry_id, now)
        elif peer not in holders:
            holders[peer] = False
            if entry_id not in self._asked and len(self._under_way[peer]) < MAX_WANTED:
                self._ask(peer, entry_id, now)  # it waits for somebody who is busy

    def has(self, peer: PeerId, entry_id: bytes) -> None:
        """A neighbour has an entry that we have: no need to tell it."""
        self._pending[peer].pop(entry_id, None)

    def arrive(self, peer: PeerId, entry_id: bytes, now: float) -> tuple[bool, Iterable[PeerId]]:
        """An entry came; whether it was asked of that neighbour, and who is known to have it."""
        holders = self._holders.pop(entry_id, ())
        giver = self._asked.pop(entry_id, None)
        self._waits.pop(entry_id, None)
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
        if now < self.due:
            return
        for peer, ids in list(self._under_way.items()):
            if ids and now >= self._late(peer):
                self._under_way[peer] = {}
                self._progress[peer] = now
                for entry_id in ids:
                    self._pass_on(peer, entry_id, now)
                self._ask_more(peer, now)

    # --- announcing

    def announce(self, entry_id: bytes, but: Iterable[PeerId], *, whole: bool = False) -> None:
        """Tell the neighbours of an entry; ``whole`` hands it over instead of its name."""
        self._expect(self._announced + COALESCE)
        without = set(but)
        for peer, pending in self._pending.items():
            if peer not in without:
                pending[entry_id] = whole

    def name(self, peer: PeerId, entry_id: bytes) -> None:
        """Tell one neighbour of an entry: it seems to lack it."""
        self._expect(self._announced + COALESCE)
        self._pending[peer].setdefault(entry_id, False)

    def take_announcements(self, now: float) -> list[tuple[PeerId, dict[bytes, bool]]]:
        """What is to be announced to whom, if it is time."""
        if now < self._announced + COALESCE:
            return []
        taken = [(peer, pending) for peer, pending in self._pending.items() if pending]
        if taken:
            self._announced = now
            for peer, _ in taken:
                self._pending[peer] = {}
        if now >= self.due:
            self.deadline()
        return taken

    def deadline(self) -> float:
        """When something is to be announced, or somebody has not answered: looks at everybody, ``due`` does not."""
        if self.busy:
            self.due = self._announced + COALESCE if any(self._pending.values()) else math.inf
            for peer, ids in self._under_way.items():
                if ids:
                    self.due = min(self.due, self._late(peer))
        return self.due

    # --- inside

    def _expect(self, at: float) -> None:
        self.due = min(self.due, at)

    def _late(self, peer: PeerId) -> float:
        """When a neighbour that was asked is to have given something."""
        return self._progress[peer] + max(ANSWER_TIMEOUT, ANSWER_TRIPS * (self._round_trip(peer) or 0.0))

    def _ask(self, peer: PeerId, entry_id: bytes, now: float) -> None:
        under_way = self._under_way[peer]
        if len(under_way) >= MAX_WANTED:
            self._queues[peer].append(entry_id)
            return
        if not under_way:
            self._progress[peer] = now
        self._wait_for(peer, entry_id)
        self._holders[entry_id][peer] = True
        self._asks.setdefault(peer, []).append(entry_id)

    def _ask_more(self, peer: PeerId, now: float) -> None:
        """Go on with what a neighbour offered beyond what it may be asked at a time."""
        queue = self._queues[peer]
        while queue and len(self._under_way[peer]) < MAX_WANTED // 2:
            for _ in range(min(len(queue), MAX_WANTED // 2)):
                entry_id = queue.popleft()
                if entry_id in self._holders and entry_id not in self._asked:
                    self._ask(peer, entry_id, now)

    def _wait_for(self, peer: PeerId, entry_id: bytes) -> None:
        if not self._under_way[peer]:
            self._expect(self._late(peer))
        self._under_way[peer][entry_id] = None
        self._asked[entry_id] = peer

    def _pass_on(self, peer: PeerId, entry_id: bytes, now: float) -> None:
        """A neighbour went, or does not give what it was asked for: ask another that has it."""
        holders = self._holders.get(entry_id)
        if holders is None or self._asked.get(entry_id, peer) != peer:
            return
        self._asked.pop(entry_id, None)
        heir = next((holder for holder, asked in holders.items() if not asked), None)
        if heir is not None:
            self._ask(heir, entry_id, now)
        elif holders and (waits := self._waits.get(entry_id, 0)) < MAX_WAITS:
            # All were asked, and a link loses nothing: whoever gives first is welcome, and whoever offers next is asked.
            self._waits[entry_id] = waits + 1
            self._wait_for(peer if peer in holders else next(iter(holders)), entry_id)
        else:
            self._waits.pop(entry_id, None)
            del self._holders[entry_id]
