"""The handles of the replicated map: one that reads and watches, and one that writes as well."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal

from p2praft.collections.base import StructureError, StructureReader, Watch
from p2praft.collections.history import Change
from p2praft.collections.map_machine import MapMachine, MapState, Stored
from p2praft.groups.group import Consistency, Group
from p2praft.groups.machine import pack, unpack
from p2praft.values import MAX_VERSION, fault_in

MAX_KEY = 1024
"""Characters of a key at most."""
MAX_VALUE = 512 * 1024
"""Bytes of one encoded value at most."""
MAX_TTL = 10 * 365 * 86_400
"""Seconds that a time to live may be at most: ten years."""

if TYPE_CHECKING:  # a TypeVar with a default is in the standard library from Python 3.13 on; checkers know it already
    from typing_extensions import TypeVar

    V = TypeVar("V", default=Any)
else:
    from typing import TypeVar

    V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class MapEntry(Generic[V]):
    """A value with the version of the map that wrote it.

    Attributes:
        value: As it was set.
        version: Of the change that set it.
        expires: The log time at which it ends, seconds since the Unix epoch; None if it stays.
    """

    value: V
    version: int
    expires: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MapChange(Generic[V]):
    """One key was set or removed.

    Attributes:
        kind: ``set``; ``delete`` by somebody; ``expire`` when its time to live was over.
        key: Which.
        version: Of this change; each has its own.
        value: What was set; None if it was removed.
        expires: As in :class:`MapEntry`.
    """

    kind: Literal["set", "delete", "expire"]
    key: str
    version: int
    value: V | None = None
    expires: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapReset(Generic[V]):
    """Forget what you knew: changes in between are no longer held, and here is all that stands now.

    Attributes:
        version: As of which version.
        entries: All that the watch is for.
    """

    version: int
    entries: MapView[V]


class Conflict(StructureError):
    """A compare-and-set found another version than expected; nothing was changed.

    Attributes:
        key: Whose.
        version: The entry's version; 0 if there is no entry.
    """

    def __init__(self, message: str, version: int, key: str = "") -> None:
        super().__init__(message)
        self.version = version
        self.key = key


class MapView(Mapping[str, MapEntry[V]]):
    """The map at one moment, sorted by key. It never changes, costs nothing to keep, and decodes what is looked at.

    Attributes:
        version: Of the moment.
        time: The log's time then, seconds since the Unix epoch.
    """

    def __init__(self, state: MapState, prefix: str, decode: Callable[[Any], V]) -> None:
        self.version = state.version
        self.time = state.time
        self._state = state
        self._prefix = prefix
        self._decode = decode

    def __getitem__(self, key: str) -> MapEntry[V]:
        stored = self._state.get(key) if isinstance(key, str) and key.startswith(self._prefix) else None
        if stored is None:
            raise KeyError(key)
        return self._entry(stored)

    def __iter__(self) -> Iterator[str]:
        return (key for key, _ in self._state.items(self._prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def scan(self, prefix: str = "", after: str | None = None) -> Iterator[tuple[str, MapEntry[V]]]:
        """Keys behind ``after`` that begin with ``prefix`` (and with the view's own), with their entries, in order."""
        if self._prefix.startswith(prefix):
            prefix = self._prefix
        elif not prefix.startswith(self._prefix):
            return
        for key, stored in self._state.items(prefix, after):
            yield key, self._entry(stored)

    def __repr__(self) -> str:
        return f"<MapView of version {self.version}, prefix {self._prefix!r}>"

    def _entry(self, stored: Stored) -> MapEntry[V]:
        value, version, expires = stored
        return MapEntry(value=self._decode(unpack(value)), version=version, expires=expires)


class MapReader(StructureReader[MapMachine], Generic[V]):
    """A handle that reads and watches: all that an observer, a dashboard or a cache needs.

    ``MapReader[str](group)`` is typed for a checker. Values are what MessagePack knows; ``decode`` makes others of them.

    Args:
        group: Opened with ``machine=MapMachine()``.
        decode: Makes a value of what was stored; values that it is given are its own.

    Raises:
        StructureError: The group replicates something else.
    """

    def __init__(self, group: Group, *, decode: Callable[[Any], V] | None = None) -> None:
        super().__init__(group, MapMachine)
        self._decode: Callable[[Any], V] = decode or _as_it_is

    async def get(self, key: str, consistency: Consistency = Consistency.STRONG) -> MapEntry[V] | None:
        """The entry of ``key``; None if there is none, or its time to live is over.

        Raises:
            StructureError: The key is not allowed.
            Offline: A strong read was not confirmed in time.
        """
        _check_key(key)
        return (await self.view(consistency=consistency)).get(key)

    async def view(self, prefix: str = "", consistency: Consistency = Consistency.STRONG) -> MapView[V]:
        """The map as it is now, or the part of it under ``prefix``: taken in O(1), and it stays as it is."""
        _check_prefix(prefix)
        return MapView((await self._fresh(consistency)).state, prefix, self._decode)

    async def items(self, prefix: str = "", consistency: Consistency = Consistency.STRONG) -> dict[str, MapEntry[V]]:
        """All entries whose keys begin with ``prefix``, in the order of their keys, as of one moment.

        For many entries :meth:`view` is better: it decodes only what you look at.
        """
        return dict((await self.view(prefix, consistency)).scan())

    async def scan(
        self, prefix: str = "", after: str | None = None, consistency: Consistency = Consistency.STRONG
    ) -> AsyncIterator[tuple[str, MapEntry[V]]]:
        """Keys behind ``after`` that begin with ``prefix``, with their entries, in order, as of one moment."""
        for item in (await self.view(prefix, consistency)).scan(after=after):
            yield item

    def watch(self, prefix: str = "", *, since: int | None = None) -> Watch[MapChange[V] | MapReset[V]]:
        """What changes under ``prefix``, in order: every change once, also over partitions, restarts and slow readers.

        Keep the ``version`` of the last event that you have dealt with, and pass it as ``since`` to go on behind it,
        on any member. Where the changes behind it are no longer held (the map keeps the last 10,000), a
        :class:`MapReset` brings the whole state instead. The iterator ends when the group closes; while the
        member is cut off, it waits. Events come when this member applies them, which may be later than elsewhere.

        Args:
            prefix: Of the keys.
            since: The last version seen; 0 for everything from the start, or a reset; None for what comes from now on.
        """
        if since is not None and not _is_version(since):
            raise StructureError(f"since={since!r} is not allowed: it is a version, 0 to {MAX_VERSION}")
        _check_prefix(prefix)

        def change(version: int, change: Change) -> MapChange[V] | None:
            kind, key, *rest = change
            if not key.startswith(prefix):
                return None
            if kind != "set":
                return MapChange(kind=kind, key=key, version=version)
            return MapChange(kind=kind, key=key, version=version, value=self._decode(unpack(rest[0])), expires=rest[1])

        def reset() -> MapReset[V]:
            view = MapView(self._machine.state, prefix, self._decode)
            return MapReset(version=view.version, entries=view)

        return Watch[MapChange[V] | MapReset[V]](self, since, change, reset)


class Map(MapReader[V]):
    """A handle that writes as well.

    Args:
        group: Opened with ``machine=MapMachine()``.
        encode: Makes what MessagePack knows of a value.
        decode: Makes a value of what ``encode`` made.
    """

    def __init__(
        self, group: Group, *, encode: Callable[[V], Any] | None = None, decode: Callable[[Any], V] | None = None
    ) -> None:
        super().__init__(group, decode=decode)
        self._encode: Callable[[V], Any] = encode or _as_it_is

    async def set(
        self, key: str, value: V, *, expected: int | None = None, ttl: float | None = None, timeout: float = 10
    ) -> int:
        """Set ``key``; the version that wrote it.

        Args:
            key: 1 to 1024 characters.
            value: What MessagePack knows (or ``encode`` makes it), up to 512 KiB encoded; numbers finite, lists and
                dicts at most 100 deep.
            expected: Only if the entry still has this version; 0 for "only if there is no entry".
            ttl: Seconds after which the entry ends by itself, measured by the log's time; None: it stays. Setting it
                again sets its time anew.
            timeout: Seconds to wait.

        Raises:
            Conflict: The entry has another version than expected.
            StructureError: The key, the value or the time to live is not allowed.
            Offline, OutcomeUnknown: As for :meth:`Group.execute`.
        """
        conditions = None if expected is None else {key: expected}
        return await self.write({key: value}, expected=conditions, ttl=ttl, timeout=timeout)

    async def set_many(self, items: Mapping[str, V], *, ttl: float | None = None, timeout: float = 10) -> int:
        """Set several keys at once: no reader sees a part of it. The version of the last."""
        if not items:
            raise StructureError("set_many needs at least one item")
        return await self.write(items, ttl=ttl, timeout=timeout)

    async def delete(self, key: str, *, expected: int | None = None, timeout: float = 10) -> int | None:
        """Remove ``key``; the version of that change, or None if there was no such key.

        Raises:
            Conflict: The entry has another version than expected.
        """
        conditions = None if expected is None else {key: expected}
        version, removed = await self._write({}, [key], conditions, None, timeout)
        return version if removed else None

    async def delete_many(self, keys: Collection[str], *, timeout: float = 10) -> int:
        """Remove several keys at once; how many there were."""
        if isinstance(keys, str) or not keys:
            raise StructureError("delete_many needs at least one key, in a list or another collection")
        return (await self._write({}, list(keys), None, None, timeout))[1]

    async def write(
        self,
        sets: Mapping[str, V] | None = None,
        deletes: Collection[str] = (),
        *,
        expected: Mapping[str, int] | None = None,
        ttl: float | None = None,
        timeout: float = 10,
    ) -> int:
        """Set and delete keys as one change that happens whole or not at all; the map's version behind it.

        Args:
            sets: What to set.
            deletes: What to remove then.
            expected: Only if these keys have these versions; 0 for "is not there". They need not be among those written.
            ttl: For all that is set.
            timeout: Seconds to wait.

        Raises:
            Conflict: One of ``expected`` did not hold.
            StructureError: A key, a value or the time to live is not allowed.
        """
        return (await self._write(sets or {}, list(deletes), expected, ttl, timeout))[0]

    async def _write(
        self,
        sets: Mapping[str, V],
        deletes: list[str],
        expected: Mapping[str, int] | None,
        ttl: float | None,
        timeout: float,
    ) -> tuple[int, int]:
        for key in (*sets, *deletes, *(expected or ())):
            _check_key(key)
        if ttl is not None and (not isinstance(ttl, int | float) or not 0 < ttl <= MAX_TTL):
            raise StructureError(f"ttl={ttl!r} is not allowed: it is a number of seconds above 0, up to {MAX_TTL}")
        for key, version in (expected or {}).items():
            if not _is_version(version):
                raise StructureError(
                    f"expected={version!r} for {key!r} is not allowed: it is a version, 0 (for no entry) to {MAX_VERSION}"
                )
        pairs = [(key, _packed(key, self._encode(value))) for key, value in sets.items()]
        command = ["write", pairs, deletes, dict(expected) if expected else None, None if ttl is None else float(ttl)]
        done, *result = await self._group.execute(command, timeout=timeout)
        if not done:
            key, found = result
            assert expected is not None
            raise Conflict(f"key {key!r} is at version {found}, not {expected[key]}; read it again", found, key)
        return int(result[0]), int(result[1])


def _as_it_is(value: Any) -> Any:
    return value


def _is_version(version: Any) -> bool:
    return isinstance(version, int) and 0 <= version <= MAX_VERSION


def _check_prefix(prefix: str) -> None:
    if not isinstance(prefix, str):
        raise StructureError(f"prefix {str(prefix)[:40]!r} is not allowed: it is text, what the keys begin with")


def _check_key(key: Any) -> None:
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY:
        raise StructureError(f"key {str(key)[:40]!r} is not allowed: keys are text of 1 to {MAX_KEY} characters")
    try:
        key.encode()
    except UnicodeEncodeError:
        raise StructureError(f"key {key[:40]!r} is not allowed: it is not Unicode text") from None


def _packed(key: str, value: Any) -> bytes:
    if fault := fault_in(value):
        raise StructureError(f"the value of {key!r} cannot be stored: {fault}")
    try:
        data = pack(value)
        unpack(data)  # what can be written but not read, such as a map whose keys are lists, is refused here
    except (TypeError, ValueError, OverflowError) as error:
        raise StructureError(f"the value of {key!r} cannot be stored: {error}") from None
    if len(data) > MAX_VALUE:
        raise StructureError(f"the value of {key!r} has {len(data)} bytes encoded; at most {MAX_VALUE}")
    return data
