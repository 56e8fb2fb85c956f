"""One member's snapshots: when one is due, how it is made in chunks beside the group's work, given to others, and taken.

What is captured at once is small (a shallow copy of the state); encoding and storing go chunk by chunk between the
worker's turns, so a large state holds up neither heartbeats nor commands.
"""

from __future__ import annotations

import hashlib
import logging
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread

from p2praft.errors import P2PRaftError
from p2praft.groups.absorbed import AbsorbedTable
from p2praft.groups.applier import Applier, Tables
from p2praft.groups.machine import StateMachine, pack, unpack
from p2praft.raft.catchup import digest_of
from p2praft.raft.effects import ChunkWrite, SendChunk
from p2praft.raft.entries import MAX_CHUNK, Base, LogEntry, Snapshot
from p2praft.raft.messages import FetchedChunk
from p2praft.raft.sessions import SessionTable
from p2praft.storage import Storage

logger = logging.getLogger("p2praft.group")

LOG_BYTES = 32 * 1024 * 1024
"""Bytes of entries after which a snapshot is due, however few they are."""
PINNED = 3.0
"""Seconds for which a snapshot that somebody fetches is not replaced after each of its chunks."""
UNSTORED = 16
"""Chunks that may wait for the disk."""

_LENGTH = struct.Struct(">I")


class Schedule:
    """When a snapshot is due: the same entries make it due on every member, so that their snapshots are alike.

    A large state is written more rarely: not before as many bytes of log have come as it has itself, so that snapshots
    at most double what is written.

    Args:
        every: Entries between two snapshots.
    """

    def __init__(self, every: int) -> None:
        self._every = every
        self._since = 0
        self._size = 0
        self._due = False

    def follow(self, every: int) -> None:
        """Take another number of entries: the group's."""
        self._every = every

    def note(self, entry: LogEntry) -> bool:
        """Count an applied entry; whether a snapshot is due behind it."""
        self._since += entry.size
        due = entry.index % self._every == 0 or self._since >= LOG_BYTES
        return due and self._since >= self._size

    def begin(self) -> None:
        """A snapshot is captured here."""
        self._since = 0

    def made(self, chunks: int) -> None:
        """A snapshot of so many chunks was made or taken."""
        self._size = chunks * MAX_CHUNK if chunks > 1 else 0


@dataclass(slots=True, eq=False)
class Making:
    """A snapshot that is being made.

    Attributes:
        base: Its position.
        pieces: Its bytes, still to be encoded.
        complete: All its chunks are on their way to the storage.
    """

    base: Base
    pieces: Iterator[bytes]
    complete: bool = False


