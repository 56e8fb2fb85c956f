"""Finds a group's members in the network and keeps a bond with each: the group's side of discovery.

Both sides of a pair look for each other. The one with the lower PeerId opens; the other gives it a moment and then
opens itself, in case the first cannot. Failures are retried with a growing delay.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

import anyio
from anyio.abc import TaskGroup

from discovery import Discovery, PeerInfo
from p2praft.groups.bond import DUPLICATE, REFUSED, Bond, Membership, open_bond
from p2praft.groups.events import GroupEvent
from p2praft.groups.gate import Surroundings, waits_for
from p2praft.groups.worker import Worker
from transport import Endpoint, LinkClosed, PeerAddr, PeerId, TransportError

logger = logging.getLogger("p2praft.group")

LOOK_INTERVAL = 0.1
"""Seconds between two looks at the catalog."""
YIELD_TO_OPENER = 0.75
"""Seconds that the side with the higher PeerId leaves the other to open the bond."""
RETRY_MIN, RETRY_MAX = 0.25, 5.0
REFUSED_RETRY = 30.0
"""Seconds before a peer that refused us is asked again."""


class Validator:
    """Says which peers may be members beside holding the key. Part of the GroupId by its signature.

    Attributes:
        signature: Names the rule and its version: members with other rules never meet.
    """

    signature: str = ""

    def allows(self, peer: PeerInfo) -> bool:
        """Whether the peer may bond."""
        raise NotImplementedError


class Binder:
    """Keeps one group's bonds.

    Args:
        worker: Who gets the bonds.
        membership: What the handshake needs.
        endpoint: Dials.
        discovery: Knows who is out there.
        rng: Spreads retries.
        validators: Who may be a member beside holding the key.
        found: Whether the member may found a history: True goes ahead alone, False never does, None meets its network first.
    """

    def __init__(
        self,
        worker: Worker,
        membership: Membership,
        endpoint: Endpoint,
        discovery: Discovery,
        rng: random.Random,
        validators: Sequence[Validator] = (),
        found: bool | None = None,
    ) -> None:
        self._worker = worker
        self._own = membership
        self._endpoint = endpoint
        self._discovery = discovery
        self._rng = rng
        self._validators = validators
        self._attempts: dict[PeerId, float] = {}
        self._not_before: dict[PeerId, float] = {}
        self._delay: dict[PeerId, float] = {}
        self._refused: set[PeerId] = set()
        self._failing: dict[PeerId, float] = {}
        self._found = found
        self._watch_gate(list(discovery.peers))  # before the first turn of the worker, whose bootstrap delay may be 0

    async def run(self) -> None:
        """Look for members until cancelled."""
        async with anyio.create_task_group() as tasks:
            while not self._worker.closed:
                self._look(tasks)
                await anyio.sleep(LOOK_INTERVAL)
            tasks.cancel_scope.cancel()

    async def hold(self, bond: Bond) -> None:
        """Give a proven bond to the worker and read it until it breaks; close it if the one that stands is kept."""
        peer_id = bond.member.peer_id
        if not self._allowed(peer_id):
            bond.link.close(REFUSED)
            return
        if not self._worker.add_bond(bond):
            bond.link.close(DUPLICATE)
            return
        for memory in (self._delay, self._not_before, self._failing):
            memory.pop(peer_id, None)
        self._refused.discard(peer_id)
        self._attempts.pop(peer_id, None)
        await self._worker.read_bond(bond)

    def _allowed(self, peer_id: PeerId) -> bool:
        """Whether every validator lets the peer in; one that is not in the catalog yet comes again."""
        if not self._validators:
            return True
        peer = self._discovery.peers.get(peer_id)
        return peer is not None and all(validator.allows(peer) for validator in self._validators)

    def _watch_gate(self, peers: Sequence[PeerInfo]) -> None:
        """Tell the worker whether its member may found a history, by what the node knows of its network now."""
        members = {peer.peer_id for peer in peers if self._own.group.key in peer.groups and self._allowed(peer.peer_id)}
        for peer_id in self._failing.keys() - members:
            del self._failing[peer_id]  # lost, or left: should it come back, it gets its time anew
        around = Surroundings(
            told=self._discovery.told,
            linked=self._discovery.linked or bool(self._worker.bonds),
            compared=self._discovery.compared,
            members=members,
            bonded=self._worker.bonds.keys(),
            failing=self._failing,
        )
        delay = self._worker.config.bootstrap_delay
        self._worker.may_found(waits_for(around, found=self._found, bootstrap_delay=delay, now=anyio.current_time()))

    def _look(self, tasks: TaskGroup) -> None:
        now = anyio.current_time()
        me = self._endpoint.peer_id
        peers = list(self._discovery.peers)
        self._watch_gate(peers)
        for peer in peers:
            peer_id = peer.peer_id
            if peer_id in self._worker.bonds or peer_id in self._attempts or peer.status in ("lost", "left"):
                continue
            member = self._own.group.key in peer.groups
            if not member and (self._worker.bonds or not any(map(self._own.group.is_namesake, peer.groups))):
                continue  # only who is alone needs to hear that a group of this name refuses it
            if peer_id not in self._not_before:
                self._not_before[peer_id] = now + (YIELD_TO_OPENER if me > peer_id and member else 0)
            address = self._discovery.address_of(peer_id)
            if address is not None and now >= self._not_before[peer_id]:
                self._attempts[peer_id] = now
                tasks.start_soon(self._attempt, address)

    async def _attempt(self, address: PeerAddr) -> None:
        peer_id = address.peer_id
        try:
            connection = await self._endpoint.connect(address)
            await self.hold(await open_bond(connection, self._own))
        except (TransportError, TimeoutError) as error:
            reason = error.reason if isinstance(error, LinkClosed) else str(error) or "it did not answer in time"
            self._on_failure(peer_id, reason)
            self._attempts.pop(peer_id, None)

    def _on_failure(self, peer_id: PeerId, reason: str) -> None:
        if reason != DUPLICATE:
            self._failing.setdefault(peer_id, anyio.current_time())
        delay = self._delay.get(peer_id, RETRY_MIN)
        self._delay[peer_id] = min(delay * 2, RETRY_MAX)
        if reason == REFUSED:
            delay = REFUSED_RETRY if peer_id in self._refused else delay
            if peer_id not in self._refused:
                self._refused.add(peer_id)
                self._tell_refused(peer_id)
        elif reason != DUPLICATE:
            logger.debug("no bond with %s in group %s: %s", peer_id.short, self._worker.name, reason)
        self._not_before[peer_id] = anyio.current_time() + delay * self._rng.uniform(1, 1.5)

    def _tell_refused(self, peer_id: PeerId) -> None:
        name = self._worker.name
        text = (
            f"group {name!r} at {peer_id.short} refused us: its secret, its settings or its state machine differ from "
            "ours; check that all members were started with the same ones"
        )
        logger.warning("%s", text)
        self._worker.tell(GroupEvent(kind="refused", term=self._worker.engine.term, peer=peer_id, text=text))
