"""The ready-made structures, for threads that block."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Generic

import p2praft.collections as structures
from p2praft.blocking.loop import Events, When
from p2praft.blocking.network import Group
from p2praft.collections.map import V
from p2praft.groups.group import Consistency


class MapReader(Generic[V]):
    """A handle of the replicated map that reads and watches; see :class:`p2praft.collections.MapReader`."""

    def __init__(self, group: Group, *, decode: Callable[[Any], V] | None = None) -> None:
        self._loop = group._loop
        self._reader: structures.MapReader[V] = structures.MapReader(group._inner, decode=decode)
        self.when = When(self._loop, self._reader.when)

    def get(self, key: str, consistency: Consistency = Consistency.STRONG) -> structures.MapEntry[V] | None:
        """The entry of ``key``; None if there is none."""
        return self._loop.call(self._reader.get, key, consistency)

    def view(self, prefix: str = "", consistency: Consistency = Consistency.STRONG) -> structures.MapView[V]:
        """The map as it is now, or the part of it under ``prefix``; it never changes, and belongs to any thread."""
        return self._loop.call(self._reader.view, prefix, consistency)

    def items(
        self, prefix: str = "", consistency: Consistency = Consistency.STRONG
    ) -> dict[str, structures.MapEntry[V]]:
        """All entries whose keys begin with ``prefix``, in the order of their keys."""
        return dict(self.view(prefix, consistency).scan())

    def version(self, consistency: Consistency = Consistency.STRONG) -> int:
        """How many changes the map has seen."""
        return self._loop.call(self._reader.version, consistency)

    def watch(
        self, prefix: str = "", *, since: int | None = None
    ) -> Events[structures.MapChange[V] | structures.MapReset[V]]:
        """What changes under ``prefix``, in order, none missed."""
        return Events(self._loop, lambda: self._reader.watch(prefix, since=since))


class Map(MapReader[V]):
    """A handle that writes as well; see :class:`p2praft.collections.Map`."""

    def __init__(
        self, group: Group, *, encode: Callable[[V], Any] | None = None, decode: Callable[[Any], V] | None = None
    ) -> None:
        super().__init__(group, decode=decode)
        self._map: structures.Map[V] = structures.Map(group._inner, encode=encode, decode=decode)

    def set(
        self, key: str, value: V, *, expected: int | None = None, ttl: float | None = None, timeout: float = 10
    ) -> int:
        """Set ``key``; the version that wrote it."""
        return self._loop.call(lambda: self._map.set(key, value, expected=expected, ttl=ttl, timeout=timeout))

    def set_many(self, items: Mapping[str, V], *, ttl: float | None = None, timeout: float = 10) -> int:
        """Set several keys at once; the version of the last."""
        return self._loop.call(lambda: self._map.set_many(items, ttl=ttl, timeout=timeout))

    def delete(self, key: str, *, expected: int | None = None, timeout: float = 10) -> int | None:
        """Remove ``key``; the version of that change, or None if there was no such key."""
        return self._loop.call(lambda: self._map.delete(key, expected=expected, timeout=timeout))

    def delete_many(self, keys: Collection[str], *, timeout: float = 10) -> int:
        """Remove several keys at once; how many there were."""
        return self._loop.call(lambda: self._map.delete_many(keys, timeout=timeout))

    def write(
        self,
        sets: Mapping[str, V] | None = None,
        deletes: Collection[str] = (),
        *,
        expected: Mapping[str, int] | None = None,
        ttl: float | None = None,
        timeout: float = 10,
    ) -> int:
        """Set and delete keys as one change that happens whole or not at all; the map's version behind it."""
        return self._loop.call(lambda: self._map.write(sets, deletes, expected=expected, ttl=ttl, timeout=timeout))
