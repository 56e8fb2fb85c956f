"""What the ready-made structures share. A new one writes a frozen state, a machine that changes it, and a handle.

- The *machine* applies commands, lists that begin with an operation's name, and keeps its data in immutable trees
  (:class:`~p2praft.collections.sorted.SortedMap`). So a snapshot is a handful of references, made in O(1) and encoded later
  beside the work; and the handle, which lives in the same process, reads one without copying or pausing anything.
- Every change gets a *version*, counting up one by one, and is noted in a bounded history that is part of the state.
- The *handle* reads the member's own state, for a strong read after the leader has confirmed that it is fresh enough.
- A *watch* reads the history. The history is its buffer: whoever is slow, cut off or restarted goes on from the version that it
  has seen, and gets a reset with the whole state where the history no longer reaches back, so that nothing is ever missed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

import anyio.lowlevel
import msgpack

from p2praft.collections.history import Change, History
from p2praft.errors import GroupClosed, Offline, P2PRaftError
from p2praft.groups.group import Consistency, Group
from p2praft.groups.machine import ApplyContext, StateMachine, pack
from p2praft.groups.when import IndexWatcher

E = TypeVar("E")
M = TypeVar("M", bound="StructureMachine")

BATCH = 256
"""Rows of a snapshot that are encoded together, and changes that a watch takes at a time."""


class StructureError(P2PRaftError, ValueError):
    """An argument that the structure does not take; the message names it and the bound."""


class StructureMachine(StateMachine):
    """A state machine whose commands are lists that begin with an operation's name.

    Attributes:
        commands: Handlers by operation; each takes the context and the rest of the list.
        history: The latest changes; its version is the structure's.
        time: The log's time: that of the last command applied.
        origin: Of the first command applied: states of one origin share one past. Empty before that.
    """

    def __init__(self) -> None:
        self.commands: dict[str, Callable[..., Any]] = {}
        self.history = History()
        self.time = 0.0
        self.origin = ""

    @property
    def version(self) -> int:
        """How many changes the structure has seen."""
        return self.history.version

    def apply(self, command: Any, ctx: ApplyContext) -> Any:
        if not self.origin:
            self.origin = f"{ctx.time!r} {ctx.index} {ctx.peer_id}"
        self.time = ctx.time
        self.on_time()
        operation, *arguments = command
        return self.commands[operation](ctx, *arguments)

    def on_time(self) -> None:
        """The log's time has moved on; called before each command."""

    def query(self, query: Any) -> Any:
        """The version: handles read the state itself, and ask only to know that it is fresh."""
        return self.version


def dump_rows(*parts: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """MessagePack bytes of rows, in batches: what a structure's ``chunks`` is made of."""
    for part in parts:
        rows = iter(part)
        while batch := tuple(islice(rows, BATCH)):
            yield pack(batch)


def load_rows(chunks: Iterable[bytes]) -> Iterator[list[Any]]:
    """The rows whose bytes :func:`dump_rows` made, cut anywhere."""
    unpacker = msgpack.Unpacker(timestamp=3, strict_map_key=False, max_buffer_size=0)
    for chunk in chunks:
        unpacker.feed(chunk)
        for batch in unpacker:
            yield from batch


def take(rows: Iterator[list[Any]], count: int) -> Iterator[list[Any]]:
    """The next ``count`` rows.

    Raises:
        ValueError: There are fewer.
    """
    for _ in range(count):
        row = next(rows, None)
        if row is None:
            raise ValueError("the snapshot's bytes end too early")
        yield row


class StructureReader(Generic[M]):
    """What every handle can: know the version, wait for one, read a fresh state.

    Args:
        group: What replicates the structure.
        kind: The machine that it must have been opened with.

    Attributes:
        when: Waits on the version of this member's state: ``reaches(version)``, ``advanced()``, ``changed()``.
    """

    def __init__(self, group: Group, kind: type[M]) -> None:
        if not isinstance(group.machine, kind):
            raise StructureError(
                f"group {group.name!r} replicates a {type(group.machine).__name__}, not a {kind.__name__}: "
                f"open it with machine={kind.__name__}()"
            )
        self._group = group
        self._machine: M = group.machine
        self.when: IndexWatcher = group.when.watcher(lambda: self._machine.version)

    @property
    def group(self) -> Group:
        """As given."""
        return self._group

    async def version(self, consistency: Consistency = Consistency.STRONG) -> int:
        """How many changes the structure has seen."""
        return (await self._fresh(consistency)).version

    async def _fresh(self, consistency: Consistency) -> M:
        """The machine, whose state is as fresh as asked for until the next ``await``."""
        await self._group.query(None, consistency)
        return self._machine


class Watch(AsyncIterator[E]):
    """Changes as they are applied on this member, none missed and none twice; ends when the group closes.

    Nothing is kept for a reader but where it stands, so it may be as slow as it likes and is never told twice. It ends by being
    forgotten; there is nothing to close.

    Args:
        reader: The structure's handle.
        since: Begin behind this version; None: with what is applied from now on.
        change: The event of a version and its change, or None for one that does not concern the watcher.
        reset: The event that replaces all that the watcher knows, by the state as it is now.
    """

    def __init__(
        self,
        reader: StructureReader[Any],
        since: int | None,
        change: Callable[[int, Change], E | None],
        reset: Callable[[], E],
    ) -> None:
        self._reader = reader
        self._machine: StructureMachine = reader._machine
        self._origin = self._machine.origin
        self._version = self._machine.version if since is None else since
        self._change = change
        self._reset = reset
        self._page: deque[tuple[int, Change]] = deque()

    @property
    def version(self) -> int:
        """What has been handed out, or did not concern this watch: go on from here with ``since``."""
        return self._version

    async def __anext__(self) -> E:
        try:
            while True:
                while self._page:
                    version, change = self._page.popleft()
                    self._version = version
                    if (event := self._change(version, change)) is not None:
                        return event
                await anyio.lowlevel.checkpoint()
                if not self._fits:
                    await self._confirm()
                page = self._machine.history.after(self._version, BATCH) if self._fits else None
                if page is None:
                    self._origin, self._version = self._machine.origin, self._machine.version
                    return self._reset()
                self._origin = self._machine.origin
                self._page.extend(page)
                if not page:
                    await self._reader.group.when.applied.changed()
        except GroupClosed:
            raise StopAsyncIteration from None

    @property
    def _fits(self) -> bool:
        """Whether this member's state goes on from what the watcher has seen."""
        machine = self._machine
        return self._version <= machine.version and self._origin in ("", machine.origin)

    async def _confirm(self) -> None:
        """It does not: either this member is behind and will catch up, or it has taken up another history."""
        while True:
            try:
                await self._reader._fresh(Consistency.STRONG)
            except Offline:
                continue  # each attempt waits for the group's query_timeout; a watch outlasts partitions
            return
