"""Backups: the file, what a node gives and takes, and what is refused."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import Result

from p2praft import ConsensusConfig, GroupKey, Network
from p2praft.cli.control import ControlServer
from p2praft.cli.output import CommandError
from p2praft.cli.snapshot import file as backup, operations
from p2praft.cli.snapshot.commands import _restore, _save
from p2praft.cli.snapshot.file import BackupError, Head
from p2praft.collections import Map, MapMachine
from p2praft.groups.machine import pack, unpack
from transport import MemoryNetwork
from transport.tasks import owned_tasks

Run = Callable[..., Result]
HEAD = Head(network="shop", group="tills", map_version=7, time=1.5, entries=2)
ROWS: list[backup.Row] = [("a", [1, b"\xff"], 3, None), ("b", "two", 7, 30.0)]


def write(path: Path, head: Head = HEAD, rows: list[backup.Row] = ROWS) -> Path:
    with backup.writing(path, head) as writer:
        for row in rows:
            writer.block(pack([list(row)]))
    return path


# --- the file


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "backup")
    assert backup.verify(path) == HEAD
    assert [row for rows in backup.read(path) for row in rows] == ROWS
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_backup_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    path = write(tmp_path / "backup")
    before = path.read_bytes()
    with pytest.raises(CommandError, match="the node stopped"), backup.writing(path, HEAD) as writer:
        writer.block(b"half")
        raise CommandError("NoNode", "the node stopped")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "backup")
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1 :])
        with pytest.raises(BackupError):
            backup.verify(path)
        path.write_bytes(whole[:at])
        with pytest.raises(BackupError):
            backup.verify(path)
    path.write_bytes(whole + b"x")
    with pytest.raises(BackupError, match="checksum"):
        backup.verify(path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is no backup"),
        (b"[]\n", "is no backup"),
        (b"\xff\n", "is no backup"),
        (b'{"format": "p2praft-snapshot", "version": 2}\n', "newer p2praft"),
        (b'{"format": "p2praft-snapshot", "version": 1}\n', "does not say its network"),
    ],
)
def test_files_that_are_no_backups(p2praft: Run, tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    result = p2praft("snapshot", "show", str(path))
    assert result.exit_code == 1
    assert says in result.stderr


def test_show_says_what_a_backup_holds(p2praft: Run, tmp_path: Path) -> None:
    path = str(write(tmp_path / "backup"))
    shown = p2praft("snapshot", "show", path)
    assert "holds 2 entries of group tills in network shop, version 7 of 1970-01-01 00:00:01 UTC" in shown.stdout
    (told,) = map(json.loads, p2praft("snapshot", "show", path, "--json").stdout.splitlines())
    assert told["entries"] == 2
    assert told["map_version"] == 7
    missing = p2praft("snapshot", "show", str(tmp_path / "none"))
    assert "cannot read" in missing.stderr


# --- with a node


@asynccontextmanager
async def serving(path: Path, name: str) -> AsyncIterator[Map[Any]]:
    """A group of one with a map and a control socket."""
    consensus = ConsensusConfig(bootstrap_delay=0)
    async with (
        Network("shop", listen="host:0", transport=MemoryNetwork(seed=1).transport("host")) as network,
        network.group(name, secret=GroupKey(b"k" * 32), machine=MapMachine(), consensus=consensus) as group,
        owned_tasks() as tasks,
    ):
        await tasks.start(ControlServer(network, anyio.current_time()).serve, path)
        await group.when.online()
        yield Map(group)


def contents(entries: dict[str, Any]) -> dict[str, Any]:
    return {key: entry.value for key, entry in entries.items()}


@pytest.mark.anyio
async def test_a_map_goes_into_a_file_and_into_a_new_group(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "BLOCK", 200)  # many blocks
    path = tmp_path / "backup"
    stored = {f"key-{number:03}": {"number": number, "bytes": bytes([number])} for number in range(100)}
    with anyio.fail_after(60):
        async with serving(runtime / "node.sock", "tills") as source:
            await source.set_many(stored)
            await source.set("short", 1, ttl=1000)
            await source.set("gone", 1)
            await source.delete("gone")
            head = await _save("node", "tills", path)
            assert head == backup.verify(path)
            assert (head.group, head.entries) == ("tills", 101)
            assert head.map_version == await source.version()
        async with serving(runtime / "node.sock", "spare") as target:
            done = await _restore("node", "spare", path, False)
            assert done == {
                "group": "spare",
                "file": str(path),
                "entries": 101,
                "removed": 0,
                "version": await target.version(),
            }
            found = await target.items()
            assert contents(found) == {**stored, "short": 1}
            assert found["short"].expires is not None
            assert found["key-000"].expires is None


@pytest.mark.anyio
async def test_a_map_with_a_history_is_only_replaced_on_demand(runtime: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "backup")
    with anyio.fail_after(60):
        async with serving(runtime / "node.sock", "tills") as target:
            await target.set_many({"a": "other", "stranger": 1})
            with pytest.raises(CommandError, match="has seen 2 changes and has 2 entries; restore into a new") as error:
                await _restore("node", "tills", path, False)
            assert error.value.kind == "NotEmpty"
            assert contents(await target.items()) == {"a": "other", "stranger": 1}
            done = await _restore("node", "tills", path, True)
            assert done["removed"] == 1
            assert contents(await target.items()) == {"a": [1, b"\xff"], "b": "two"}
            again = await _restore("node", "tills", path, True)
            assert again["removed"] == 0
            assert contents(await target.items()) == {"a": [1, b"\xff"], "b": "two"}


@pytest.mark.anyio
async def test_a_damaged_backup_changes_nothing(runtime: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "backup")
    path.write_bytes(path.read_bytes()[:-1])
    with anyio.fail_after(60):
        async with serving(runtime / "node.sock", "tills") as target:
            with pytest.raises(BackupError, match="is damaged: its checksum does not hold"):
                await _restore("node", "tills", path, True)
            assert await target.version() == 0


@pytest.mark.anyio
async def test_a_backup_is_of_one_moment(monkeypatch: pytest.MonkeyPatch, runtime: Path) -> None:
    """Two keys that only ever change together are together in the backup, whatever is written while it is read."""
    monkeypatch.setattr(operations, "BLOCK", 1)  # a block a row
    with anyio.fail_after(60):
        async with serving(runtime / "node.sock", "tills") as source:
            await source.set_many({"a": 0, "z": 0, **dict.fromkeys("bcdefgh", 0)})
            values: dict[str, Any] = {}
            async with aclosing(operations.give(source, "shop")) as items:
                await anext(items)
                for number in range(1, 10):
                    await source.set_many({"a": number, "z": number})
                    for key, value, *_ in unpack(b64decode(await anext(items))):
                        values[key] = value
            assert values["a"] == values["z"] == 0
            assert len(values) == 9
