"""A network and its groups, for threads that block."""

from __future__ import annotations

import atexit
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from discovery import NetworkId, PeerEvent, PeerInfo, Peers as AsyncPeers
from p2praft.blocking.loop import Events, Loop, Seen, When, within
from p2praft.config import ConsensusConfig, LeadershipPreference, NetworkConfig
from p2praft.errors import GroupClosed, OutcomeUnknown, P2PRaftError
from p2praft.groups.archives import ArchiveInfo, Replayed, ShownEntry
from p2praft.groups.binder import Validator
from p2praft.groups.events import GroupEvent
from p2praft.groups.group import BondInfo, Consistency, Group as AsyncGroup, QueryResult
from p2praft.groups.key import GroupId, GroupKey
from p2praft.groups.machine import StateMachine
from p2praft.groups.merging import MergeInfo
from p2praft.network import GroupHandle as AsyncGroupHandle, Network as AsyncNetwork
from p2praft.raft.types import Cursor
from transport import PeerAddr, PeerId, SecretKey, Transport


class Peers:
    """The catalog: who else is in the network; see :class:`p2praft.Peers`."""

    def __init__(self, loop: Loop, inner: AsyncPeers) -> None:
        self._loop = loop
        self._inner = inner
        self.when = When(loop, inner.when)

    def __len__(self) -> int:
        return self._loop.see(lambda: len(self._inner))

    def __iter__(self) -> Iterator[PeerInfo]:
        return iter(self._loop.see(lambda: list(self._inner)))

    def get(self, peer_id: PeerId) -> PeerInfo | None:
        """What is known of a peer, or None."""
        return self._loop.see(lambda: self._inner.get(peer_id))

    def explain(self, peer_id: PeerId) -> str:
        """What was tried to reach a peer, and what came of it."""
        return self._loop.see(lambda: self._inner.explain(peer_id))

    def events(self) -> Events[PeerEvent]:
        """What happens from now on."""
        return Events(self._loop, self._inner.events)


class Group:
    """One member's handle of a group; see :class:`p2praft.Group`."""

    id = Seen[GroupId]()
    name = Seen[str]()
    config = Seen[ConsensusConfig]()
    leader = Seen[PeerId | None]()
    is_leader = Seen[bool]()
    met = Seen[MergeInfo | None]()
    left_aside = Seen[Mapping[int, str]]()
    role = Seen[str]()
    term = Seen[int]()
    committed = Seen[int]()
    applied = Seen[int]()
    log_position = Seen[Cursor]()
    voters = Seen[tuple[PeerId, ...]]()
    bonds = Seen[Mapping[PeerId, BondInfo]]()
    online = Seen[bool]()
    waits_for = Seen[str | None]()
    safe = Seen[bool]()
    losable = Seen[tuple[PeerId, ...]]()
    failure = Seen[P2PRaftError | None]()

    def __init__(self, loop: Loop, inner: AsyncGroup) -> None:
        self._loop = loop
        self._inner = inner
        self.when = When(loop, inner.when)

    def execute(self, command: Any, *, timeout: float = 10) -> Any:
        """Have a command committed and applied, exactly once; the state machine's result."""
        return self._loop.call(lambda: self._inner.execute(command, timeout=timeout))

    def execute_many(self, commands: Sequence[Any], *, timeout: float = 10) -> list[Any]:
        """As :meth:`execute` for several commands, applied without others in between."""
        return self._loop.call(lambda: self._inner.execute_many(commands, timeout=timeout))

    def feed(self, command: Any, *, timeout: float = 10) -> int:
        """Hand a command to the leader; the index it got."""
        return self._loop.call(lambda: self._inner.feed(command, timeout=timeout))

    def feed_many(self, commands: Sequence[Any], *, timeout: float = 10) -> int:
        """As :meth:`feed` for several commands."""
        return self._loop.call(lambda: self._inner.feed_many(commands, timeout=timeout))

    def settle(self, error: OutcomeUnknown, *, timeout: float | None = None) -> list[Any]:
        """Wait on for what an :class:`~p2praft.OutcomeUnknown` was about: the results of those same commands."""
        return self._loop.call(within, timeout, error.wait)

    def query(
        self, query: Any, consistency: Consistency = Consistency.STRONG, *, timeout: float | None = None
    ) -> QueryResult:
        """Ask the state machine of this member."""
        return self._loop.call(lambda: self._inner.query(query, consistency, timeout=timeout))

    def transfer_leadership(self, to: PeerId | None = None, *, timeout: float = 10) -> PeerId:
        """Have this leader hand over; the new leader."""
        return self._loop.call(lambda: self._inner.transfer_leadership(to, timeout=timeout))

    def leave(self, *, timeout: float = 10) -> None:
        """Leave the group for good."""
        self._loop.call(lambda: self._inner.leave(timeout=timeout))

    def recover(self, lost: Sequence[PeerId] | None = None, *, timeout: float = 30) -> list[PeerId]:
        """Declare voters lost for ever."""
        return self._loop.call(lambda: self._inner.recover(lost, timeout=timeout))

    def abandon(self, *, timeout: float = 30) -> None:
        """Give up what this member holds, and join the part of the group that works."""
        self._loop.call(lambda: self._inner.abandon(timeout=timeout))

    def merge(self, *, timeout: float = 30) -> None:
        """Let this part of the group end in favour of the one that it has met."""
        self._loop.call(lambda: self._inner.merge(timeout=timeout))

    def archives(self) -> list[ArchiveInfo]:
        """The ended histories that this member has kept."""
        return self._loop.call(self._inner.archives)

    def archive_show(self, number: int, last: int = 20) -> list[ShownEntry]:
        """The last entries of an archive, with their commands."""
        return self._loop.call(self._inner.archive_show, number, last)

    def archive_export(self, number: int) -> Iterator[dict[str, Any]]:
        """All of an archive as values that JSON knows."""
        return self._loop.call(self._inner.archive_export, number)

    def archive_commands(self, number: int) -> list[Any]:
        """The commands that :meth:`archive_replay` would execute."""
        return self._loop.call(self._inner.archive_commands, number)

    def archive_replay(self, number: int, *, timeout: float = 10) -> Replayed:
        """Execute the commands of an archive again, as new commands."""
        return self._loop.call(lambda: self._inner.archive_replay(number, timeout=timeout))

    def announced_by(self, peer: PeerInfo) -> bool:
        """Whether a peer of the catalog says that it is in this group."""
        return self._loop.see(lambda: self._inner.announced_by(peer))

    def events(self) -> Events[GroupEvent]:
        """What happens from now on."""
        return Events(self._loop, self._inner.events)


