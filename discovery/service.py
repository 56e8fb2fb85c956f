"""The shell around the gossip engine: links, dials, time."""

from __future__ import annotations

import logging
import math
import random
import secrets
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio
from anyio.abc import TaskGroup

from discovery.catalog import PRESENT, Status
from discovery.config import DiscoveryConfig
from discovery.effects import LEAVING, ORDERLY, OTHER_NETWORK, VIEW_FULL, Dial, Elsewhere, Emit, Send, Unlink
from discovery.entry import NetworkId, SignedEntry
from discovery.explain import Notes, explain
from discovery.gossip import Gossip
from discovery.messages import DISCOVERY, Hello, Message, Referral
from discovery.peers import Peers
from discovery.state import KnownPeers
from transport import (
    Endpoint,
    Link,
    LinkClosed,
    LinkFull,
    PeerAddr,
    PeerId,
    SecretKey,
    TransportError,
    Unreachable,
    WrongIdentity,
)
from transport.tasks import owned_tasks

if TYPE_CHECKING:
    from discovery.lan import Lan

logger = logging.getLogger("discovery")

HELLO_TIMEOUT = 5.0
"""Seconds that a neighbour has to say hello."""
FAREWELL = 0.05
"""Seconds that a departure has to get out."""
DUPLICATE = "duplicate discovery link"
ADDRESS_INTERVAL = 5.0
"""Seconds between two looks at our own address."""
SAVE_INTERVAL = 60.0
"""Seconds between two writings of the file of known peers, if nothing happens."""
SAVE_SOON = 1.0
"""Seconds after which whom we have just met stands in that file."""
LAN_INTERVAL = 0.25
"""Seconds between two looks at what was found in the local network."""
LAN_FAREWELL = 2.0
"""Seconds that saying goodbye to the local network may take."""


