"""A node's membership in a named network, and its groups in it."""

from __future__ import annotations

import logging
import os
import random
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import TaskGroup

from discovery import Discovery, NetworkId, Peers
from p2praft.about import ABOUT, tell_about
from p2praft.config import ConsensusConfig, LeadershipPreference, NetworkConfig
from p2praft.errors import ConfigError, GroupClosed, IdentityInUse
from p2praft.groups.binder import Binder, Validator
from p2praft.groups.bond import BOND, FORMER, FORMER_BOND, Membership, accept_bond
from p2praft.groups.events import GroupEvent
from p2praft.groups.group import Group
from p2praft.groups.identity import ENDS
from p2praft.groups.key import GroupId, GroupKey
from p2praft.groups.legacy import Former, carry_over
from p2praft.groups.machine import MachineName, NoMachine, StateMachine
from p2praft.groups.worker import Worker
from p2praft.storage import DataDirectory, MemoryStorage, SqliteStorage, Storage
from p2praft.version import __version__
from transport import (
    BindError,
    Endpoint,
    HostPort,
    Link,
    LinkClosed,
    PeerAddr,
    PeerId,
    QuicTransport,
    SecretKey,
    Transport,
)
from transport.tasks import owned_tasks

logger = logging.getLogger("p2praft")

MAX_OLDER = 64
"""Peers of an older release that are named in the log, at most."""


@dataclass(slots=True, eq=False)
class _Member:
    """One group that runs on this node, shared by all handles of it."""

    group: Group
    worker: Worker
    binder: Binder
    membership: Membership
    preference: LeadershipPreference
    found: bool | None = None
    handles: int = 0


