"""The map as JSON values: what the command's control socket and the HTTP API both serve.

It needs neither extra. Values that JSON does not know (bytes, times) become text where they are written.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from p2praft.collections import Map, MapChange, MapEntry, MapReader, MapReset, StructureError
from p2praft.groups.group import Consistency

View = dict[str, Any]


class NoSuchKey(StructureError):
    """The map has no such key, or its time to live is over."""


def entry_view(key: str, entry: MapEntry[Any]) -> View:
    """An entry; ``expires`` only if it will."""
    view = {"key": key, "value": entry.value, "version": entry.version}
    return view if entry.expires is None else {**view, "expires": entry.expires}


async def map_get(replicated: MapReader[Any], key: str, consistency: Consistency) -> View:
    """The entry of ``key``.

    Raises:
        NoSuchKey: There is none.
    """
    entry = await replicated.get(key, consistency)
    if entry is None:
        raise _no_such_key(replicated, key)
    return entry_view(key, entry)


async def map_set(
    replicated: Map[Any],
    key: str,
    value: Any,
    *,
    expected: int | None = None,
    ttl: float | None = None,
    timeout: float = 10,
) -> View:
    """Set ``key``; what :meth:`Map.set` raises."""
    return {"key": key, "version": await replicated.set(key, value, expected=expected, ttl=ttl, timeout=timeout)}


async def map_delete(replicated: Map[Any], key: str, *, expected: int | None = None, timeout: float = 10) -> View:
    """Remove ``key``.

    Raises:
        NoSuchKey: There is none.
    """
    version = await replicated.delete(key, expected=expected, timeout=timeout)
    if version is None:
        raise _no_such_key(replicated, key)
    return {"key": key, "version": version}


async def map_list(replicated: MapReader[Any], prefix: str, consistency: Consistency) -> list[View]:
    """All entries under ``prefix``, in order, as of one moment."""
    return [entry_view(key, entry) for key, entry in (await replicated.view(prefix, consistency)).scan()]


async def map_watch(
    replicated: MapReader[Any], prefix: str = "", since: int | None = None
) -> AsyncGenerator[View, None]:
    """What changes under ``prefix``, without an end but the group's.

    ``set``, ``delete`` and ``expire`` events are changes. Where changes behind ``since`` are no longer held comes a ``reset``, then
    an ``entry`` for all that stands now, then ``current``. Without ``since`` a ``current`` event comes first. Whoever goes on
    later does so behind the version of the last event that was a change or ``current``.
    """
    watch = replicated.watch(prefix, since=since)
    if since is None:
        yield {"event": "current", "version": watch.version}
    async for event in watch:
        if isinstance(event, MapReset):
            yield {"event": "reset", "version": event.version}
            for key, entry in event.entries.scan():
                yield {"event": "entry", **entry_view(key, entry)}
            yield {"event": "current", "version": event.version}
        else:
            yield {"event": event.kind, **change_view(event)}


def change_view(change: MapChange[Any]) -> View:
    """A change; its ``value`` if it set one."""
    if change.kind != "set":
        return {"key": change.key, "version": change.version}
    return entry_view(change.key, MapEntry(value=change.value, version=change.version, expires=change.expires))


def _no_such_key(replicated: MapReader[Any], key: str) -> NoSuchKey:
    return NoSuchKey(f"there is no key {key!r} in map {replicated.group.name!r}")