class GroupHandle:
    """What :meth:`Network.group` returns: enter it, or :meth:`open` it, to run the group."""

    def __init__(self, loop: Loop, handle: AsyncGroupHandle) -> None:
        self._loop = loop
        self._handle = handle
        self._entered: ExitStack | None = None

    def open(self) -> Group:
        """Run the group until :meth:`close`, or until its network is left."""
        inner, self._entered = self._loop.enter(self._handle)
        return Group(self._loop, inner)

    def close(self) -> None:
        """Stop for now, after handing over the leadership; idempotent."""
        entered, self._entered = self._entered, None
        if entered is not None and not self._loop.forked:
            entered.close()

    def __enter__(self) -> Group:
        return self.open()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Network:
    """A node in a named network, with an event loop on a thread of its own; arguments as of :class:`p2praft.Network`."""

    id = Seen[NetworkId]()
    peer_id = Seen[PeerId]()
    address = Seen[PeerAddr]()

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
    ) -> None:
        self.name = name
        self._inner = AsyncNetwork(
            name,
            identity=identity,
            listen=listen,
            advertise=advertise,
            seeds=seeds,
            tags=tags,
            data_dir=data_dir,
            transport=transport,
            config=config,
        )
        self._running: tuple[Loop, ExitStack] | None = None

    def open(self) -> Self:
        """Bind the socket and join; it runs until :meth:`close`, at the latest until the interpreter exits."""
        if self._running is not None:
            raise GroupClosed(f"network {self.name!r} is open already")
        loop = Loop(f"network {self.name!r}")
        try:
            _, entered = loop.enter(self._inner)
        except BaseException:
            loop.stop()
            raise
        self._running = loop, entered
        atexit.register(self.close)
        return self

    def close(self) -> None:
        """Leave the network, with all its groups; idempotent. Other threads' calls end with an error."""
        running, self._running = self._running, None
        if running is None:
            return
        loop, entered = running
        atexit.unregister(self.close)
        if loop.forked:
            return
        try:
            entered.close()
        finally:
            loop.stop()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def peers(self) -> Peers:
        """The catalog."""
        return Peers(self._loop, self._loop.see(lambda: self._inner.peers))

    @property
    def groups(self) -> Mapping[GroupId, Group]:
        """The groups that run on this node."""
        running = self._loop.see(lambda: self._inner.groups)
        return {group_id: Group(self._loop, group) for group_id, group in running.items()}

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
        """Join a group while the context lasts, as of :meth:`p2praft.Network.group`."""
        handle = self._inner.group(
            name,
            secret=secret,
            machine=machine,
            preference=preference,
            consensus=consensus,
            validators=validators,
            found=found,
            on_meeting=on_meeting,
        )
        return GroupHandle(self._loop, handle)

    @property
    def _loop(self) -> Loop:
        if self._running is None:
            raise GroupClosed(f"network {self.name!r} is not open; use it as `with Network(…) as net:`, or call open()")
        return self._running[0]
