"""Finds a group's members in the network and keeps a bond with each: the group's side of discovery.

Both sides of a pair look for each other. The one with the lower PeerId opens; the other gives it a moment and then
opens itself, in case the first cannot. Failures are retried with a growing delay.

Members recognise each other by the tags in their entries. Whoever announces other tags is no member, and nobody can tell why: it
may be in another group, or in this one with a mistyped secret. So only who finds no member at all is told.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence

import anyio
from anyio.abc import TaskGroup

from discovery import Discovery, NetworkId, PeerInfo
from p2praft.groups.bond import DUPLICATE, REFUSED, Bond, Membership, open_bond
from p2praft.groups.events import GroupEvent
from p2praft.groups.gate import Surroundings, waits_for
from p2praft.groups.identity import IdentityWatch
from p2praft.groups.legacy import beginning, is_namesake
from p2praft.groups.worker import Worker
from p2praft.raft.types import Member
from transport import Endpoint, LinkClosed, PeerAddr, PeerId, TransportError

logger = logging.getLogger("p2praft.group")

LOOK_INTERVAL = 0.1
"""Seconds between two looks at the catalog."""
YIELD_TO_OPENER = 0.75
"""Seconds that the side with the higher PeerId leaves the other to open the bond."""
RETRY_MIN, RETRY_MAX = 0.25, 5.0
REFUSED_RETRY = 30.0
"""Seconds before a peer that refused us twice is asked again."""
ALONE_AFTER = 5.0
"""Seconds without any member, beside others that announce groups, after which a person is told."""


class Validator:
    """Says which holders of the key this member bonds with. A rule of its own: others may have other rules, or none.

    Attributes:
        signature: Names the rule and its version, for people.
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
        network: Where the group lives.
        rng: Spreads retries.
        older: Called for each peer that serves a group of this name in the way of release 0.1, at every look.
        validators: Whom to bond with, of those that hold the key.
        found: Whether the member may found a history: True goes ahead alone, False never does, None meets its network first.
    """

    def __init__(
        self,
        worker: Worker,
        membership: Membership,
        endpoint: Endpoint,
        discovery: Discovery,
        *,
        network: NetworkId,
        rng: random.Random,
        older: Callable[[PeerId], None],
        validators: Sequence[Validator] = (),
        found: bool | None = None,
    ) -> None:
        self._worker = worker
        self._own = membership
        worker.on_renewed = self._on_renewed
        self._endpoint = endpoint
        self._discovery = discovery
        self._rng = rng
        self._validators = validators
        self._older = older
        self._beginning = beginning(network, worker.name)
        self._identity = IdentityWatch(worker, membership)
        self._attempts: dict[PeerId, float] = {}
        self._not_before: dict[PeerId, float] = {}
        self._delay: dict[PeerId, float] = {}
        self._refusals: dict[PeerId, int] = {}
        self._met_or_told = False
        self._alone_since: float | None = None
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
        if not self._identity.admits(bond):
            self._attempts.pop(peer_id, None)
            self._on_failure(peer_id, bond.link.close_reason or "")  # the one that stays may answer next
            return
        if not self._worker.add_bond(bond):
            bond.link.close(DUPLICATE)
            return
        for memory in (self._delay, self._not_before, self._attempts, self._failing):
            memory.pop(peer_id, None)
        self._refusals.pop(peer_id, None)
        self._met_or_told = True
        await self._worker.read_bond(bond)

    def _on_renewed(self, me: Member) -> None:
        """Later handshakes name the member that we are now."""
        self._own.me = me

    def allows(self, peer_id: PeerId) -> bool:
        """Whether every validator lets the peer in; one that is not in the catalog yet comes again."""
        if not self._validators:
            return True
        peer = self._discovery.peers.get(peer_id)
        return peer is not None and self._lets_in(peer)

    def _lets_in(self, peer: PeerInfo) -> bool:
        return all(validator.allows(peer) for validator in self._validators)

    def _watch_gate(self, peers: Sequence[PeerInfo]) -> None:
        """Tell the worker whether its member may found a history, by what the node knows of its network now."""
        members = {peer.peer_id for peer in peers if self._own.tags.announced_by(peer) and self._lets_in(peer)}
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
        others = 0
        peers = list(self._discovery.peers)
        self._watch_gate(peers)
        for peer in peers:
            peer_id = peer.peer_id
            if not self._own.tags.announced_by(peer):
                if is_namesake(peer, self._beginning):
                    self._older(peer_id)
                else:
                    others += bool(peer.groups)
                continue
            self._met_or_told = True
            if peer_id in self._worker.bonds or peer_id in self._attempts or not self._lets_in(peer):
                continue
            if peer_id not in self._not_before:
                self._not_before[peer_id] = now + (YIELD_TO_OPENER if me > peer_id else 0)
            address = self._discovery.address_of(peer_id)
            if address is not None and now >= self._not_before[peer_id]:
                self._attempts[peer_id] = now
                tasks.start_soon(self._attempt, address)
        if not self._met_or_told:
            self._wait_for_company(others, now)

    def _wait_for_company(self, others: int, now: float) -> None:
        """Tell a person, once, if no member has been seen since there are ``others`` that announce groups."""
        if not others:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since >= ALONE_AFTER:
            self._met_or_told = True
            self._tell(
                "no members",
                f"group {self._worker.name!r}: {others} other node(s) here announce groups, but none of them this one; if "
                "it should have members here, check that they have the same secret, the same name of the group and "
                "the same state machine",
            )

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
            count = self._refusals[peer_id] = self._refusals.get(peer_id, 0) + 1
            if count >= 2:  # once may have been in the moment in which it stopped
                delay = REFUSED_RETRY
            if count == 2:
                self._tell(
                    "refused",
                    f"group {self._worker.name!r} at {peer_id.short} refused us, though that node holds its key: one of "
                    "its validators keeps us out; look at its log and at its rules",
                    peer_id,
                )
        elif reason != DUPLICATE:
            logger.debug("no bond with %s in group %s: %s", peer_id.short, self._worker.name, reason)
        self._not_before[peer_id] = anyio.current_time() + delay * self._rng.uniform(1, 1.5)

    def _tell(self, kind: str, text: str, peer_id: PeerId | None = None) -> None:
        logger.warning("%s", text)
        self._worker.tell(GroupEvent(kind=kind, term=self._worker.engine.term, peer=peer_id, text=text))
