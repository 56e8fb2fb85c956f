"""The replicated state of the map: pure, the same on every member.

Keys are text, values are kept encoded. Every key that is set, deleted or expires is a change with a version of its own, so a
version names a point between two changes; an entry carries the version that wrote it.

Time is the log's: the clock of whoever led when a command was appended, never decreasing. An entry with a time to live *is gone*
for every reader once the log's time has reached its end; it is then removed, and watchers told, by the next commands, up to
``SWEEP`` at each. In an idle group the leader proposes a ``tick`` when one is due, so time does not stand still.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from p2praft.collections.base import StructureMachine, dump_rows, load_rows, take
from p2praft.collections.history import Change, History
from p2praft.collections.sorted import SortedMap
from p2praft.groups.machine import ApplyContext

SWEEP = 1000
"""Entries that one command removes at most because their time is over."""
OVERHEAD = 64
"""Bytes that a change takes in the history beside its key and its value, about."""

Stored = tuple[bytes, int, float | None]
"""A value, the version that wrote it, and the log time at which it ends, if any."""


@dataclass(frozen=True, slots=True)
class MapState:
    """A map at one moment; taken in O(1), and nothing that happens later shows in it.

    Attributes:
        entries: With those whose time is over but that are not yet removed.
        version: Of the newest change.
        time: The log's.
    """

    entries: SortedMap[str, Stored]
    version: int
    time: float

    def get(self, key: str) -> Stored | None:
        """What stands under ``key``."""
        found = self.entries.get(key)
        return found if found is not None and self._lives(found) else None

    def items(self, prefix: str = "", after: str | None = None) -> Iterator[tuple[str, Stored]]:
        """What stands under keys that begin with ``prefix`` and come behind ``after``, in their order."""
        start = prefix if after is None else max(prefix, after)
        for key, stored in self.entries.items(start):
            if not key.startswith(prefix):
                return
            if key != after and self._lives(stored):
                yield key, stored

    def _lives(self, stored: Stored) -> bool:
        return stored[2] is None or stored[2] > self.time


@dataclass(frozen=True, slots=True)
class MapSnapshot:
    """The whole state, history included."""

    state: MapState
    origin: str
    start: int
    history: list[tuple[int, Change]]


class MapMachine(StructureMachine):
    """What ``p2praft up --group`` serves; :class:`~p2praft.collections.Map` is its handle."""

    signature: ClassVar[str] = "p2praft.map/2"

    def __init__(self) -> None:
        super().__init__()
        self._entries: SortedMap[str, Stored] = SortedMap()
        self._ends: SortedMap[tuple[float, str], None] = SortedMap()
        self.commands = {
            "write": self._write,
            "tick": self._tick,
            "jump": self._jump,
            "carry": self._carry,
            "carry delete": self._carry_delete,
        }

    # --- time

    def due(self) -> tuple[float, Any] | None:
        first = self._ends.first()
        return None if first is None else (first[0][0], ["tick"])

    def on_time(self) -> None:
        for _ in range(SWEEP):
            first = self._ends.first()
            if first is None or first[0][0] > self.time:
                return
            self._remove(first[0][1], "expire")

    def _tick(self, ctx: ApplyContext) -> None:
        """Nothing but that time has passed."""

    # --- commands

    def _write(
        self,
        ctx: ApplyContext,
        sets: Sequence[tuple[str, bytes]],
        deletes: Sequence[str],
        expected: Mapping[str, int] | None,
        ttl: float | None,
    ) -> list[Any]:
        """Set and delete keys at once, if all that are named in ``expected`` are at those versions (0: are not there)."""
        _check(sets, deletes, ttl)
        for key in (*(expected or ()), *(key for key, _ in sets), *deletes):
            self._expire(key)
        for key, version in (expected or {}).items():
            found = self._entries.get(key)
            if (found[1] if found else 0) != version:
                return [False, key, found[1] if found else 0]
        ends = None if ttl is None else self.time + ttl
        for key, value in sets:
            self._set(key, value, ends)
        removed = sum(self._remove(key, "delete") for key in deletes)
        return [True, self.version, removed]

    def _expire(self, key: str) -> None:
        """Remove an entry whose time is over, though the sweep has not come to it."""
        stored = self._entries.get(key)
        if stored is not None and stored[2] is not None and stored[2] <= self.time:
            self._remove(key, "expire")

    def _set(self, key: str, value: bytes, ends: float | None) -> None:
        before = self._entries.get(key)
        if before is not None and before[2] is not None:
            self._ends = self._ends.delete((before[2], key))
        version = self.history.add(("set", key, value, ends), len(key) + len(value) + OVERHEAD)
        self._entries = self._entries.set(key, (value, version, ends))
        if ends is not None:
            self._ends = self._ends.set((ends, key), None)

    def _remove(self, key: str, kind: str) -> bool:
        stored = self._entries.get(key)
        if stored is None:
            return False
        self._entries = self._entries.delete(key)
        if stored[2] is not None:
            self._ends = self._ends.delete((stored[2], key))
        self.history.add((kind, key), len(key) + OVERHEAD)
        return True

    # --- another history's changes

    def reconcile(self, sealed: MapSnapshot, base: MapSnapshot | None) -> Iterator[list[Any]]:
        """What changed in a history that ended, as commands that give way to what the living one has.

        A key that was set is set here if it is not here, or stands as it stood where the two branched. A key that was deleted
        is deleted here if it stands as it stood there. Anything else is a conflict: what is here stays. Versions are this
        history's own, and jump above the other's first, so that none is used twice.
        """
        before = base.state if base is not None else MapState(SortedMap(), 0, 0.0)
        if sealed.state.version == before.version:
            return
        yield ["jump", sealed.state.version]
        for key, (value, version, ends) in sealed.state.items():
            known = before.entries.get(key)
            if known is None or known[1] != version:
                yield ["carry", key, value, ends, known[1] if known is not None else 0]
        for key, (_, version, ends) in before.items():
            ran_out = ends is not None and ends <= sealed.state.time  # it does so here, too, by itself
            if not ran_out and sealed.state.entries.get(key) is None:
                yield ["carry delete", key, version]

    def conflict(self, result: Any) -> str | None:
        return str(result[1]) if isinstance(result, list) and len(result) == 2 and result[0] == "conflict" else None

    def _jump(self, ctx: ApplyContext, version: int) -> None:
        """Go on above a version. Watchers that have seen less get a reset: there is nothing to tell them step by step."""
        if version > self.version:
            self.history = History(version)

    def _carry(self, ctx: ApplyContext, key: str, value: bytes, ends: float | None, known: int) -> list[Any] | None:
        """Set a key that is not here, or is here at version ``known``; its time to live ends when it would have ended."""
        _check([(key, value)], (), None)
        self._expire(key)
        found = self._entries.get(key)
        if found is not None and found[1] != known:
            return None if (found[0], found[2]) == (value, ends) else ["conflict", key]
        if ends is None or ends > self.time:
            self._set(key, value, ends)
        elif found is not None:
            self._remove(key, "expire")
        return None

    def _carry_delete(self, ctx: ApplyContext, key: str, known: int) -> list[Any] | None:
        """Delete a key that is here at version ``known``."""
        _check((), [key], None)
        self._expire(key)
        found = self._entries.get(key)
        if found is None:
            return None
        if found[1] != known:
            return ["conflict", key]
        self._remove(key, "delete")
        return None

    # --- snapshots

    @property
    def state(self) -> MapState:
        """What handles read."""
        return MapState(self._entries, self.version, self.time)

    def snapshot(self) -> MapSnapshot:
        return MapSnapshot(self.state, self.origin, self.history.start, self.history.dump())

    def restore(self, snapshot: MapSnapshot) -> None:
        self._entries, self.time = snapshot.state.entries, snapshot.state.time
        self.origin, self.history = snapshot.origin, History(snapshot.start, snapshot.history)
        ends = sorted((stored[2], key) for key, stored in self._entries.items() if stored[2] is not None)
        self._ends = SortedMap.from_sorted((end, None) for end in ends)

    def chunks(self, snapshot: MapSnapshot) -> Iterator[bytes]:
        entries, history = snapshot.state.entries, snapshot.history
        head = [2, snapshot.origin, snapshot.state.time, len(entries), snapshot.start, len(history)]
        return dump_rows([head], ((key, *stored) for key, stored in entries.items()), history)

    def join(self, chunks: Iterable[bytes]) -> MapSnapshot:
        rows = load_rows(chunks)
        ((_, origin, time, count, start, changes),) = take(rows, 1)
        entries: SortedMap[str, Stored] = SortedMap.from_sorted(
            (key, (value, version, ends)) for key, value, version, ends in take(rows, count)
        )
        history = [(size, tuple(change)) for size, change in take(rows, changes)]
        return MapSnapshot(MapState(entries, start + changes, time), origin, start, history)


def _check(sets: Sequence[Any], deletes: Sequence[Any], ttl: Any) -> None:
    """A command that another program made must not leave keys behind that cannot be compared with others."""
    for key, value in sets:
        if not isinstance(key, str) or not isinstance(value, bytes):
            raise TypeError("a key is text and its value is bytes")
    if not all(isinstance(key, str) for key in deletes):
        raise TypeError("a key is text")
    if ttl is not None and not (isinstance(ttl, int | float) and 0 < ttl < math.inf):
        raise TypeError("a time to live is a number of seconds above 0")