class Snapshots:
    """Makes, gives and takes them.

    Args:
        applier: The state machine with its sessions.
        storage: Where chunks are.
        every: Entries between two snapshots.
        store: Queues a chunk for the storage and calls back once it is durable.
        made: Called once all chunks of a snapshot of our own are on their way to the storage.
        taken: Called with a fetched snapshot, its tables and its state, decoded.
        send: Sends an asked-for chunk.
        fail: Stops the group: a fetched snapshot cannot be read.
    """

    def __init__(
        self,
        *,
        applier: Applier,
        storage: Storage,
        every: int,
        store: Callable[[ChunkWrite, Callable[[], None]], None],
        made: Callable[[Making, Snapshot], None],
        taken: Callable[[Snapshot, Tables, Any], None],
        send: Callable[[SendChunk, FetchedChunk], None],
        fail: Callable[[P2PRaftError], None],
    ) -> None:
        self._applier = applier
        self._storage = storage
        self._store = store
        self._made = made
        self._taken = taken
        self._send = send
        self._fail = fail
        self._schedule = Schedule(every)
        self._making: Making | None = None
        self._requests: deque[SendChunk] = deque()
        self._fetched: Snapshot | None = None
        self._work = anyio.Event()
        self._unstored = self._resets = 0
        self._room = anyio.Event()
        self._pinned_until = float("-inf")

    # --- the worker

    def follow(self, every: int) -> None:
        """Take another number of entries between two snapshots: the group's."""
        self._schedule.follow(every)

    def on_applied(self, entry: LogEntry, base_at: Callable[[int], Base], now: float, *, fetching: bool) -> None:
        """An entry was applied: capture the state if a snapshot is due, and the storage's room for one is free."""
        if not self._schedule.note(entry) or self._making is not None or fetching or now < self._pinned_until:
            return
        try:
            pieces = encode(self._applier)
        except Exception:  # user code; without a snapshot the log grows, but nothing is lost
            logger.exception(
                "the state machine's snapshot() failed at entry %d: the log cannot be compacted", entry.index
            )
            return
        finally:
            self._schedule.begin()
        self._making = Making(base_at(entry.index), pieces)
        self._work.set()

    def give(self, request: SendChunk, now: float) -> None:
        """A member asks for a chunk."""
        self._pinned_until = now + PINNED
        self._requests.append(request)
        self._work.set()

    def give_up_making(self) -> None:
        """A snapshot is being fetched: the storage has room for one at a time."""
        self._making = None

    def reset(self) -> None:
        """The history is given up: what is being made or taken of it is of no use."""
        self._making = self._fetched = None
        self._resets += 1

    def finish(self, making: Making) -> bool:
        """Whether what was made still stands in the storage; another may be made then."""
        stands, self._making = self._making is making, None if self._making is making else self._making
        return stands

    def take(self, snapshot: Snapshot) -> None:
        """All chunks of a fetched snapshot are stored: decode it."""
        self._fetched = snapshot
        self._work.set()

    async def run(self) -> None:
        """Do what has been asked for, one thing after the other and nothing for long."""
        while True:
            await self._work.wait()
            self._work = anyio.Event()
            try:
                while self._requests:
                    await self._give(self._requests.popleft())
                if self._making is not None and not self._making.complete:
                    await self._make(self._making)
                await self._take()
            except P2PRaftError as error:
                self._fail(error)
                return

    async def restore(self, snapshot: Snapshot, *, pending: bool) -> tuple[Tables, Any]:
        """Read and decode a stored snapshot.

        Raises:
            StorageError: A chunk cannot be read or trusted.
            P2PRaftError: The state machine does not take it.
        """
        if self._storage.blocking:
            result = await anyio.to_thread.run_sync(self._decode, snapshot, pending)
        else:
            result = self._decode(snapshot, pending)
        self._schedule.begin()
        self._schedule.made(snapshot.chunks)
        return result

    # --- inner workings

    async def _take(self) -> None:
        fetched, self._fetched = self._fetched, None
        if fetched is None:
            return
        resets = self._resets
        try:
            tables, state = await self.restore(fetched, pending=True)
        except P2PRaftError:
            if resets == self._resets:
                raise
            return  # its chunks went with its history
        if resets == self._resets:
            self._taken(fetched, tables, state)

    async def _make(self, making: Making) -> None:
        digests: list[bytes] = []
        try:
            for data in cut(making.pieces):
                while self._unstored >= UNSTORED:
                    self._room = anyio.Event()
                    await self._room.wait()
                await anyio.lowlevel.checkpoint()
                while self._requests:
                    await self._give(self._requests.popleft())
                if self._making is not making:
                    return
                digests.append(hashlib.sha256(data).digest())
                self._unstored += 1
                self._store(ChunkWrite(number=len(digests) - 1, data=data), self._on_stored)
        except Exception as error:  # user code; without a snapshot the log grows, but nothing is lost
            problem = f"{type(error).__name__}: {error}"
            logger.error("the snapshot at entry %d cannot be encoded: %s", making.base.last.index, problem)
            self.finish(making)
            return
        making.complete = True
        self._schedule.made(len(digests))
        self._made(making, Snapshot(base=making.base, chunks=len(digests), digest=digest_of(digests)))

    def _on_stored(self) -> None:
        self._unstored -= 1
        self._room.set()

    async def _give(self, request: SendChunk) -> None:
        if self._storage.blocking:
            data = await anyio.to_thread.run_sync(self._storage.chunk, request.number)
        else:
            data = self._storage.chunk(request.number)
        self._send(request, FetchedChunk(digest=request.digest, number=request.number, data=data))

    def _decode(self, snapshot: Snapshot, pending: bool) -> tuple[Tables, Any]:
        chunks = self._chunks(snapshot, pending)
        try:
            tables, state = decode(self._applier.machine, chunks)
            tables.genesis = snapshot.base.past.genesis
            return tables, state
        except P2PRaftError:
            raise
        except Exception as error:  # user code
            raise P2PRaftError(
                f"the snapshot at entry {snapshot.base.last.index} cannot be decoded: {type(error).__name__}: {error}"
            ) from error

    def _chunks(self, snapshot: Snapshot, pending: bool) -> Iterator[bytes]:
        for number in range(snapshot.chunks):
            data = self._storage.chunk(number, pending=pending)
            if data is None:
                raise P2PRaftError(f"chunk {number} of the snapshot at entry {snapshot.base.last.index} is missing")
            yield data


def encode(applier: Applier) -> Iterator[bytes]:
    """The applier's state as of now, in pieces: the tables with their length before them, then the machine's own."""
    head = pack({"sessions": applier.sessions.dump(), "absorbed": applier.absorbed.dump()})
    machine: StateMachine = applier.machine
    pieces = machine.chunks(machine.snapshot())

    def all_pieces() -> Iterator[bytes]:
        yield _LENGTH.pack(len(head)) + head
        yield from pieces

    return all_pieces()


def decode(machine: StateMachine, chunks: Iterable[bytes]) -> tuple[Tables, Any]:
    """The tables and the machine's snapshot that :func:`encode` made; the machine itself is left as it is.

    What release 0.1 made begins with the list of sessions alone.
    """
    rest = iter(chunks)
    data = bytearray()
    while len(data) < _LENGTH.size or len(data) < _LENGTH.size + _LENGTH.unpack_from(data)[0]:
        data += next(rest)
    end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    head = unpack(bytes(data[_LENGTH.size : end]))
    if isinstance(head, list):
        tables = Tables(sessions=SessionTable.load(head))
    else:
        tables = Tables(SessionTable.load(head["sessions"]), AbsorbedTable.load(head["absorbed"]))

    def tail() -> Iterator[bytes]:
        yield bytes(data[end:])
        yield from rest

    return tables, machine.join(tail())


def cut(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in chunks of the largest size but for the last; at least one chunk."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        while len(buffer) > MAX_CHUNK:
            yield bytes(buffer[:MAX_CHUNK])
            del buffer[:MAX_CHUNK]
    yield bytes(buffer)
