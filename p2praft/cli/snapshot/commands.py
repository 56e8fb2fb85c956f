"""``p2praft snapshot save``, ``restore`` and ``show``."""

from __future__ import annotations

from base64 import b64decode, b64encode
from contextlib import aclosing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from p2praft.cli.client import ask_at, ask_stream
from p2praft.cli.options import group_argument, json_option, node_option
from p2praft.cli.output import CommandError, emit, execute
from p2praft.cli.progress import progress
from p2praft.cli.runtime import find_node
from p2praft.cli.snapshot import file as backup
from p2praft.cli.snapshot.file import Head
from p2praft.cli.words import Words
from p2praft.groups.machine import pack, unpack

KEYS = 1000
"""Keys that one command removes at most."""


@click.group("snapshot", cls=Words, short_help="Back up a group's map to a file, and restore it.")
def snapshot_group() -> None:
    """Back up a group's map to a file, and restore it into a new group."""


@snapshot_group.command("save", short_help="Write GROUP's map into FILE.")
@group_argument
@click.argument("file", type=click.Path(dir_okay=False))
@node_option
@json_option
def save_command(group: str, file: str, node: str | None, as_json: bool) -> None:
    """Write GROUP's map into FILE, through a running node.

    It is the map of one moment: every write that was acknowledged before is in it, and nothing that began later than the
    save ended. The group goes on meanwhile. FILE is replaced only once the new backup is complete.
    """
    head = execute(_save, node, group, Path(file), as_json=as_json)
    _tell(head, file, as_json, "saved")


@snapshot_group.command("show")
@click.argument("file", type=click.Path(dir_okay=False))
@json_option
def show_command(file: str, as_json: bool) -> None:
    """Check FILE and say what it holds; needs no node."""
    head = execute(_verify, Path(file), as_json=as_json)
    _tell(head, file, as_json, "holds")


@snapshot_group.command("restore", short_help="Write what FILE holds into GROUP's map.")
@group_argument
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--force", is_flag=True, help="Also into a map that has seen changes; it is then as the backup, no more.")
@node_option
@json_option
def restore_command(group: str, file: str, force: bool, node: str | None, as_json: bool) -> None:
    """Write what FILE holds into GROUP's map, through a running node.

    For a new group: one whose map has seen changes is refused, unless --force says otherwise. Keys, values and what is left
    of times to live are as they were; versions are new. The file is checked before the first write. The writes are
    ordinary commands of the group: when this ends well, all of them are committed. Should it be interrupted, run it
    again with --force.
    """
    done = execute(_restore, node, group, Path(file), force, as_json=as_json)
    if as_json:
        emit(done)
    else:
        removed = f", {done['removed']} others removed" if done["removed"] else ""
        print(f"restored {done['entries']} entries into {group}{removed}; its map is at version {done['version']}")


def _tell(head: Head, file: str, as_json: bool, verb: str) -> None:
    size = Path(file).stat().st_size
    if as_json:
        emit({"file": file, "bytes": size, **asdict(head)})
        return
    when = datetime.fromtimestamp(head.time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if head.time else "its beginning"
    what = (
        f"{head.entries} entries of group {head.group} in network {head.network}, version {head.map_version} of {when}"
    )
    print(f"{file} {verb} {what} ({size:,} bytes)" if verb == "holds" else f"{verb} {what} to {file} ({size:,} bytes)")


async def _verify(path: Path) -> Head:
    return backup.verify(path)


async def _save(node: str | None, group: str, path: Path) -> Head:
    request = {"op": "backup", "group": group}
    with progress(f"saving {group}") as advance:
        async with aclosing(ask_stream(find_node(node), request)) as items:
            head = Head(**await anext(items))
            done = 0
            with backup.writing(path, head) as writer:
                async for item in items:
                    data = b64decode(item)
                    writer.block(data)
                    done += len(unpack(data))
                    advance(done, f"saving {group}: {done:,} of {head.entries:,} entries")
                if done != head.entries:
                    raise CommandError("BackupError", f"the node gave {done} of {head.entries} entries; try again")
    return head


async def _restore(node: str | None, group: str, path: Path, force: bool) -> dict[str, Any]:
    head = backup.verify(path)
    at = find_node(node)
    standing = await ask_at(at, {"op": "restore", "group": group, "step": "look"})
    if standing["version"] and not force:
        text = (
            f"the map of group {group!r} has seen {standing['version']} changes and has {standing['entries']} entries; restore "
            "into a new group, or pass --force to make it as the backup is"
        )
        raise CommandError("NotEmpty", text)
    done, version, kept = 0, standing["version"], set[str]()
    with progress(f"restoring {group}", head.entries) as advance:
        for rows in backup.read(path):
            block = b64encode(pack(list(map(list, rows)))).decode()
            version = (await _step(at, group, "take", block=block))["version"] or version
            kept.update(key for key, *_ in rows)
            done += len(rows)
            advance(done, f"restoring {group}: {done:,} of {head.entries:,} entries")
    removed = 0
    if standing["version"]:
        strangers = [key for key in await _keys(at, group) if key not in kept]
        for first in range(0, len(strangers), KEYS):
            removed += (await _step(at, group, "drop", keys=strangers[first : first + KEYS]))["removed"]
        version = (await _step(at, group, "look"))["version"]
    return {"group": group, "file": str(path), "entries": done, "removed": removed, "version": version}


async def _step(at: Path, group: str, step: str, **more: Any) -> dict[str, int]:
    found: dict[str, int] = await ask_at(at, {"op": "restore", "group": group, "step": step, "timeout": 60, **more})
    return found


async def _keys(at: Path, group: str) -> list[str]:
    """All keys that the map has now."""
    keys: list[str] = []
    async with aclosing(ask_stream(at, {"op": "backup", "group": group})) as items:
        await anext(items)
        async for item in items:
            keys += [key for key, *_ in unpack(b64decode(item))]
    return keys
