"""Many engines on one virtual clock: links with delays, loss, crashes, partitions. Nothing happens between two events."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from discovery import DiscoveryConfig, SignedEntry
from discovery.catalog import Status
from discovery.effects import NO_ANSWER, VIEW_FULL, Dial, Emit, Send, Unlink
from discovery.gossip import Gossip
from discovery.messages import DISCOVERY, Message
from tests.discovery.support import address, engine, peer
from transport import PeerAddr, PeerId

IDLE_TIMEOUT = 8.0
"""Seconds of silence after which QUIC gives a connection up, by default."""
DIAL_TIMEOUT = 10.0
PROBE_TIMEOUT = 0.1
"""Seconds before QUIC sends again what was not acknowledged, at first; each time doubled (RFC 9002, section 6.2)."""
KEEPALIVE = 2.0
"""Seconds after which something else is on its way at the latest, whose acknowledgement shows what is missing (section 6.1)."""

YEARS = 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class Told:
    """An event that a node handed to its application."""

    at: float
    node: int
    kind: str
    peer: int


@dataclass(slots=True, eq=False)
class Node:
    """A running engine.

    Attributes:
        number: Its name here.
        gossip: The engine.
        skew: Seconds that its clock is off.
        linked: The other ends of its links.
        dials: Under way.
        most: Connections that it ever held at once.
        stopped: Until when it gets no processor.
    """

    number: int
    gossip: Gossip
    skew: float
    linked: dict[int, Link] = field(default_factory=dict)
    dials: int = 0
    most: int = 0
    wakes: float = float("inf")
    stopped: float = 0.0
    alive: bool = True

    def count(self) -> None:
        """Note how many connections there are; what is being dialled counts from its beginning."""
        self.most = max(self.most, len(self.linked) + self.dials)


@dataclass(slots=True, eq=False)
class Link:
    """One link; what is under way in each direction stays in order."""

    ends: tuple[int, int]
    arrivals: dict[int, float] = field(default_factory=dict)


class World:
    """Nodes by number; node ``n`` is at ``host n``.

    Args:
        seed: Of all dice.
        latency: Seconds of a message, on average.
        loss: Probability that a datagram is lost; QUIC sends it again, so it shows as delay.
        drop: Probability that a message vanishes whole, which no transport of ours does.
        skew: Whether clocks are wrong, by up to three years.
        wire: Whether every message goes through the wire format; large networks share the objects.
        config: Of every node.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        latency: float = 0.005,
        loss: float = 0.0,
        drop: float = 0.0,
        skew: bool = False,
        wire: bool = True,
        config: DiscoveryConfig | None = None,
    ) -> None:
        self.now = 0.0
        self.seed = seed
        self.rng = random.Random(seed)
        self.nodes: dict[int, Gossip] = {}
        self.running: dict[int, Node] = {}
        self.told: list[Told] = []
        self.tell = True
        self.messages = 0
        self.kinds: Counter[type] = Counter()
        self.bytes = 0
        self.weigh = wire
        self.on_send: Callable[[Message], None] | None = None
        self.loss = loss
        self.drop = drop
        self._latency = latency
        self._skew = skew
        self._wire = wire
        self._config = config or DiscoveryConfig()
        self._ports: dict[int, int] = {}
        self._numbers: dict[PeerId, int] = {}
        self._island: frozenset[int] = frozenset()
        self._ids = itertools.count(1)
        self._queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._verified: dict[int, SignedEntry] = {}

    # --- what happens to nodes

    def start(self, number: int, *, seeds: Collection[int] = (), port: int = 7001) -> Gossip:
        """Start a node, with nothing remembered."""
        skew = self.rng.uniform(0, 3 * YEARS) if self._skew else 0.0
        gossip = engine(
            number,
            seeds=sorted(seeds),
            config=self._config,
            now=self.now + skew,
            port=port,
            seed=self.seed,
            holds=SignedEntry.holds if self._wire else self._holds,
        )
        node = Node(number, gossip, skew)
        self.nodes[number] = gossip
        self.running[number] = node
        self._ports[number] = port
        self._numbers[peer(number)] = number
        self._wake(node, self.now + self.rng.uniform(0, 0.1))
        return gossip

    def crash(self, number: int) -> None:
        """The node is gone; its neighbours notice by silence."""
        node = self._remove(number)
        for link in list(node.linked.values()):
            self._after(IDLE_TIMEOUT, self._break, link)

    def leave(self, number: int) -> None:
        """The node says goodbye, and is gone a moment later."""
        node = self.running[number]
        node.gossip.leave()
        self._perform(node)
        self._after(0.5, self._gone, node)

    def stop(self, number: int, seconds: float) -> None:
        """The node gets no processor for a while, as after SIGSTOP; what is sent to it waits."""
        self.running[number].stopped = self.now + seconds

    def cut_off(self, island: Collection[int]) -> None:
        """Nothing passes between the island and the rest; links across it break by silence."""
        self._island = frozenset(island)
        for number in sorted(self._island & self.running.keys()):
            for other, link in list(self.running[number].linked.items()):
                if other not in self._island:
                    self._after(IDLE_TIMEOUT, self._break_if_cut, link)

    def heal(self) -> None:
        """All can reach all."""
        self._island = frozenset()

    def update(self, number: int, group: bytes) -> None:
        """The node announces a change."""
        node = self.running[number]
        node.gossip.update(groups=[group])
        self._perform(node)

    # --- time

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        queue = self._queue
        while queue and queue[0][0] <= end:
            self.now, _, action, arguments = heapq.heappop(queue)
            action(*arguments)
        self.now = end

    def run_until(self, condition: Callable[[], bool], *, within: float, step: float = 0.05) -> float:
        """Let time pass until something holds; how long it took."""
        start = self.now
        while not condition():
            assert self.now - start < within, f"not within {within} s; {self.report()}"
            self.run(step)
        return self.now - start

    # --- what can be seen

    def knows(self, node: int) -> set[int]:
        """Whom a node takes to be there, apart from itself."""
        catalog = self.nodes[node].catalog
        return {self._numbers[r.peer_id] for status in (Status.ALIVE, Status.SUSPECT) for r in catalog.of(status)}

    def converged(self) -> bool:
        """Whether every node knows just the nodes that there are, all alive, by their newest entries."""
        newest = {peer(number): gossip.own.id for number, gossip in self.nodes.items()}
        for gossip in self.nodes.values():
            alive = gossip.catalog.of(Status.ALIVE)
            if len(alive) != len(newest) - 1 or len(gossip.catalog) != len(alive):
                return False
            for record in alive:
                if newest.get(record.peer_id) != record.signed.id:
                    return False
        return True

    def report(self) -> str:
        """How many each node knows."""
        counts = Counter(len(gossip.catalog) for gossip in self.nodes.values())
        return f"{len(self.nodes)} nodes; " + ", ".join(f"{n} know {count}" for count, n in sorted(counts.items()))

    def most_connections(self) -> int:
        """That any node ever held at once."""
        return max(node.most for node in self.running.values())

    # --- inside: the clock

    def _after(self, seconds: float, action: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._queue, (self.now + seconds, next(self._ids), action, arguments))

    def _delay(self) -> float:
        random = self.rng.random
        delay = self._latency * (0.5 + random())
        if self.loss:
            probe = PROBE_TIMEOUT
            while random() < self.loss:
                delay += probe
                probe = min(2 * probe, KEEPALIVE)
        return delay

    def _wake(self, node: Node, at: float) -> None:
        """See to it that the node ticks by then."""
        if at < node.wakes:
            node.wakes = at
            heapq.heappush(self._queue, (at, next(self._ids), self._tick, (node, at)))

    def _tick(self, node: Node, at: float) -> None:
        if node.wakes != at or not node.alive:
            return  # an earlier tick took its place
        if self.now < node.stopped:
            node.wakes = float("inf")
            self._wake(node, node.stopped + 0.001)  # after what waits to be read
            return
        node.wakes = float("inf")
        node.gossip.tick(self.now + node.skew)
        self._perform(node)

    def _perform(self, node: Node) -> None:
        for effect in node.gossip.take_effects():
            kind = type(effect)
            if kind is Send:
                self._send(node, effect.peer, effect.message)  # type: ignore[union-attr]
            elif kind is Emit:
                if self.tell:
                    self.told.append(Told(self.now, node.number, effect.kind, self._numbers[effect.peer]))  # type: ignore[union-attr]
            elif isinstance(effect, Dial):
                node.dials += self._is_there(node.number, effect.address)
                node.count()
                # Three flights: the handshake and the first words.
                self._after(3 * self._delay(), self._arrive, node, effect.address)
            elif isinstance(effect, Unlink):
                self._unlink(node, self._numbers[effect.peer], effect.reason)
        self._wake(node, max(self.now + 0.0005, node.gossip.due - node.skew))

    # --- inside: links

    def _holds(self, signed: SignedEntry) -> bool:
        """As real, but each object once: nothing here forges behind its back."""
        if self._verified.get(id(signed)) is signed:
            return True
        if signed.holds():
            self._verified[id(signed)] = signed
            return True
        return False

    def _reach(self, a: int, b: int) -> bool:
        return (a in self._island) == (b in self._island)

    def _is_there(self, dialler: int, to: PeerAddr) -> bool:
        other = self._numbers.get(to.peer_id, -1)
        return other in self.running and self._reach(dialler, other) and to == address(other, self._ports[other])

    def _send(self, node: Node, to: PeerId, message: Message) -> None:
        other = self._numbers[to]
        link = node.linked.get(other)
        if link is None:
            return
        self.messages += 1
        if self.on_send is not None:
            self.on_send(message)
        if self.weigh:
            frame = DISCOVERY.encode(message)
            self.bytes += len(frame)
            self.kinds[type(message)] += len(frame)
            if self._wire:
                message = DISCOVERY.decode(frame[4:])
        if self.drop and self.rng.random() < self.drop:
            return
        arrival = max(link.arrivals.get(other, 0.0), self.now + self._delay())
        link.arrivals[other] = arrival
        heapq.heappush(self._queue, (arrival, next(self._ids), self._deliver, (link, node.number, other, message)))

    def _deliver(self, link: Link, sender: int, receiver: int, message: Message) -> None:
        node = self.running.get(receiver)
        if node is None or node.linked.get(sender) is not link:
            return
        if (self._island and not self._reach(sender, receiver)) or node.stopped > self.now:
            # What is under way waits for the network, or for the reader, and is never reordered.
            link.arrivals[receiver] = max(link.arrivals[receiver], self.now + 0.2)
            self._after(max(0.2, node.stopped - self.now), self._deliver, link, sender, receiver, message)
            return
        node.gossip.receive(peer(sender), message, self.now + node.skew)
        self._perform(node)

    def _arrive(self, node: Node, to: PeerAddr) -> None:
        other = self._numbers.get(to.peer_id, -1)
        if not node.alive:
            return
        if not self._is_there(node.number, to):
            node.dials = max(0, node.dials - (other in self.running))
            self._after(DIAL_TIMEOUT, self._fail, node, to.peer_id, True)
            return
        there = self.running[other]
        node.dials -= 1
        if node.number in there.linked and other in node.linked:
            self._fail(node, to.peer_id, False)  # a duplicate
            return
        hello, answer = node.gossip.hello(), there.gossip.hello()
        refused = there.gossip.link_up(peer(node.number), hello.entry, self.now + there.skew, lonely=hello.lonely)
        there.most = max(there.most, len(there.linked) + there.dials + 1)
        if refused is not None:
            self._perform(there)
            if refused == VIEW_FULL:
                node.gossip.referred(to.peer_id, there.gossip.referral(peer(node.number)), self.now + node.skew)
                self._perform(node)
            else:
                self._fail(node, to.peer_id, False)
            return
        link = Link((node.number, other))
        there.linked[node.number] = node.linked[other] = link
        node.count()
        if (refused := node.gossip.link_up(to.peer_id, answer.entry, self.now + node.skew)) is not None:
            del there.linked[node.number], node.linked[other]
            self._fail(node, to.peer_id, False)
            there.gossip.link_down(peer(node.number), self.now + there.skew, reason=refused, orderly=True)
        self._perform(there)
        self._perform(node)

    def _fail(self, node: Node, to: PeerId, unreachable: bool) -> None:
        if node.alive:
            node.gossip.dial_failed(to, self.now + node.skew, unreachable=unreachable)
            self._perform(node)

    def _unlink(self, node: Node, other: int, reason: str) -> None:
        link = node.linked.pop(other, None)
        there = self.running.get(other)
        if link is not None and there is not None:
            self._after(self._delay(), self._down, there, node.number, link, reason, True)

    def _down(self, node: Node, other: int, link: Link, reason: str, orderly: bool) -> None:
        if not node.alive or node.linked.get(other) is not link:
            return
        if reason == NO_ANSWER and not self._reach(node.number, other):
            return  # the end of the link is not heard of; silence ends it
        del node.linked[other]
        node.gossip.link_down(peer(other), self.now + node.skew, reason=reason, orderly=orderly)
        self._perform(node)

    def _break(self, link: Link) -> None:
        for number, other in (link.ends, link.ends[::-1]):
            if (node := self.running.get(number)) is not None:
                self._down(node, other, link, "idle timeout", False)

    def _break_if_cut(self, link: Link) -> None:
        if not self._reach(*link.ends):
            self._break(link)

    def _remove(self, number: int) -> Node:
        del self.nodes[number]
        node = self.running.pop(number)
        node.alive = False
        return node

    def _gone(self, node: Node) -> None:
        if not node.alive:
            return
        self._remove(node.number)
        for other, link in list(node.linked.items()):
            if (there := self.running.get(other)) is not None:
                self._down(there, node.number, link, "the node leaves", True)
