"""A group with a data directory: what a restart finds, and what damage gets."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import anyio
import pytest

from p2praft import ConsensusConfig, GroupKey, Network, StorageError
from tests.groups.conftest import Counter
from transport import MemoryNetwork

pytestmark = pytest.mark.anyio
KEY = GroupKey(b"k" * 32)


def network(folder: Path) -> Network:
    return Network("n", listen="a:0", data_dir=folder, transport=MemoryNetwork().transport("a"))


def log_of(folder: Path) -> Path:
    (path,) = (folder / "groups").glob("*.sqlite")
    return path


async def test_a_restart_finds_identity_term_and_every_command(tmp_path: Path) -> None:
    async with network(tmp_path) as net, net.group("g", secret=KEY, machine=Counter()) as group:
        peer_id = net.peer_id
        await group.when.online()
        for _ in range(5):
            await group.execute(1)
        term, committed = group.term, group.committed
    async with network(tmp_path) as net, net.group("g", secret=KEY, machine=Counter()) as group:
        assert net.peer_id == peer_id
        with anyio.fail_after(20):
            await group.when.online()
            assert (await group.query(None)).value == 5
        assert group.term > term
        assert group.committed > committed
        assert await group.execute(1) == 6


async def test_two_groups_keep_two_logs(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        async with net.group("g", secret=KEY, machine=Counter()), net.group("h", secret=KEY, machine=Counter()):
            assert len(list((tmp_path / "groups").glob("*.sqlite"))) == 2


async def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    async with network(tmp_path):
        with pytest.raises(StorageError, match="in use by another process"):
            async with network(tmp_path):
                pass


async def test_a_corrupt_log_is_refused_and_the_node_goes_on(tmp_path: Path) -> None:
    async with network(tmp_path) as net, net.group("g", secret=KEY, machine=Counter()) as group:
        await group.when.online()
    with sqlite3.connect(log_of(tmp_path)) as db:
        db.execute("UPDATE entries SET data = x'00112233445566' WHERE idx = 1")
    db.close()
    async with network(tmp_path) as net:
        with pytest.raises(StorageError, match="entry 1 has a wrong checksum"):
            async with net.group("g", secret=KEY, machine=Counter()):
                pass
        async with net.group("h", secret=KEY, machine=Counter()) as other:
            await other.when.online()


async def test_a_disk_that_fills_up_stops_the_member_and_says_so(tmp_path: Path) -> None:
    async with network(tmp_path) as net, net.group("g", secret=KEY, machine=Counter()) as group:
        await group.when.online()
        storage = group._worker._storage
        storage._db.execute("PRAGMA max_page_count=1")  # type: ignore[attr-defined]
        with anyio.fail_after(20), pytest.raises(StorageError, match="the disk is full"):
            while True:
                await group.execute_many([1] * 1000)
        assert isinstance(group.failure, StorageError)
        with pytest.raises(StorageError):
            await group.execute(1)


async def test_a_restart_begins_with_the_snapshot_and_applies_what_stands_behind_it(tmp_path: Path) -> None:
    config = ConsensusConfig(snapshot_every=100)
    for first in (True, False):
        async with (
            Network("n", listen="a:0", data_dir=tmp_path, transport=MemoryNetwork().transport("a")) as net,
            net.group("g", secret=KEY, machine=Counter(), consensus=config) as group,
        ):
            with anyio.fail_after(30):
                await group.when.online()
                if first:
                    for _ in range(350):
                        await group.execute(1)
                    while group._worker.engine.ctx.log.base.index < 100:
                        await anyio.sleep(0.01)
                else:
                    assert group._worker.engine.ctx.log.base.index >= 100
                    assert await group.execute(1) == 351
