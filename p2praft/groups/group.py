"""The public handle of a group."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import anyio

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
from p2praft.groups.events import GroupEvent
from p2praft.groups.gate import expected_in_words, in_words
from p2praft.groups.key import GroupId
from p2praft.groups.machine import StateMachine
from p2praft.groups.members import MemberInfo, members_of
from p2praft.groups.proposals import Call
from p2praft.groups.waiting import Flag
from p2praft.groups.when import When
from p2praft.groups.worker import Worker
from p2praft.raft.messages import MAX_COMMAND, MAX_ENTRY, Cursor
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

    def __init__(self, group_id: GroupId, worker: Worker) -> None:
        self._id = group_id
        self._worker = worker
        self._encode = worker.applier.machine.encode
        self._decode = worker.applier.machine.decode
        self._when = When(self, worker)
        self._span: Span | None = None

    # --- state

    @property
    def id(self) -> GroupId:
        """Of key, name, network, settings, state machine and validators."""
        return self._id

    @property
    def name(self) -> str:
        """As given to ``Network.group``."""
        return self._worker.name

    @property
    def config(self) -> ConsensusConfig:
        """The settings all members share."""
        return self._worker.config

    @property
    def machine(self) -> StateMachine:
        """This member's replica. Look at it only, and between two ``await``s; the log alone changes it."""
        return self._worker.applier.machine

    @property
    def leader(self) -> PeerId | None:
        """Who leads, as far as this member knows."""
        leader = self._worker.engine.leader
        if leader is None or not self._worker.engine.ctx.founded:
            return None
        return leader.peer_id

    @property
    def is_leader(self) -> bool:
        """Whether this member leads."""
        return not self._worker.closed and self._worker.engine.is_leader

    @property
    def role(self) -> str:
        """``leader``, ``candidate``, ``follower`` or ``observer``."""
        name = self._worker.engine.role.name
        return "observer" if name == "follower" and self._worker.preference.is_observer else name

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

    @property
    def online(self) -> bool:
        """Whether commands can be expected to succeed: a leader is known, reachable, and has committed."""
        return self._worker.online

    @property
    def waits_for(self) -> str | None:
        """What the group waits for before it is founded, as this member sees it: a clause for people, without a subject.

        None once there is a history, committed or not, and when the group is closed.
        """
        worker = self._worker
        if worker.closed or worker.engine.voters:
            return None
        if worker.waits_for is not None:
            return in_words(worker.waits_for)
        here = sum(member.bonded and member.observer is not True for member in self.members)
        return expected_in_words(self.config.expect, here)

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
        """Declare voters lost for ever, so that those that are left go on: for disks that burnt, which nothing can prove.

        What no remaining voter holds is lost with them. Whoever was declared lost must never come back with its old
        data: a node that tries is refused, and says so. Ask one remaining voter; it tells the others.

        Args:
            lost: Whom; None for every voter that this member is not bonded with now.
            timeout: Seconds to wait until the group works again.

        Returns:
            Who was declared lost.

        Raises:
            NotAuthorized: The group works, or this member is none of its voters, or one of ``lost`` is there.
            Offline: The voters that are left did not elect a leader in time.
        """
        worker = self._worker
        voters = worker.engine.voters
        if self.online:
            raise NotAuthorized(f"group {self.name!r} has a leader and works; there is nothing to recover")
        if worker.me not in voters:
            raise NotAuthorized(f"this member is no voter of group {self.name!r}; ask one that is")
        gone = [
            member
            for member in voters
            if member != worker.me and (member.peer_id not in worker.bonds if lost is None else member.peer_id in lost)
        ]
        present = [member.peer_id.short for member in gone if member.peer_id in worker.bonds]
        if present:
            raise NotAuthorized(f"cannot declare {', '.join(present)} lost: it is bonded with this member now")
        if not gone:
            raise NotAuthorized(f"every voter of group {self.name!r} is here; there is nobody to declare lost")
        worker.recover(gone)
        try:
            with anyio.fail_after(timeout):
                await self.when.online()
        except TimeoutError:
            raise Offline(
                f"the voters that are left of group {self.name!r} elected no leader within {timeout:g} s "
                f"({self._situation()}); all of them must be up and reach each other"
            ) from None
        return [member.peer_id for member in gone]

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
        return f"leader: {leader.short if leader else 'none'}, bonded with {bonds}, voters: {voters}"


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
