"""A replicated map: what ``p2praft up --group`` serves, and what applications may use.

Every change makes a new *version* of the map, an integer that counts changes. An entry carries the version that wrote it, so
a writer can say "only if nobody was faster".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from p2praft.collections.base import StructureError, StructureMachine
from p2praft.groups.group import Consistency, Group
from p2praft.groups.machine import ApplyContext, pack, unpack

MAX_KEY = 1024
"""Characters of a key at most."""
MAX_VALUE = 512 * 1024
"""Bytes of one encoded value at most."""
PAGE = 1000
"""Entries of one page of a listing at most."""
PAGE_BYTES = 1024 * 1024
"""Bytes of values after which a page ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapEntry:
    """A value with the version of the map that wrote it."""

    value: Any
    version: int


class Conflict(StructureError):
    """A compare-and-set found another version than expected; nothing was changed.

    Attributes:
        version: The entry's version; 0 if there is no entry.
    """

    def __init__(self, message: str, version: int) -> None:
        super().__init__(message)
        self.version = version


class MapMachine(StructureMachine):
    """The replicated state. Keys are text. Values are kept encoded: their size is then at hand, which bounds a page."""

    signature: ClassVar[str] = "p2praft.map/1"

    def __init__(self) -> None:
        super().__init__()
        self._entries: dict[str, tuple[bytes, int]] = {}
        self._version = 0
        self.commands = {"set": self._set, "delete": self._delete}
        self.queries = {"get": self._get, "page": self._page, "version": lambda: self._version}

    def snapshot(self) -> Any:
        return [self._version, list(self._entries.items())]

    def restore(self, snapshot: Any) -> None:
        self._version, entries = snapshot
        self._entries = {key: (value, version) for key, (value, version) in entries}

    def _set(self, ctx: ApplyContext, items: list[tuple[str, bytes]], expected: int | None = None) -> list[Any]:
        if expected is not None:
            found = self._entries.get(items[0][0], (b"", 0))[1]
            if found != expected:
                return [False, found]
        self._version += 1
        for key, value in items:
            self._entries[key] = (value, self._version)
        return [True, self._version]

    def _delete(self, ctx: ApplyContext, key: str) -> list[Any]:
        if self._entries.pop(key, None) is None:
            return [False, self._version]
        self._version += 1
        return [True, self._version]

    def _get(self, key: str) -> list[Any] | None:
        found = self._entries.get(key)
        return None if found is None else list(found)

    def _page(self, prefix: str, after: str | None) -> list[Any]:
        """The entries behind key ``after``, and whether these were the last."""
        keys = sorted(key for key in self._entries if key.startswith(prefix) and (after is None or key > after))
        page: list[list[Any]] = []
        size = 0
        for key in keys[:PAGE]:
            value, version = self._entries[key]
            page.append([key, value, version])
            size += len(value)
            if size >= PAGE_BYTES:
                break
        return [page, len(page) == len(keys)]


class Map:
    """A handle of the map that a group replicates.

    Args:
        group: Made with ``machine=MapMachine()``.
    """

    def __init__(self, group: Group) -> None:
        self._group = group

    async def get(self, key: str, consistency: Consistency = Consistency.STRONG) -> MapEntry | None:
        """The entry of ``key``; None if there is none."""
        found = (await self._group.query(["get", _checked_key(key)], consistency)).value
        return None if found is None else MapEntry(value=unpack(found[0]), version=found[1])

    async def set(self, key: str, value: Any, *, expected: int | None = None, timeout: float = 10) -> int:
        """Set ``key``; the map's new version.

        Args:
            key: 1 to 1024 characters.
            value: What MessagePack knows, up to 512 KiB encoded.
            expected: Only if the entry still has this version; 0 for "only if there is no entry".
            timeout: Seconds to wait.

        Raises:
            Conflict: The entry has another version than expected.
            StructureError: The key or the value is not allowed.
        """
        items = [(_checked_key(key), _checked_value(key, value))]
        done, version = await self._group.execute(["set", items, expected], timeout=timeout)
        if not done:
            raise Conflict(f"key {key!r} is at version {version}, not {expected}; read it again", version)
        return int(version)

    async def set_many(self, items: Mapping[str, Any], *, timeout: float = 10) -> int:
        """Set several keys at once, as one change; the map's new version."""
        if not items:
            raise StructureError("set_many needs at least one item")
        pairs = [(_checked_key(key), _checked_value(key, value)) for key, value in items.items()]
        _, version = await self._group.execute(["set", pairs, None], timeout=timeout)
        return int(version)

    async def delete(self, key: str, *, timeout: float = 10) -> int | None:
        """Remove ``key``; the map's new version, or None if there was no such key."""
        done, version = await self._group.execute(["delete", _checked_key(key)], timeout=timeout)
        return int(version) if done else None

    async def items(self, prefix: str = "", consistency: Consistency = Consistency.STRONG) -> dict[str, MapEntry]:
        """All entries whose keys begin with ``prefix``, in the order of their keys.

        Read in pages: entries that change meanwhile are seen before or after their change.
        """
        entries: dict[str, MapEntry] = {}
        after: str | None = None
        while True:
            page, last = (await self._group.query(["page", prefix, after], consistency)).value
            for key, value, version in page:
                entries[key] = MapEntry(value=unpack(value), version=version)
                after = key
            if last:
                return entries

    async def version(self, consistency: Consistency = Consistency.STRONG) -> int:
        """How many changes the map has seen."""
        return int((await self._group.query(["version"], consistency)).value)


def _checked_key(key: str) -> str:
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY:
        raise StructureError(f"key {str(key)[:40]!r} is not allowed: keys are text of 1 to {MAX_KEY} characters")
    try:
        key.encode()
    except UnicodeEncodeError:
        raise StructureError(f"key {key[:40]!r} is not allowed: it is not Unicode text") from None
    return key


def _checked_value(key: str, value: Any) -> bytes:
    try:
        data = pack(value)
        unpack(data)  # what can be written but not read, such as a map whose keys are lists, is refused here
    except (TypeError, ValueError, OverflowError) as error:
        raise StructureError(f"the value of {key!r} cannot be stored: {error}") from None
    if len(data) > MAX_VALUE:
        raise StructureError(f"the value of {key!r} has {len(data)} bytes encoded; at most {MAX_VALUE}")
    return data
