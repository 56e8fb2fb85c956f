"""What a node does for backups: gives its map as of one moment, and takes rows, as ordinary commands of its group."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import anyio.lowlevel

from p2praft.collections import Map, MapReader
from p2praft.groups.machine import pack, unpack

BLOCK = 256 * 1024
"""Bytes after which a block of rows ends: with the largest value it still fits into one command."""
TIMEOUT = 60.0
"""Seconds that the group has to take a block."""


async def give(replicated: MapReader[Any], network: str) -> AsyncGenerator[Any, None]:
    """The map as of one moment, linearizably: first what it is, then its rows in blocks.

    The moment is when the backup begins; the map is written to meanwhile, and nothing of that shows. Holding the moment costs
    next to nothing, for the structure underneath is immutable.

    Raises:
        Offline: No leader confirmed that the view is fresh.
    """
    view = await replicated.view()
    yield {
        "network": network,
        "group": replicated.group.name,
        "map_version": view.version,
        "time": view.time,
        "entries": len(view),
    }
    rows: list[bytes] = []
    size = 0
    for key, entry in view.scan():
        left = None if entry.expires is None else entry.expires - view.time
        rows.append(pack([key, entry.value, entry.version, left]))
        size += len(rows[-1])
        if size >= BLOCK:
            yield _block(rows)
            rows, size = [], 0
            await anyio.lowlevel.checkpoint()
    if rows:
        yield _block(rows)


async def look(replicated: MapReader[Any]) -> dict[str, int]:
    """How many changes the map has seen, and how many entries it has: whether a backup may be restored into it."""
    view = await replicated.view()
    return {"version": view.version, "entries": len(view)}


async def take(replicated: Map[Any], block: str) -> dict[str, int]:
    """Set a block of rows; the map's version behind it. Doing it twice is like doing it once.

    Raises:
        P2PRaftError: What :meth:`Map.write` raises.
    """
    versions = [0]
    rows = unpack(b64decode(block))

    async def put(items: dict[str, Any], ttl: float | None) -> None:
        versions.append(await replicated.write(items, ttl=ttl, timeout=TIMEOUT))

    async with anyio.create_task_group() as tasks:
        if lasting := {key: value for key, value, _, left in rows if left is None}:
            tasks.start_soon(put, lasting, None)
        for key, value, _, left in rows:
            if left is not None and left > 0:
                tasks.start_soon(put, {key: value}, left)
    return {"version": max(versions)}


async def drop(replicated: Map[Any], keys: list[str]) -> dict[str, int]:
    """Remove keys; how many there were."""
    return {"removed": await replicated.delete_many(keys, timeout=TIMEOUT)}


def _block(rows: list[bytes]) -> str:
    head: bytes = b"\xdd" + len(rows).to_bytes(4, "big")  # MessagePack's array 32
    return b64encode(head + b"".join(rows)).decode()