class Network:
    """A node in a named network. Entering binds the socket and joins; leaving departs.

    Args:
        name: The network's name: nodes of other networks are not heard.
        identity: The node's key; a path to keep it at (made on first use); or None: in ``data_dir``, else a fresh one.
        listen: ``host:port`` of the UDP socket; port 0 takes a free one, with ``data_dir`` the same as last time if it can.
        advertise: ``host:port`` where others reach this node, if that is not where it listens.
        seeds: Addresses of any members; ones that are down are retried and hold nothing up.
        tags: Words that others see in the catalog.
        data_dir: Keeps the identity and the groups' logs; without it all lives in memory.
        transport: How nodes are linked; QUIC if None.
        config: Intervals and limits.
        lan: Whether to find nodes of the local network by multicast DNS, without a seed, and to be found so (extra ``lan``).

    Attributes:
        name: As given.
        id: Of the name.
        seeds: As given.
    """

    def __init__(
        self,
        name: str,
        *,
        identity: SecretKey | str | os.PathLike[str] | None = None,
        listen: str = "0.0.0.0:0",
        advertise: Sequence[str] = (),
        seeds: Sequence[str | PeerAddr] = (),
        tags: Collection[str] = (),
        data_dir: str | os.PathLike[str] | None = None,
        transport: Transport | None = None,
        config: NetworkConfig | None = None,
        lan: bool = False,
    ) -> None:
        if not isinstance(name, str) or not 0 < len(name) <= 255:
            raise ConfigError(f"name={name!r} is not allowed: a network's name has 1 to 255 characters")
        self.name = name
        self.id = NetworkId.of(name)
        self._config = config or NetworkConfig()
        self._listen = HostPort.parse(listen)
        self._advertise = tuple(HostPort.parse(text) for text in advertise)
        self.seeds = tuple(seed if isinstance(seed, PeerAddr) else PeerAddr.parse(seed) for seed in seeds)
        self._tags = tuple(tags)
        self._lan = lan
        self._data_dir = Path(data_dir) if data_dir is not None else None
        self._transport = transport or QuicTransport(self._config.quic)
        self._identity = identity
        self._rng = random.Random(secrets.randbits(64))
        self._wall_clock: Callable[[], float] = time.time  # tests give a node another one
        self._process = secrets.token_bytes(16)
        self._in_use: IdentityInUse | None = None
        self._members: dict[GroupId, _Member] = {}
        self._older: set[PeerId] = set()
        self._directory: DataDirectory | None = None
        self._endpoint: Endpoint | None = None
        self._discovery: Discovery | None = None
        self._tasks: TaskGroup | None = None
        self._parts = AsyncExitStack()
        self._pid = os.getpid()

    # --- life

    async def __aenter__(self) -> Self:
        self._pid = os.getpid()
        if self._data_dir is not None:
            self._directory = DataDirectory(self._data_dir)
        try:
            await self._bind(self._load_identity())
        except BaseException:
            self._close_directory()
            raise
        return self

    async def _bind(self, key: SecretKey) -> None:
        async with AsyncExitStack() as stack:
            self._endpoint = await self._listening(stack, key)
            self._discovery = Discovery(
                self._endpoint,
                key,
                network=self.name,
                seeds=self.seeds,
                tags=self._tags,
                config=self._config.discovery,
                rng=random.Random(self._rng.getrandbits(64)),
                state_path=self._data_dir / "peers" if self._data_dir else None,
                lan=self._lan,
                shares_group=self._shares_group,
            )
            self._discovery.on_elsewhere = self._suspect_twin
            await stack.enter_async_context(self._discovery)
            self._tasks = await stack.enter_async_context(owned_tasks())
            self._parts = stack.pop_all()
        self._endpoint.serve(BOND, self._accept_bond)
        self._endpoint.serve(FORMER_BOND, self._turn_away)
        self._endpoint.serve(ABOUT, self._tell_about)

    async def _listening(self, stack: AsyncExitStack, key: SecretKey) -> Endpoint:
        """An endpoint, where the others remember this node if that is possible: after a power cut, nobody is left to ask."""
        bind = partial(self._transport.bind, key, advertise=self._advertise)
        directory = self._directory if self._listen.port == 0 else None
        last = directory.port if directory is not None else None
        if last is not None:
            listen = HostPort(self._listen.host, last)
            try:
                return await stack.enter_async_context(bind(listen=listen))
            except BindError as error:
                logger.warning("port %s, which this node had last, is not to be had (%s); taking another", last, error)
        endpoint = await stack.enter_async_context(bind(listen=self._listen))
        if directory is not None:
            directory.keep_port(endpoint.bound.port)
        return endpoint

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if os.getpid() != self._pid:
            return  # a fork: socket, locks and peers are the other process's, which goes on with them
        endpoint = self._live()
        try:
            # Shielded but bounded: a cancelled owner still says goodbye, and nothing can hold it up for long.
            with anyio.CancelScope(shield=True), anyio.move_on_after(self._config.shutdown_timeout):
                for member in list(self._members.values()):
                    await self._stop(member)
            for member in list(self._members.values()):
                member.worker.close()
            endpoint.unserve(BOND)
            endpoint.unserve(FORMER_BOND)
            endpoint.unserve(ABOUT)
        finally:
            # Left without the body's exception, so that it reaches the caller as it is, in no group.
            await self._parts.__aexit__(None, None, None)
            self._members.clear()
            self._endpoint = None
            self._close_directory()

    # --- what it is

    @property
    def peer_id(self) -> PeerId:
        """This node's identity."""
        return self._live().peer_id

    @property
    def address(self) -> PeerAddr:
        """What another node's ``seeds`` take."""
        return self._live().address

    @property
    def endpoint(self) -> Endpoint:
        """What the node is linked with others by, for protocols of one's own and for diagnosis."""
        return self._live()

    @property
    def peers(self) -> Peers:
        """The catalog: who else is in the network."""
        self._live()
        assert self._discovery is not None
        return self._discovery.peers

    @property
    def groups(self) -> Mapping[GroupId, Group]:
        """The groups that run on this node."""
        return {group_id: member.group for group_id, member in self._members.items()}

    # --- groups

    def group_facts(self) -> list[tuple[str, GroupKey, str]]:
        """Name, secret and state machine's signature of each group that runs here: for diagnosis within the process."""
        return [
            (member.group.name, member.membership.key, member.worker.applier.machine.signature)
            for member in self._members.values()
        ]

    def group(
        self,
        name: str,
        *,
        secret: GroupKey | str,
        machine: StateMachine | None = None,
        preference: LeadershipPreference = LeadershipPreference.NORMAL,
        consensus: ConsensusConfig | None = None,
        validators: Sequence[Validator] = (),
        found: bool | None = None,
        on_meeting: str = "seal",
    ) -> GroupHandle:
        """Join a group while the context lasts.

        Args:
            name: The group's name.
            secret: What its members share: a key, or a passphrase, which is stretched for this network and group alone.
            machine: What it replicates; None for a group that only elects a leader. Its name is part of the group's id.
            preference: Whether this member campaigns.
            consensus: How the group agrees; the same on every member.
            validators: Whom this member bonds with, of those that hold the key.
            found: Whether this member may begin the group, if nobody has: None once it has met the network that it was told of,
                which may take for ever, and says so (:attr:`Group.waits_for`); True without that; False never. It holds each time
                that the member comes up without the group's history.
            on_meeting: What this member does, if it leads, when the group meets another part of itself that was founded apart
                and counts more: ``seal`` ends its own in favour of that one; ``ask`` waits for :meth:`Group.merge`.

        Raises:
            ConfigError: A value is not allowed.
            IdentityInUse: On entering: another process has this node's key, and goes on in its place.
        """
        if not isinstance(name, str) or not 0 < len(name) <= 255:
            raise ConfigError(f"name={name!r} is not allowed: a group's name has 1 to 255 characters")
        machine = machine or NoMachine()
        if not machine.signature:
            raise ConfigError(
                f"{type(machine).__name__}.signature is empty: give the state machine a name and version, such as 'counter/1'"
            )
        key = secret if isinstance(secret, GroupKey) else GroupKey.from_passphrase(secret, network=self.id, group=name)
        config = consensus or ConsensusConfig()
        group_id = GroupId.of(key, network=self.id, name=name, machine=MachineName.parse(machine.signature).name)
        former = Former(
            secret=secret,
            network=self.id,
            name=name,
            config=config,
            signature=machine.signature,
            validators=tuple(validator.signature for validator in validators),
        )
        if on_meeting not in ("seal", "ask"):
            raise ConfigError(f"on_meeting={on_meeting!r} is not allowed: it is 'seal' or 'ask'")
        if found and preference.is_observer:
            raise ConfigError("found=True is not allowed for an observer: it never begins a group")
        return GroupHandle(
            self,
            name,
            key,
            group_id,
            machine,
            preference,
            config,
            tuple(validators),
            former,
            found,
            on_meeting == "ask",
        )

    async def _join(self, handle: GroupHandle) -> _Member:
        tasks = self._tasks
        endpoint = self._live()
        assert tasks is not None
        assert self._discovery is not None
        if self._in_use is not None:
            raise self._in_use
        member = self._members.get(handle.group_id)
        if member is not None and not member.worker.closed:
            if member.preference != handle.preference:
                raise ConfigError(
                    f"group {handle.name!r} runs on this node as {member.preference}; it cannot be {handle.preference} as well"
                )
            if handle.found not in (None, member.found):
                raise ConfigError(
                    f"group {handle.name!r} runs on this node with found={member.found}; it cannot be found={handle.found} as well"
                )
            member.handles += 1
            return member
        if self._directory is not None:
            carry_over(self._directory.path / "groups", handle.group_id, handle.former)
        storage = self._storage(handle.group_id)
        try:
            worker = Worker(
                name=handle.name,
                peer_id=endpoint.peer_id,
                machine=handle.machine,
                storage=storage,
                config=handle.config,
                preference=handle.preference,
                rng=random.Random(self._rng.getrandbits(64)),
                wall_clock=self._wall_clock,
                found=handle.found,
                ask_operator=handle.ask_operator,
            )
        except BaseException:
            storage.close()
            raise
        membership = Membership(handle.group_id, handle.key, worker.me, process=self._process, start=storage.start)
        binder = Binder(
            worker,
            membership,
            endpoint,
            self._discovery,
            network=self.id,
            rng=self._rng,
            older=self._say_older,
            validators=handle.validators,
            found=handle.found,
        )
        member = _Member(
            group=Group(membership, worker),
            worker=worker,
            binder=binder,
            membership=membership,
            preference=handle.preference,
            found=handle.found,
            handles=1,
        )
        self._members[handle.group_id] = member
        tasks.start_soon(self._run_member, member, name=f"group {handle.name}")
        tasks.start_soon(binder.run, name=f"binder {handle.name}")
        self._announce()
        return member

    async def _run_member(self, member: _Member) -> None:
        await member.worker.run()
        if (
            self._members.get(member.membership.group) is member
        ):  # it left for good, or failed: nobody should look for it
            del self._members[member.membership.group]
            self._announce()
        if isinstance(member.worker.failure, IdentityInUse):
            self._yield_identity(member.worker.failure)

    def _yield_identity(self, error: IdentityInUse) -> None:
        """Another process goes on in our place: every link that we made would throw one of its own out."""
        if self._in_use is not None:
            return
        self._in_use = error
        for member in self._members.values():
            member.worker.fail(error)
        assert self._discovery is not None
        self._discovery.fall_silent(ENDS)
        for connection in list(self._live().connections.values()):
            connection.close(ENDS)

    def _suspect_twin(self, address: PeerAddr) -> None:
        """Who is in none of our groups cannot prove that two processes live; that it looks so is worth a word."""
        text = (
            f"identity {address.peer_id} seems to be used by another process, at {', '.join(map(str, address.endpoints))}: what "
            "this node says of itself is contradicted there, again and again. If that is a copy of this node, stop one of them "
            "and give it a key of its own"
        )
        logger.warning("%s", text)
        for member in self._members.values():
            worker = member.worker
            worker.tell(GroupEvent(kind="twin suspected", term=worker.engine.term, peer=address.peer_id, text=text))

    async def _release(self, member: _Member) -> None:
        member.handles -= 1
        if member.handles == 0 and self._members.get(member.membership.group) is member:
            with anyio.CancelScope(shield=True), anyio.move_on_after(self._config.shutdown_timeout):
                await self._stop(member)
            member.worker.close()

    async def _stop(self, member: _Member) -> None:
        """Hand over the leadership if there is somebody to take it, then stop for now."""
        self._members.pop(member.membership.group, None)
        self._announce()
        # Some of the time is for the goodbye, and for what else runs on this node.
        await member.worker.shut_down(within=0.6 * self._config.shutdown_timeout)

    async def _accept_bond(self, link: Link) -> None:
        # Whom a validator keeps out gets the answer of one who asks for a group that is not here.
        groups = {
            member.membership.group.key: member.membership
            for member in self._members.values()
            if member.binder.allows(link.peer_id)
        }
        try:
            accepted = await accept_bond(link, self._live().peer_id, groups)
        except (LinkClosed, TimeoutError):
            link.close("the bond was not proven in time")
            return
        if accepted is None:
            logger.debug("refused a bond to %s", link.peer_id.short)
            return
        bond, group = accepted
        member = self._members.get(GroupId(group))
        if member is None:
            link.close("the member stops")
            return
        await member.binder.hold(bond)

    async def _turn_away(self, link: Link) -> None:
        """A peer asks for a bond as release 0.1 did."""
        self._say_older(link.peer_id)
        link.close(FORMER)

    def _say_older(self, peer_id: PeerId) -> None:
        """Say once of a peer that it is too old to be in a group with this node."""
        if peer_id not in self._older and len(self._older) < MAX_OLDER:
            self._older.add(peer_id)
            logger.warning("%s runs an older release (0.1) and forms no group with this one; upgrade it", peer_id.short)

    async def _tell_about(self, link: Link) -> None:
        await tell_about(link, self.id.key, __version__, self._own_tags())

    # --- inner workings

    def _close_directory(self) -> None:
        if self._directory is not None:
            self._directory.close()
            self._directory = None

    def _live(self) -> Endpoint:
        if os.getpid() != self._pid:
            raise GroupClosed(
                f"network {self.name!r} was entered by process {self._pid}, and this is a fork of it: enter a Network of "
                "this process's own, or use multiprocessing's start method 'spawn'"
            )
        if self._endpoint is None:
            raise GroupClosed(f"network {self.name!r} is not entered; use it as `async with Network(…) as net:`")
        return self._endpoint

    def _announce(self) -> None:
        assert self._discovery is not None
        self._discovery.set_groups(self._own_tags())

    def _own_tags(self) -> list[bytes]:
        """What this node announces: a tag of its own for each of its groups."""
        return [member.membership.tags.of(member.membership.me.peer_id) for member in self._members.values()]

    def _shares_group(self, peer_id: PeerId, tags: Collection[bytes]) -> bool:
        return any(member.membership.tags.of(peer_id) in tags for member in self._members.values())

    def _load_identity(self) -> SecretKey:
        if isinstance(self._identity, SecretKey):
            return self._identity
        path = Path(self._identity) if self._identity is not None else None
        if path is None and self._data_dir is not None:
            path = self._data_dir / "identity.key"
        if path is None:
            return SecretKey.generate()
        if path.exists():
            return SecretKey.load(path)
        key = SecretKey.generate()
        key.save(path)
        return key

    def _storage(self, group_id: GroupId) -> Storage:
        if self._directory is None:
            return MemoryStorage()
        return SqliteStorage(self._directory.path / "groups" / f"{group_id}.sqlite")


class GroupHandle:
    """What ``Network.group`` returns: enter it to run the group.

    Attributes:
        group_id: Known before it runs.
        former: What release 0.1 made a group's id of.
    """

    def __init__(
        self,
        network: Network,
        name: str,
        key: GroupKey,
        group_id: GroupId,
        machine: StateMachine,
        preference: LeadershipPreference,
        config: ConsensusConfig,
        validators: tuple[Validator, ...],
        former: Former,
        found: bool | None,
        ask_operator: bool,
    ) -> None:
        self.network = network
        self.name = name
        self.key = key
        self.group_id = group_id
        self.machine = machine
        self.preference = preference
        self.config = config
        self.validators = validators
        self.former = former
        self.found = found
        self.ask_operator = ask_operator
        self._member: _Member | None = None

    async def __aenter__(self) -> Group:
        self._member = await self.network._join(self)
        return self._member.group

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        member, self._member = self._member, None
        if member is not None:
            await self.network._release(member)
