"""The public handle of a group."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import anyio

from discovery import PeerInfo
from p2praft.config import ConsensusConfig
from p2praft.errors import (
    CommandFailed,
    ConfigError,
    NoCommands,
    NotAuthorized,
    Offline,
    OutcomeUnknown,
    P2PRaftError,
)
from p2praft.groups.archives import ArchiveInfo, Replayed, ShownEntry
from p2praft.groups.bond import Membership
from p2praft.groups.events import GroupEvent
from p2praft.groups.key import GroupId
from p2praft.groups.machine import StateMachine
from p2praft.groups.members import MemberInfo, members_of
from p2praft.groups.merging import MergeInfo, merge_info
from p2praft.groups.proposals import Call
from p2praft.groups.waiting import Flag
from p2praft.groups.waits import LOSABLE, waits_in_words
from p2praft.groups.when import When
from p2praft.groups.worker import Worker
from p2praft.raft.entries import MAX_COMMAND, MAX_ENTRY
from p2praft.raft.histories.states import Wait
from p2praft.raft.types import Cursor, Member
from transport import PeerId


class Consistency(StrEnum):
    """How fresh a query's answer must be.

    ``WEAK``: from this member's state, whatever its age; the answer says its index. ``STRONG``: linearizable, it
    reflects every command that was acknowledged anywhere before the query began.
    """

    WEAK = "weak"
    STRONG = "strong"


@dataclass(frozen=True, slots=True)
class QueryResult:
    """A query's answer.

    Attributes:
        value: What the state machine answered.
        index: The log index of the state that answered.
    """

    value: Any
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BondInfo:
    """A bonded member.

    Attributes:
        peer_id: Who.
        rtt: Smoothed round-trip time, in seconds; None before the first measurement.
    """

    peer_id: PeerId
    rtt: float | None


Span = Callable[[str, dict[str, Any]], AbstractContextManager[None]]
"""Opens what watches over one call: its name, and what it is about."""


class Group:
    """One member's handle of a group: commands, queries, state and events.

    Calls made one after the other on one handle take effect in that order, also if they overlap in time.
    """

    def __init__(self, membership: Membership, worker: Worker) -> None:
        self._membership = membership
        self._worker = worker
        self._encode = worker.applier.machine.encode
        self._decode = worker.applier.machine.decode
        self._when = When(self, worker)
        self._span: Span | None = None
        self._operator: str | None = None

    # --- state

    @property
    def id(self) -> GroupId:
        """Of key, network, name, and the state machine's name."""
        return self._membership.group

    @property
    def name(self) -> str:
        """As given to ``Network.group``."""
        return self._worker.name

    @property
    def config(self) -> ConsensusConfig:
        """The settings in force: the group's, whatever this member was told, and this member's own ``forward_timeout`` and
        ``query_timeout``."""
        return self._worker.config

    @property
    def machine(self) -> StateMachine:
        """This member's replica. Look at it only, and between two ``await``s; the log alone changes it."""
        return self._worker.applier.machine

    @property
    def leader(self) -> PeerId | None:
        """Who leads, as far as this member knows."""
        leader = self._worker.engine.leader
        return leader.peer_id if leader is not None else None

    @property
    def is_leader(self) -> bool:
        """Whether this member leads."""
        return not self._worker.closed and self._worker.engine.is_leader

    @property
    def role(self) -> str:
        """``leader``, ``candidate``, ``follower`` or ``observer``."""
        name = self._worker.engine.role.name
        if name == "follower" and self._worker.preference.is_observer:
            return "observer"
        return "candidate" if name == "founder" else name

    @property
    def term(self) -> int:
        """The latest term this member has seen."""
        return self._worker.engine.term

    @property
    def committed(self) -> int:
        """Highest index known to be committed."""
        return self._worker.engine.commit

    @property
    def applied(self) -> int:
        """Index of the last entry that this member's state machine has applied."""
        return self._worker.applier.index

    @property
    def log_position(self) -> Cursor:
        """Where this member's log ends."""
        return self._worker.engine.last

    @property
    def voters(self) -> tuple[PeerId, ...]:
        """The peers whose majority decides, in order."""
        return tuple(sorted(member.peer_id for member in self._worker.engine.voters))

    @property
    def bonds(self) -> Mapping[PeerId, BondInfo]:
        """Members bonded now."""
        return {peer: BondInfo(peer_id=peer, rtt=bond.rtt) for peer, bond in self._worker.bonds.items()}

    @property
    def members(self) -> tuple[MemberInfo, ...]:
        """This member, those bonded with it, and voters that are away; in order."""
        return members_of(self._worker)

    def announced_by(self, peer: PeerInfo) -> bool:
        """Whether a peer of the catalog says that it is in this group; only members can tell."""
        return self._membership.tags.announced_by(peer)

    def tag_of(self, peer_id: PeerId) -> bytes:
        """What a member announces of this group, 16 bytes: one of its :attr:`PeerInfo.groups`."""
        return self._membership.tags.of(peer_id)

    @property
    def online(self) -> bool:
        """Whether commands can be expected to succeed: a leader is known, reachable, and has committed."""
        return self._worker.online

    @property
    def waits_for(self) -> str | None:
        """What the group waits for, as this member sees it: a clause for people, without a subject.

        None while it waits for nothing, and when the group is closed.
        """
        worker = self._worker
        if worker.closed:
            return None
        here = sum(member.bonded and member.observer is not True for member in self.members)
        return waits_in_words(worker.engine.status(), worker.waits_for, expect=self.config.expect, here=here)

    @property
    def safe(self) -> bool:
        """Whether any one voter may be stopped: every voter of the set is there, caught up, and still what it was.

        By the leader's last word; False without a leader.
        """
        return not self._worker.closed and self._worker.engine.safe

    @property
    def catching_up(self) -> tuple[str, int, int] | None:
        """What this member is fetching from several others, as it is far behind: ``entries`` or a ``snapshot``, how many
        pieces have come, and of how many. None while it is not."""
        return self._worker.engine.catch_up.progress

    @property
    def failure(self) -> P2PRaftError | None:
        """Why the group stopped on this node, if it did so by itself: a :class:`~p2praft.StorageError`, say."""
        return self._worker.failure

    @property
    def when(self) -> When:
        """Conditions to wait for."""
        return self._when

    # --- commands and queries

    async def execute(self, command: Any, *, timeout: float = 10) -> Any:
        """Have a command committed and applied, exactly once, and return the state machine's result.

        Survives changes of the leader by itself.

        Args:
            command: A value that the state machine encodes.
            timeout: Seconds to wait.

        Raises:
            CommandFailed: The state machine refused it.
            Offline: No leader was found in time; nothing was sent.
            OutcomeUnknown: It was sent, but not settled in time; ``await error.wait()`` waits on.
            GroupClosed: The group closed first; whether the command was applied is then unknown.
        """
        return (await self._execute((command,), timeout))[0]

    async def execute_many(self, commands: Sequence[Any], *, timeout: float = 10) -> list[Any]:
        """As :meth:`execute` for several commands, applied without others in between; all their results.

        Raises:
            NoCommands: ``commands`` is empty.
            CommandFailed: The state machine refused one; the others were applied. Its ``results`` has what each gave.
        """
        return await self._execute(commands, timeout)

    async def feed(self, command: Any, *, timeout: float = 10) -> int:
        """Hand a command to the leader and return the index it got, without waiting for the commit.

        Should that leader fail, the command is handed to its successor, and then stands at another index.

        Raises:
            Offline: No leader was found in time; nothing was sent.
            OutcomeUnknown: It was sent, but no index came back in time.
        """
        return await self.feed_many([command], timeout=timeout)

    async def feed_many(self, commands: Sequence[Any], *, timeout: float = 10) -> int:
        """As :meth:`feed` for several commands, applied without others in between; they share one index."""
        call = await self._call(commands, timeout, Call.wait_index)
        if call.failure:
            raise call.failure
        return call.index

    async def query(
        self, query: Any, consistency: Consistency = Consistency.STRONG, *, timeout: float | None = None
    ) -> QueryResult:
        """Ask the state machine of this member.

        Args:
            query: What ``StateMachine.query`` takes.
            consistency: How fresh the answer must be.
            timeout: Seconds to wait for a strong answer; the group's ``query_timeout`` if None.

        Raises:
            Offline: No leader confirmed in time.
        """
        if self._span is None:
            return await self._query(query, consistency, timeout)
        with self._span("query", {"consistency": consistency.value}):
            return await self._query(query, consistency, timeout)

    async def _query(self, query: Any, consistency: Consistency, timeout: float | None) -> QueryResult:
        if consistency == Consistency.STRONG:
            timeout = self._worker.config.query_timeout if timeout is None else timeout
            if not await self._worker.read_index(timeout):
                raise Offline(
                    f"no leader of group {self.name!r} confirmed a strong read within {timeout:g} s "
                    f"({self._situation()}); try again, or use Consistency.WEAK for this member's own state"
                )
        applier = self._worker.applier
        return QueryResult(applier.query(query), applier.index)

    # --- operations

    async def transfer_leadership(self, to: PeerId | None = None, *, timeout: float = 10) -> PeerId:
        """Have this leader hand over to ``to``, or to the voter that suits best; the new leader.

        Raises:
            NotAuthorized: This member does not lead, or ``to`` is no voter that could.
            Offline: The hand-over did not happen in time.
        """
        if not self.is_leader:
            leader = self.leader
            raise NotAuthorized(
                f"this member does not lead group {self.name!r}; ask {leader.short if leader else 'its leader'} to hand over"
            )
        voters = [member for member in self._worker.engine.voters if member.peer_id != self._worker.me.peer_id]
        targets = [member for member in voters if to is None or member.peer_id == to]
        if not targets or (to is not None and to not in self._worker.bonds):
            whom = to.short if to else "anybody"
            raise NotAuthorized(f"cannot hand group {self.name!r} over to {whom}: it is not a bonded voter")
        self._worker.transfer(targets[0] if to is not None else None)
        try:
            with anyio.fail_after(timeout):
                return await self.when.leader_changed()
        except TimeoutError:
            raise Offline(f"group {self.name!r} kept its leader: nobody took over within {timeout:g} s") from None

    async def leave(self, *, timeout: float = 10) -> None:
        """Leave the group for good: this member stops being a voter, and the handle closes.

        Raises:
            Offline: The others did not let it go in time (they need a live majority without it); it is still a member.
        """
        worker = self._worker
        worker.leave()
        try:
            with anyio.fail_after(timeout):
                while not worker.has_left:
                    if self.is_leader:
                        worker.transfer(None)
                    with anyio.move_on_after(0.2):
                        await worker.wait_change()
        except TimeoutError:
            worker.leave(leaving=False)
            raise Offline(f"group {self.name!r} did not let this member go within {timeout:g} s") from None
        worker.close()
        await worker.wait_done()

    async def recover(self, lost: Sequence[PeerId] | None = None, *, timeout: float = 30) -> list[PeerId]:
        """Declare members lost for ever, so that those that are left go on: for disks that burnt, which nothing can prove.

        What no remaining member holds is lost with them. A machine that was declared lost and comes back with its old data
        goes on as a new member. Ask one remaining member, an observer too; it tells the others.

        Args:
            lost: Whom; None for those that this member waits for now (:attr:`waits_for` names them).
            timeout: Seconds to wait until the group works again.

        Returns:
            Who was declared lost.

        Raises:
            NotAuthorized: The group works, or there is nobody to declare lost, or one of ``lost`` is there.
            Offline: Those that are left did not elect a leader in time.
        """
        worker = self._worker
        if self.online:
            raise NotAuthorized(f"group {self.name!r} has a leader and works; there is nothing to recover")
        gone = self._losable() if lost is None else [member for member in self._awaited() if member.peer_id in lost]
        if present := [member.peer_id.short for member in gone if member in self._there()]:
            raise NotAuthorized(f"cannot declare {', '.join(present)} lost: it is here, with all that it held")
        if not gone:
            raise NotAuthorized(
                f"group {self.name!r} waits for no member that is away; there is nobody to declare lost ({self._situation()})"
            )
        with self._operating("recover"):
            worker.recover(gone)
            await self._until_online(timeout, "those that are left")
        return [member.peer_id for member in gone]

    @property
    def losable(self) -> tuple[PeerId, ...]:
        """Whom :meth:`recover` would declare lost, if nobody is named to it."""
        return () if self.online else tuple(member.peer_id for member in self._losable())

    def _losable(self) -> list[Member]:
        there, over = self._there(), self._worker.engine.status().over
        return [member for member in self._awaited() if member not in there and member not in over]

    def _awaited(self) -> list[Member]:
        """Those whom this member waits for, or might: in order."""
        status = self._worker.engine.status()
        waited = status.waits[1] if status.waits is not None and status.waits[0] in LOSABLE else ()
        return sorted({*status.voters, *waited})

    def _there(self) -> set[Member]:
        """Members that are here. A machine whose memory was wiped is back as another one: the lost one is not here."""
        worker = self._worker
        return {worker.me, *(bond.member for bond in worker.bonds.values())}

    async def abandon(self, *, timeout: float = 30) -> None:
        """Give up what this member holds of the group, and join the part of it that works: what it held is kept in an archive.

        For a member that waits for others in vain, while the group goes on elsewhere. What was acknowledged here and is not
        known there is in that archive alone.

        Args:
            timeout: Seconds to wait until this member is in the part that works.

        Raises:
            NotAuthorized: The group works here, or this member holds nothing.
            Offline: No working part of the group took it in time; what it held is in the archive all the same.
        """
        worker = self._worker
        if self.online:
            raise NotAuthorized(f"group {self.name!r} has a leader and works; there is nothing to abandon")
        if not worker.engine.voters:
            raise NotAuthorized(f"this member holds nothing of group {self.name!r}; there is nothing to abandon")
        with self._operating("abandon"):
            worker.abandon()
            await self._until_online(timeout, "another part of the group")

    async def merge(self, *, timeout: float = 30) -> None:
        """With ``on_meeting="ask"``: let this leader's part of the group end in favour of the other one that it has met.

        Args:
            timeout: Seconds to wait until this member is in the other part.

        Raises:
            NotAuthorized: This member does not lead, or has met no part that counts more.
            Offline: It did not happen in time; it still may.
        """
        worker = self._worker
        status = worker.engine.status()
        if status.waits is None or status.waits[0] is not Wait.OPERATOR:
            raise NotAuthorized(
                f"group {self.name!r} waits for no such word here; ask its leader, once that has met another part of the group"
            )
        with self._operating("merge"):
            worker.allow_merge()
            try:
                with anyio.fail_after(timeout):
                    while worker.engine.history == status.history or not self.online:
                        await worker.wait_change()
            except TimeoutError:
                raise Offline(
                    f"group {self.name!r} was not merged within {timeout:g} s ({self._situation()})"
                ) from None

    @property
    def met(self) -> MergeInfo | None:
        """The other part of the group that this member has met, and which of the two ends; None if it has met none lately.

        A leader hears of what its members meet; others know only whom they are bonded with.
        """
        return None if self._worker.closed else merge_info(self._worker.engine.status())

    @contextmanager
    def _operating(self, what: str) -> Iterator[None]:
        """One operator at a time: what two of them say at once need not fit together."""
        if self._operator is not None:
            raise NotAuthorized(
                f"somebody else has just said `{self._operator}` to group {self.name!r} on this node; wait for what comes of that"
            )
        self._operator = what
        try:
            yield
        finally:
            self._operator = None

    # --- archives

    async def archives(self) -> list[ArchiveInfo]:
        """The ended histories that this member has kept, the oldest first; one that cannot be read says so.

        Raises:
            StorageError: None of them can be read.
            GroupClosed: The group is closed on this node.
        """
        self._worker.check_open()
        return await self._worker.archives.look()

    async def archive_show(self, number: int, last: int = 20) -> list[ShownEntry]:
        """The last entries of an archive, with their commands.

        Raises:
            StorageError: There is none of that number, or it cannot be read or trusted.
            GroupClosed: The group is closed on this node.
        """
        self._worker.check_open()
        return await self._worker.archives.show(number, last)

    async def archive_export(self, number: int) -> Iterator[dict[str, Any]]:
        """All of an archive as values that JSON knows: first what it is, then the pieces of its state at the end, as
        ``{"state": …}``, then the commands of its entries.

        Raises:
            StorageError: There is none of that number, or it cannot be read, trusted, or taken by the state machine.
            GroupClosed: The group is closed on this node.
        """
        self._worker.check_open()
        return await self._worker.archives.export(number)

    async def archive_commands(self, number: int) -> list[Any]:
        """The commands that :meth:`archive_replay` would execute: those that took effect there, in their order.

        Raises:
            StorageError: As for :meth:`archive_export`.
            GroupClosed: The group is closed on this node.
        """
        self._worker.check_open()
        return await self._worker.archives.commands(number)

    async def archive_replay(self, number: int, *, timeout: float = 10) -> Replayed:
        """Execute the commands of an archive again. They are new commands: what was carried over already takes effect twice.

        Args:
            number: Of the archive.
            timeout: Seconds to wait for each 256 of them.

        Raises:
            NotAuthorized: It is being replayed at this moment.
            StorageError: As for :meth:`archive_export`; nothing was executed.
            Offline: There was no leader in time; the message says how many commands were executed before.
            OutcomeUnknown: The same, and up to 256 more may have been.
            GroupClosed: The group is closed on this node.
        """
        self._worker.check_open()
        return await self._worker.archives.replay(number, lambda batch: self.execute_many(batch, timeout=timeout))

    @property
    def left_aside(self) -> Mapping[int, str]:
        """What of this member's archives was not carried over, for people, by their number; as far as this process has seen."""
        return dict(self._worker.archives.aside)

    async def _until_online(self, timeout: float, who: str) -> None:
        try:
            with anyio.fail_after(timeout):
                await self.when.online()
        except TimeoutError:
            raise Offline(
                f"{who} had no leader for group {self.name!r} within {timeout:g} s ({self._situation()}); all of them must be up "
                "and reach each other"
            ) from None

    def events(self) -> AsyncIterator[GroupEvent]:
        """What happens from now on; ends when the group closes. A reader that is too slow loses the oldest of 1024."""
        return self._worker.events.subscribe()

    # --- inner workings

    def trace(self, span: Span | None) -> None:
        """Have every ``execute``, ``execute_many`` and ``query`` run within ``span``; None for no more of it."""
        self._span = span

    def _execute(self, commands: Sequence[Any], timeout: float) -> Awaitable[list[Any]]:
        return self._executed(commands, timeout) if self._span is None else self._traced(commands, timeout)

    async def _traced(self, commands: Sequence[Any], timeout: float) -> list[Any]:
        assert self._span is not None
        with self._span("execute", {"commands": len(commands)}):
            return await self._executed(commands, timeout)

    async def _executed(self, commands: Sequence[Any], timeout: float) -> list[Any]:
        return self._results(await self._call(commands, timeout))

    def _results(self, call: Call) -> list[Any]:
        if call.failure:
            raise call.failure
        results = [
            self._decode(result) if ok else CommandFailed(result.decode(errors="replace"))
            for ok, result in call.results
        ]
        for result in results:
            if isinstance(result, CommandFailed):
                result.results = results
                raise result
        return results

    def _encoded(self, commands: Sequence[Any]) -> tuple[bytes, ...]:
        encoded = tuple(map(self._encode, commands))
        if sum(map(len, encoded)) > MAX_COMMAND or not encoded:
            check_size(commands, encoded)
        return encoded

    async def _wait_room(self, commands: Sequence[Any], timeout: float) -> None:
        try:
            with anyio.fail_after(timeout):
                await self._worker.proposals.wait_room()
        except TimeoutError:
            raise Offline(self._offline_text(timeout), commands) from None

    async def _call(
        self, commands: Sequence[Any], timeout: float, until: Callable[[Call], Flag] = lambda call: call
    ) -> Call:
        """Hand commands over and wait for what ``until`` names; that they are settled, if nothing else is said."""
        encoded = self._encoded(commands)
        if not self._worker.proposals.has_room:
            await self._wait_room(commands, timeout)
        deadline = self._worker.deadline_after(timeout)
        call = self._worker.submit(encoded)
        try:
            flag = until(call)
            self._worker.expect(flag, deadline)
            done = await flag.wait()
        except BaseException:
            self._worker.proposals.withdraw(call)  # a cancelled call that never left takes no effect
            raise
        if done:
            return call
        if self._worker.proposals.withdraw(call):
            raise Offline(self._offline_text(timeout), commands)
        raise OutcomeUnknown(
            f"a command was handed to the leader of group {self.name!r}, but its outcome was not known within "
            f"{timeout:g} s ({self._situation()}); it takes effect at most once: `await error.wait()` waits on",
            self._settle(call),
        )

    def _settle(self, call: Call) -> Any:
        async def settle() -> list[Any]:
            while not await call.wait():
                pass
            return self._results(call)

        return settle

    def _offline_text(self, timeout: float) -> str:
        return f"no leader of group {self.name!r} took the command within {timeout:g} s ({self._situation()}); nothing was sent"

    def _situation(self) -> str:
        leader = self.leader
        bonds, voters = len(self._worker.bonds), len(self._worker.engine.voters)
        text = f"leader: {leader.short if leader else 'none'}, bonded with {bonds}, voters: {voters}"
        waits_for = None if leader else self.waits_for
        return f"{text}; it {waits_for}" if waits_for else text


def check_size(commands: Sequence[Any], encoded: Sequence[bytes]) -> None:
    """Whether commands fit into an entry.

    Raises:
        NoCommands: There are none.
        ConfigError: They do not.
    """
    if not encoded:
        raise NoCommands("no commands were given; pass at least one")
    sizes = list(map(len, encoded))
    size = max(sizes)
    if size > MAX_COMMAND:
        raise ConfigError(
            f"a command of {size} bytes ({type(commands[sizes.index(size)]).__name__}) is too large: "
            f"at most {MAX_COMMAND}; split it, or replicate a reference to the data instead"
        )
    if sum(sizes) > MAX_ENTRY:
        raise ConfigError(f"commands of together more than {MAX_ENTRY} bytes cannot be applied as one; split them")
