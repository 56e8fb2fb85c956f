"""``group.when``: waiting for conditions. Each waits on the worker's changes and returns as soon as it holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from p2praft.groups.worker import Worker
from transport import PeerId

if TYPE_CHECKING:
    from p2praft.groups.group import Group


class IndexWatcher:
    """Waits on a number that mostly grows: the commit index, or the end of the log.

    Args:
        worker: Whose changes to wait on.
        read: The number's present value.
    """

    def __init__(self, worker: Worker, read: Callable[[], int]) -> None:
        self._worker = worker
        self._read = read

    async def reaches(self, index: int) -> int:
        """Wait until it is at least ``index``; the value then."""
        return await self._until(lambda value: value >= index)

    async def advanced(self) -> int:
        """Wait until it is above its present value; the value then."""
        start = self._read()
        return await self._until(lambda value: value > start)

    async def changed(self) -> int:
        """Wait until it differs from its present value; the value then."""
        start = self._read()
        return await self._until(lambda value: value != start)

    async def reverted(self) -> int:
        """Wait until it is below its highest value so far; the value then.

        The log reverts when a new leader replaces what its predecessor had not committed; the commit index only when
        the member takes up another history.
        """
        highest = self._read()

        def fell(value: int) -> bool:
            nonlocal highest
            highest = max(highest, value)
            return value < highest

        return await self._until(fell)

    async def _until(self, holds: Callable[[int], bool]) -> int:
        while not holds(value := self._read()):
            await self._worker.wait_change()
        return value


class When:
    """Awaitable conditions of one group. All raise :class:`~p2praft.GroupClosed` if the group closes first.

    Attributes:
        committed: The highest index known to be committed.
        log: The index of the newest entry in this member's log.
        applied: The index of the last entry that this member's state machine has applied.
    """

    def __init__(self, group: Group, worker: Worker) -> None:
        self._group = group
        self._worker = worker
        self.committed = IndexWatcher(worker, lambda: group.committed)
        self.log = IndexWatcher(worker, lambda: group.log_position.index)
        self.applied = IndexWatcher(worker, lambda: worker.applier.index)

    def watcher(self, read: Callable[[], int]) -> IndexWatcher:
        """Waits on a number of the application's, which ``read`` takes from the state machine's state."""
        return IndexWatcher(self._worker, read)

    async def online(self) -> None:
        """Wait until commands can be expected to succeed: a leader is known, reachable, and has committed."""
        await self._until(lambda: self._group.online)

    async def offline(self) -> None:
        """Wait until that is not so."""
        await self._until(lambda: not self._group.online)

    async def safe(self) -> None:
        """Wait until any one voter may be stopped: every voter is there, caught up, and still what it was."""
        await self._until(lambda: self._group.safe)

    async def leader_elected(self) -> PeerId:
        """Wait until a leader is known; which."""
        await self._until(lambda: self._group.leader is not None)
        leader = self._group.leader
        assert leader is not None
        return leader

    async def leader_changed(self) -> PeerId:
        """Wait until another leader than the present one is known; which."""
        before = self._group.leader
        await self._until(lambda: self._group.leader not in (None, before))
        leader = self._group.leader
        assert leader is not None
        return leader

    async def leader_is(self, peer_id: PeerId) -> None:
        """Wait until ``peer_id`` leads."""
        await self._until(lambda: self._group.leader == peer_id)

    async def is_leader(self) -> None:
        """Wait until this member leads."""
        await self._until(lambda: self._group.is_leader)

    async def is_follower(self) -> None:
        """Wait until this member follows a leader."""
        await self._until(lambda: self._group.leader is not None and not self._group.is_leader)

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await self._worker.wait_change()
