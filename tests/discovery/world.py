"""Many engines on one virtual clock: links with delays, crashes, partitions. Every message goes through the wire format."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass

from discovery import DiscoveryConfig
from discovery.catalog import Status
from discovery.gossip import Dial, Effect, Emit, Gossip, Send, Unlink
from discovery.messages import DISCOVERY
from tests.discovery.support import address, engine, peer
from transport import PeerAddr, PeerId

TICK = 0.1
IDLE_TIMEOUT = 5.0
DIAL_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Told:
    """An event that a node handed to its application."""

    at: float
    node: int
    kind: str
    peer: int


class World:
    """Nodes by number; node ``n`` is at ``host n``.

    Args:
        seed: Of all dice.
        latency: Seconds of a message.
        loss: Probability that a message takes ``0.2`` seconds more, as a retransmission would.
    """

    def __init__(self, seed: int = 0, *, latency: float = 0.005, loss: float = 0.0) -> None:
        self.now = 0.0
        self.seed = seed
        self.rng = random.Random(seed)
        self.nodes: dict[int, Gossip] = {}
        self.told: list[Told] = []
        self.messages = 0
        self.bytes = 0
        self._latency = latency
        self._loss = loss
        self._ports: dict[int, int] = {}
        self._numbers: dict[PeerId, int] = {}
        self._island: frozenset[int] = frozenset()
        self._links: dict[frozenset[int], int] = {}
        self._arrivals: dict[tuple[int, int], float] = {}
        self._ids = itertools.count(1)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []

    # --- what happens to nodes

    def start(self, number: int, *, seeds: Collection[int] = (), port: int = 7001) -> Gossip:
        """Start a node, with nothing remembered."""
        config = DiscoveryConfig()
        node = engine(number, seeds=sorted(seeds), config=config, now=self.now, port=port, seed=self.seed)
        self.nodes[number] = node
        self._ports[number] = port
        self._numbers[peer(number)] = number
        self._after(self.rng.uniform(0, TICK), lambda: self._tick(number, node))
        return node

    def crash(self, number: int) -> None:
        """The node is gone; its neighbours notice by silence."""
        del self.nodes[number]
        for pair in [pair for pair in self._links if number in pair]:
            (other,) = pair - {number}
            self._break_later(pair, only=other)

    def leave(self, number: int) -> None:
        """The node says goodbye, and is gone a moment later."""
        node = self.nodes[number]
        node.leave()
        self._perform(number, node)
        self._after(0.5, lambda: self._gone(number, node))

    def cut_off(self, island: Collection[int]) -> None:
        """Nothing passes between the island and the rest; links across it break by silence."""
        self._island = frozenset(island)
        for pair in list(self._links):
            if len(pair & self._island) == 1:
                self._break_later(pair)

    def heal(self) -> None:
        """All can reach all."""
        self._island = frozenset()

    # --- time

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, _, action = heapq.heappop(self._queue)
            action()
        self.now = end

    def run_until(self, condition: Callable[[], bool], *, within: float) -> float:
        """Let time pass until something holds; how long it took."""
        start = self.now
        while not condition():
            assert self.now - start < within, f"not within {within} s; {self.report()}"
            self.run(0.05)
        return self.now - start

    # --- what can be seen

    def knows(self, node: int) -> set[int]:
        """Whom a node takes to be there, apart from itself."""
        present = (Status.ALIVE, Status.SUSPECT)
        return {self._numbers[r.signed.entry.peer_id] for r in self.nodes[node].catalog if r.status in present}

    def converged(self) -> bool:
        """Whether every node knows just the nodes that there are, all alive, by their newest entries."""
        for number, node in self.nodes.items():
            if self.knows(number) != self.nodes.keys() - {number}:
                return False
            for other, engine_of_other in self.nodes.items():
                record = node.catalog.get(peer(other))
                if other != number and (record is None or record.signed != engine_of_other.own):
                    return False
                if record is not None and record.status is not Status.ALIVE:
                    return False
        return True

    def report(self) -> str:
        """How many each node knows."""
        return f"of {len(self.nodes)}: " + ", ".join(f"{n} knows {len(self.knows(n))}" for n in sorted(self.nodes))

    # --- inside

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + seconds, next(self._ids), action))

    def _delay(self) -> float:
        delay = self._latency * self.rng.uniform(0.5, 1.5)
        while self._loss and self.rng.random() < self._loss:
            delay += 0.2
        return delay

    def _reach(self, a: int, b: int) -> bool:
        return (a in self._island) == (b in self._island)

    def _tick(self, number: int, node: Gossip) -> None:
        if self.nodes.get(number) is node:
            node.tick(self.now)
            self._perform(number, node)
            self._after(TICK, lambda: self._tick(number, node))

    def _perform(self, number: int, node: Gossip) -> None:
        effects: list[Effect] = node.take_effects()
        for effect in effects:
            if isinstance(effect, Send):
                self._send(number, self._numbers[effect.peer], DISCOVERY.encode(effect.message))
            elif isinstance(effect, Dial):
                self._after(2 * self._delay(), lambda to=effect.address: self._arrive(number, node, to))  # type: ignore[misc]
            elif isinstance(effect, Unlink):
                self._unlink(number, self._numbers[effect.peer], effect.reason)
            elif isinstance(effect, Emit):
                self.told.append(Told(self.now, number, effect.kind, self._numbers[effect.peer]))

    def _send(self, sender: int, receiver: int, frame: bytes) -> None:
        link = self._links.get(frozenset((sender, receiver)))
        if link is None:
            return
        self.messages += 1
        self.bytes += len(frame)
        arrival = max(self._arrivals.get((sender, receiver), 0.0), self.now + self._delay())
        self._arrivals[sender, receiver] = arrival
        self._after(arrival - self.now, lambda: self._deliver(sender, receiver, link, frame))

    def _deliver(self, sender: int, receiver: int, link: int, frame: bytes) -> None:
        if self._links.get(frozenset((sender, receiver))) != link:
            return
        if not self._reach(sender, receiver):
            # What is under way waits for the network, and is never reordered.
            self._arrivals[sender, receiver] = max(self._arrivals[sender, receiver], self.now + 0.2)
            self._after(0.2, lambda: self._deliver(sender, receiver, link, frame))
        elif (node := self.nodes.get(receiver)) is not None:
            node.receive(peer(sender), DISCOVERY.decode(frame[4:]), self.now)
            self._perform(receiver, node)

    def _arrive(self, number: int, node: Gossip, to: PeerAddr) -> None:
        other = self._numbers.get(to.peer_id, -1)
        there = self.nodes.get(other)
        if self.nodes.get(number) is not node:
            return
        if there is None or not self._reach(number, other) or to != address(other, self._ports[other]):
            self._after(DIAL_TIMEOUT, lambda: self._fail(number, node, to.peer_id, unreachable=True))
            return
        pair = frozenset((number, other))
        if pair in self._links and to.peer_id in node.neighbours and peer(number) in there.neighbours:
            self._fail(number, node, to.peer_id, unreachable=False)  # a duplicate
            return
        self._links[pair] = next(self._ids)
        refused = node.link_up(to.peer_id, there.own, self.now) or there.link_up(peer(number), node.own, self.now)
        if refused:
            del self._links[pair]
            node.link_down(to.peer_id, self.now, reason=refused, orderly=True)
            self._fail(number, node, to.peer_id, unreachable=False)
        self._perform(number, node)
        self._perform(other, there)

    def _fail(self, number: int, node: Gossip, to: PeerId, *, unreachable: bool) -> None:
        if self.nodes.get(number) is node:
            node.dial_failed(to, self.now, unreachable=unreachable)
            self._perform(number, node)

    def _unlink(self, number: int, other: int, reason: str) -> None:
        link = self._links.pop(frozenset((number, other)), None)
        there = self.nodes.get(other)
        if link is not None and there is not None:
            self._after(self._delay(), lambda: self._down(other, there, number, reason, orderly=True))

    def _down(self, number: int, node: Gossip, other: int, reason: str, *, orderly: bool) -> None:
        if self.nodes.get(number) is node and frozenset((number, other)) not in self._links:
            node.link_down(peer(other), self.now, reason=reason, orderly=orderly)
            self._perform(number, node)

    def _break_later(self, pair: frozenset[int], *, only: int | None = None) -> None:
        """Break a link by silence, unless the network healed or the link was replaced before."""
        link = self._links[pair]

        def silence() -> None:
            healed = only is None and len(pair & self._island) != 1
            if healed or self._links.get(pair) != link:
                return
            del self._links[pair]
            for number in sorted(pair if only is None else {only}):
                (other,) = pair - {number}
                if (node := self.nodes.get(number)) is not None:
                    self._down(number, node, other, "idle timeout", orderly=False)

        self._after(IDLE_TIMEOUT, silence)

    def _gone(self, number: int, node: Gossip) -> None:
        if self.nodes.get(number) is not node:
            return
        del self.nodes[number]
        for pair in [pair for pair in self._links if number in pair]:
            (other,) = pair - {number}
            del self._links[pair]
            if (there := self.nodes.get(other)) is not None:
                self._down(other, there, number, "the node leaves", orderly=True)
