"""One member's archives, read beside its running group, and executed again on an operator's word."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import anyio.to_thread

from p2praft.errors import CommandFailed, NotAuthorized, P2PRaftError
from p2praft.groups.applier import Applier
from p2praft.groups.archives import (
    ArchiveInfo,
    Replayed,
    ShownEntry,
    commands_to_replay,
    export,
    list_archives,
    show,
)
from p2praft.groups.lineage import Loaded, load
from p2praft.raft.entries import MAX_COMMAND
from p2praft.storage import Storage

BATCH = 256
"""Commands of one call at most."""

T = TypeVar("T")


class Shelf:
    """Reads a member's archives. The storage is read on a thread if it blocks; the machine is used between two ``await``s.

    Args:
        storage: Has them.
        applier: Its machine rebuilds their states, and is then as it was.

    Attributes:
        aside: What was not carried over of an archive, for people, by its number; as far as this process has seen.
    """

    def __init__(self, storage: Storage, applier: Applier) -> None:
        self.aside: dict[int, str] = {}
        self._storage = storage
        self._applier = applier
        self._replaying: set[int] = set()

    async def look(self) -> list[ArchiveInfo]:
        """All of them, the oldest first.

        Raises:
            StorageError: The storage cannot be read.
        """
        found = await self._read(lambda: list_archives(self._storage))
        return [replace(info, aside=self.aside.get(info.number, "")) for info in found]

    async def show(self, number: int, last: int) -> list[ShownEntry]:
        """The last entries of one.

        Raises:
            StorageError: There is none of that number, or it cannot be read or trusted.
        """
        return show(await self._load(number), self._applier.machine, last)

    async def export(self, number: int) -> Iterator[dict[str, Any]]:
        """One as values that JSON knows.

        Raises:
            StorageError: As for :meth:`show`, or the machine does not take it.
        """
        return export(await self._load(number), self._applier.machine, self._applier.pristine)

    async def commands(self, number: int) -> list[Any]:
        """The commands of one that took effect, in their order.

        Raises:
            StorageError: As for :meth:`export`.
        """
        return commands_to_replay(await self._load(number), self._applier.machine, self._applier.pristine)

    async def replay(self, number: int, execute: Callable[[Sequence[Any]], Awaitable[Any]]) -> Replayed:
        """Execute the commands of one again, as new commands.

        Args:
            number: Of the archive.
            execute: Executes several, as ``Group.execute_many`` does.

        Raises:
            NotAuthorized: They are being executed at this moment.
            StorageError: As for :meth:`export`; nothing was executed.
            P2PRaftError: Of ``execute``; the message says how many were executed before.
        """
        if number in self._replaying:
            raise NotAuthorized(
                f"archive {number} is being replayed already, on this node: wait for the end of that, and look at its result"
            )
        self._replaying.add(number)
        try:
            return await self._replay(number, await self.commands(number), execute)
        finally:
            self._replaying.discard(number)

    async def _replay(
        self, number: int, commands: Sequence[Any], execute: Callable[[Sequence[Any]], Awaitable[Any]]
    ) -> Replayed:
        done = failed = 0
        for batch in self._batches(commands):
            try:
                await execute(batch)
            except CommandFailed as error:
                failed += sum(isinstance(result, CommandFailed) for result in error.results)
            except P2PRaftError as error:
                error.args = (
                    f"{error}; of archive {number}, {done} of {len(commands)} commands were executed again before that",
                    *error.args[1:],
                )
                raise
            done += len(batch)
        return Replayed(commands=done, failed=failed)

    def _batches(self, commands: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """As many as fit into one call, in their order."""
        encode = self._applier.machine.encode
        batch: list[Any] = []
        room = MAX_COMMAND
        for command in commands:
            size = len(encode(command))
            if batch and (size > room or len(batch) == BATCH):
                yield batch
                batch, room = [], MAX_COMMAND
            batch.append(command)
            room -= size
        if batch:
            yield batch

    async def _load(self, number: int) -> Loaded:
        return await self._read(lambda: load(self._storage, number))

    async def _read(self, read: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(read) if self._storage.blocking else read()
