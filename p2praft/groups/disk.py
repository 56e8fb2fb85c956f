"""The thread that makes a group's writes durable, all that have queued up as one transaction (group commit).

It lives as long as the group runs: to take a thread for every write would cost a commit more than the disk does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

import anyio
import anyio.from_thread
import anyio.to_thread

from p2praft.errors import StorageError
from p2praft.raft.effects import ChunkWrite, Write
from p2praft.storage import Storage

logger = logging.getLogger("p2praft.group")

Queued = tuple[Write | ChunkWrite | None, Callable[[], None] | None]
"""What to write, if anything, and whom to tell."""


class DiskWriter:
    """Writes in the order in which it is told to.

    Args:
        storage: Whose :meth:`~p2praft.storage.Storage.write` waits for the disk.
        written: Called in the event loop with what has become durable, and how many seconds that took.
        failed: Called in the event loop when something could not be written; nothing is written any more then.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        written: Callable[[Sequence[Queued], float], None],
        failed: Callable[[StorageError], None],
    ) -> None:
        self._storage = storage
        self._written = written
        self._failed = failed
        self._queue: SimpleQueue[Queued | None] = SimpleQueue()
        self._stopped = False

    def put(self, write: Write | ChunkWrite | None, done: Callable[[], None] | None) -> None:
        """Have ``write`` made durable, and ``done`` called then; without a write, once all that was put before is durable."""
        self._queue.put((write, done))

    def stop(self) -> None:
        """Write what is queued, and end."""
        self._queue.put(None)

    async def run(self) -> None:
        """Write until :meth:`stop`; no cancellation ends it before."""
        # A limiter of its own: the thread is kept, and must not count as one of those that an application may use.
        await anyio.to_thread.run_sync(self._write_on, limiter=anyio.CapacityLimiter(1))

    # --- on the thread

    def _write_on(self) -> None:
        while batch := self._next():
            began = time.monotonic()
            try:
                self._storage.write([write for write, _ in batch if write is not None])
            except Exception as error:  # whatever it is: nothing was promised that is not there
                if not isinstance(error, StorageError):
                    logger.exception("a bug of ours in the storage")
                    error = StorageError(f"cannot write the log: {type(error).__name__}: {error}")
                anyio.from_thread.run_sync(self._failed, error)
                return
            anyio.from_thread.run_sync(self._written, batch, time.monotonic() - began)

    def _next(self) -> list[Queued]:
        """All that waits, once something does; nothing when it is time to end."""
        batch: list[Queued] = []
        while not self._stopped:
            try:
                queued = self._queue.get(block=not batch)
            except Empty:
                break
            if queued is None:
                self._stopped = True
            else:
                batch.append(queued)
        return batch