class Discovery:
    """Keeps a node in its network. An async context manager: leaving announces the departure.

    Args:
        endpoint: Links with others.
        key: Signs the node's entry.
        network: The network's name.
        seeds: Whom to try first; any member serves as one.
        tags: The node's words.
        config: Intervals and limits.
        rng: The dice.
        state_path: A file for the node's incarnation and the peers it knows, so that a restart needs no seed.
        lan: Whether to look for peers in the local network by multicast DNS, and to be found so.
        shares_group: Whether a peer that announces these groups may want its connection for one of them; by default not.

    Raises:
        ConfigError: ``lan`` needs the extra of that name, and it is not installed.

    Attributes:
        peers: The other nodes.
        on_elsewhere: Called, once, with where another process seems to run that has this node's key.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        key: SecretKey,
        *,
        network: str,
        seeds: Sequence[PeerAddr] = (),
        tags: Collection[str] = (),
        config: DiscoveryConfig | None = None,
        rng: random.Random | None = None,
        state_path: Path | None = None,
        lan: bool = False,
        shares_group: Callable[[PeerId, Collection[bytes]], bool] | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._shares_group = shares_group
        self._lan = _lan(endpoint.address, NetworkId.of(network)) if lan else None
        self._known = KnownPeers(state_path)
        self._save_at = math.inf
        self._gossip = Gossip(
            key=key,
            network=NetworkId.of(network),
            endpoints=endpoint.address.endpoints,
            tags=tags,
            seeds=(*seeds, *self._known.peers),
            config=config or DiscoveryConfig(),
            rng=rng or random.Random(secrets.randbits(64)),
            now=anyio.current_time(),
            incarnation=self._known.incarnation + 1,
        )
        self._gossip.counters = endpoint.counters
        self._name = network
        self._links: dict[PeerId, Link] = {}
        self._strangers: set[PeerId] = set()
        self._silent = False
        self._notes = Notes()
        self._inbox: deque[Callable[[float], None]] = deque()
        self._woken = anyio.Event()
        self._owned = owned_tasks()
        self._tasks: TaskGroup | None = None
        self.on_elsewhere: Callable[[PeerAddr], None] | None = None
        self.peers = Peers(self._gossip.catalog, rtt=self._rtt, explain=self.explain)

    async def __aenter__(self) -> Self:
        self._tasks = await self._owned.__aenter__()
        self._endpoint.serve(DISCOVERY, self._accept)
        self._tasks.start_soon(self._run, name="discovery")
        if self._lan is not None:
            self._tasks.start_soon(self._look_around, self._lan, name="discovery in the local network")
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._endpoint.unserve(DISCOVERY)
        if not self._silent:
            self._gossip.leave()
            self._perform()
        for link in self._links.values():
            link.close(LEAVING)
        if self._links:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(FAREWELL)  # for the transport to send it
        self._save()
        await self._owned.__aexit__(None, None, None)
        self.peers.close()

    # --- the contract

    def set_groups(self, groups: Collection[bytes]) -> None:
        """Announce of each group that this node serves 16 bytes by which its members recognise it."""
        self._gossip.update(groups=groups)
        self._woken.set()

    @property
    def told(self) -> tuple[PeerAddr, ...]:
        """Where others are said to be: by seeds, the file of known peers, the local network. This node itself is not counted."""
        return self._gossip.told

    @property
    def linked(self) -> bool:
        """Whether there is a link with another node now."""
        return bool(self._gossip.neighbours)

    @property
    def compared(self) -> bool:
        """Whether the catalog was compared with another node's, to the end, since the start."""
        return self._gossip.exchange.done

    def fall_silent(self, reason: str) -> None:
        """Link with nobody any more, and say no goodbye: another process speaks for this identity, and goes on."""
        self._silent = True
        self._endpoint.unserve(DISCOVERY)
        for link in list(self._links.values()):
            link.close(reason)
        self._woken.set()

    def address_of(self, peer_id: PeerId) -> PeerAddr | None:
        """Where a peer can be dialled."""
        record = self._gossip.catalog.get(peer_id)
        return record.signed.entry.address if record else None

    def explain(self, peer_id: PeerId) -> str:
        """What is known of a peer, what was tried, and what came of it."""
        return explain(
            self._gossip,
            self._notes,
            peer_id,
            anyio.current_time(),
            network=self._name,
            connected=peer_id in self._endpoint.connections,
        )

    # --- the engine's turn

    async def _run(self) -> None:
        next_look = anyio.current_time() + ADDRESS_INTERVAL
        self._save_at = min(self._save_at, next_look)
        while not self._silent:
            with anyio.move_on_at(min(self._gossip.due, self._save_at, next_look)):
                await self._woken.wait()
            self._woken = anyio.Event()
            now = anyio.current_time()
            while self._inbox:  # before the tick: whoever was stopped must not judge by what waits here
                self._inbox.popleft()(now)
            if now >= self._gossip.due:
                self._gossip.tick(now)
            self._perform()
            if now >= next_look:
                self._look_at_ourselves()
                next_look = now + ADDRESS_INTERVAL
            if now >= self._save_at:
                self._save()
                self._save_at = now + SAVE_INTERVAL

    def _look_at_ourselves(self) -> None:
        """A machine that moved has another address: others must hear of it."""
        endpoints = self._endpoint.look_up_address().endpoints
        if endpoints != self._gossip.own.entry.endpoints:
            logger.info("this node is now at %s", ", ".join(map(str, endpoints)))
            self._gossip.update(endpoints=endpoints)
            self._perform()

    def _perform(self) -> None:
        if self._silent:
            return
        for effect in self._gossip.take_effects():
            if isinstance(effect, Send):
                self._send(effect.peer, effect.message)
            elif isinstance(effect, Dial) and self._tasks is not None:
                self._tasks.start_soon(self._dial, effect.address)
            elif isinstance(effect, Unlink):
                if (link := self._links.pop(effect.peer, None)) is not None:
                    link.close(effect.reason)
            elif isinstance(effect, Elsewhere):
                if self.on_elsewhere is not None:
                    self.on_elsewhere(effect.address)
            elif isinstance(effect, Emit):
                logger.debug(
                    "peer %s %s: %s",
                    effect.peer.short,
                    effect.kind,
                    effect.reason,
                    extra={"peer": str(effect.peer), "event": effect.kind},
                )
                self._notes.changed(effect.peer, effect.kind, effect.reason, anyio.current_time())
                self.peers.tell(effect.kind, effect.peer, effect.reason)
                if effect.kind in ("joined", "updated", "recovered"):  # whoever is killed next wants to find it again
                    self._save_at = min(self._save_at, anyio.current_time() + SAVE_SOON)

    def _send(self, peer: PeerId, message: Message) -> None:
        link = self._links.get(peer)
        if link is None:
            return
        try:
            link.send_nowait(message)
        except LinkFull:
            link.close("the neighbour reads too slowly")
        except LinkClosed:
            return

    def _post(self, action: Callable[[float], None]) -> None:
        self._inbox.append(action)
        self._woken.set()

    # --- links

    async def _dial(self, address: PeerAddr) -> None:
        peer = address.peer_id
        try:
            known = peer in self._endpoint.connections
            connection = await self._endpoint.connect(address)
            link = await connection.open(DISCOVERY)
            await link.send(self._gossip.hello())
            answer = await self._first_word(link)
            if isinstance(answer, Referral):
                link.close(VIEW_FULL)
                self._note(peer, "has no room for a neighbour, and named others")
                self._post(lambda now: self._gossip.referred(peer, answer, now))
                if not known and not self._is_wanted(answer.entries[0] if answer.entries else None):
                    connection.close(VIEW_FULL)  # a seed of many must not hold a connection for each
            else:
                await self._converse(link, answer)
        except TransportError as error:
            self._note(peer, f"could not be linked: {error}")
            unreachable = isinstance(error, Unreachable | WrongIdentity)  # nobody is there, or somebody else
            self._post(lambda now: self._gossip.dial_failed(peer, now, unreachable=unreachable))

    async def _accept(self, link: Link) -> None:
        await self._converse(link, await self._first_word(link))

    async def _first_word(self, link: Link) -> Message | None:
        """What the other side says first; None if it says nothing in time."""
        with anyio.move_on_after(HELLO_TIMEOUT):
            word: Message = await link.receive()
            return word
        return None

    async def _converse(self, link: Link, hello: Message | None) -> None:
        """Take a neighbour's hello, answer it if the neighbour dialled, and hear it until the link ends."""
        if not isinstance(hello, Hello) or not hello.entry.holds():
            self._endpoint.counters["discovery: no hello"] += 1
            link.close("a discovery link opens with the peer's own signed entry, in time")
        elif self._silent:
            link.close(LEAVING)
        elif self._adopt(link, hello):
            await self._listen(link, link.peer_id)
            return
        raise LinkClosed(link.close_reason or "")

    def _adopt(self, link: Link, hello: Hello) -> bool:
        peer = link.peer_id
        standing = self._links.get(peer)
        if standing is not None and not standing.closed:
            # Both dialled: the link that the lower PeerId opened stays.
            if standing.binding == link.binding and link.dialled != (self._gossip.me < peer):
                link.close(DUPLICATE)
                return False
            standing.close(DUPLICATE)
        answer = self._gossip.hello()
        problem = self._gossip.link_up(peer, hello.entry, anyio.current_time(), lonely=hello.lonely)
        if problem is not None:
            if problem != VIEW_FULL:
                self._note(peer, f"is not wanted as a neighbour: {problem}")
            elif not link.dialled:
                link.send_nowait(self._gossip.referral(peer))
            if problem == OTHER_NETWORK and len(self._strangers) < 1024 and peer not in self._strangers:
                self._strangers.add(peer)  # once is enough to act on
                logger.warning(
                    "%s is not in network %r: check the network's name on both sides", peer.short, self._name
                )
            link.close(problem)
            self._woken.set()
            return False
        self._links[peer] = link
        if not link.dialled:
            self._send(peer, answer)
        self._note(peer, "was linked")
        self.peers.wake()
        self._perform()  # now: a wish to end the link must not hit the one after it
        return True

    async def _listen(self, link: Link, peer: PeerId) -> None:
        reason = ""
        try:
            while True:
                message = await link.receive()
                self._post(lambda now, message=message: self._gossip.receive(peer, message, now))  # type: ignore[misc]
        except LinkClosed as closed:
            reason = closed.reason
        finally:
            if self._links.get(peer) is link:
                del self._links[peer]
                self._note(peer, f"was unlinked: {reason}")
                self._post(lambda now: self._lost_link(peer, reason, now))

    def _lost_link(self, peer: PeerId, reason: str, now: float) -> None:
        if peer in self._links:
            return  # there is a new one already
        # Where another connection stands, just the old one was given up: nothing to suspect.
        orderly = reason in ORDERLY or reason == DUPLICATE or peer in self._endpoint.connections
        self._gossip.link_down(peer, now, reason=reason, orderly=orderly)

    # --- the local network

    async def _look_around(self, lan: Lan) -> None:
        try:
            await anyio.to_thread.run_sync(lan.open)
            while not self._silent:
                for address in lan.take():
                    self._note(address.peer_id, "was found in the local network")
                    self._post(lambda now, address=address: self._gossip.add_seed(address, now))  # type: ignore[misc]
                await anyio.sleep(LAN_INTERVAL)
        except OSError as error:
            logger.warning("cannot look for peers in the local network (%s); going on without", error)
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(LAN_FAREWELL):
                await anyio.to_thread.run_sync(lan.close, abandon_on_cancel=True)

    def _is_wanted(self, signed: SignedEntry | None) -> bool:
        """Whether somebody may want the connection to the owner of this entry for a bond."""
        entry = signed.entry if signed is not None else None
        return entry is not None and self._shares_group is not None and self._shares_group(entry.peer_id, entry.groups)

    # --- notes

    def _note(self, peer: PeerId, text: str) -> None:
        self._notes.note(peer, text, anyio.current_time())

    def _rtt(self, peer: PeerId) -> float | None:
        """As the gossip measured it, now or when it was a neighbour; else as the transport does."""
        measured = self._gossip.view.round_trips.get(peer)
        if measured is not None and measured.srtt is not None:
            return measured.srtt
        connection = self._endpoint.connections.get(peer)
        return connection.rtt if connection else None

    def _save(self) -> None:
        # The file holds a few: first whom we were linked with, then who was there.
        records = [record for record in self._gossip.catalog if record.status is not Status.LEFT]
        records.sort(
            key=lambda record: (record.peer_id not in self._links, not record.met, record.status not in PRESENT)
        )
        self._known.save(
            self._gossip.own.entry.version.incarnation, [record.signed.entry.address for record in records]
        )


def _lan(address: PeerAddr, network: NetworkId) -> Lan:
    """Imported only here, by who asks for it: an extra."""
    from discovery.lan import Lan

    return Lan(address, network)
