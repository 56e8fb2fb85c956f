"""Data directories of release 0.1 (``data_0_1/``, written by it) are carried over by themselves, and nothing is left in silence."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import tarfile
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from p2praft import ConsensusConfig, Group, GroupKey, Network, StorageError
from p2praft.collections import Map, MapMachine
from p2praft.groups import legacy
from p2praft.groups.key import GroupId
from p2praft.groups.legacy import Former, beginning
from tests.storage.data_0_1.make import CONFIG, NAMES, SECRET
from transport import MemoryNetwork

pytestmark = pytest.mark.anyio
ARCHIVE = Path(__file__).parent / "data_0_1" / "data.tar.xz"
THEN = "dmbcjqzj5letgre52r7ny6oj5q.sqlite"
"""What 0.1 called the group's file."""
WRITTEN = {f"key-{number % 20}": number for number in range(350)} | {f"late-{number}": number for number in range(5)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "groups").iterdir() if not path.name.endswith("-shm")}


async def start(
    stack: AsyncExitStack, net: MemoryNetwork, data: Path, name: str, *seeds: Network
) -> tuple[Network, Group]:
    addresses = [seed.address for seed in seeds]
    transport = net.transport(name)
    node = Network("shop", listen=f"{name}:0", seeds=addresses, data_dir=data / name, transport=transport)
    await stack.enter_async_context(node)
    handle = node.group("tills", secret=SECRET, machine=MapMachine(), consensus=CONFIG)
    return node, await stack.enter_async_context(handle)


async def test_a_group_of_0_1_goes_on_with_all_that_it_had(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Snapshot, log, what stood in the write-ahead log alone, voters, term, and incarnations: a restart like any other."""
    assert files(data / "north") == {THEN, f"{THEN}-wal"}
    caplog.set_level(logging.INFO, "p2praft.group")
    with anyio.fail_after(60):
        async with AsyncExitStack() as stack:
            net = MemoryNetwork()
            nodes: list[Network] = []
            groups: list[Group] = []
            for name in NAMES:
                node, group = await start(stack, net, data, name, *nodes)
                nodes.append(node)
                groups.append(group)
            for group in groups:
                await group.when.online()
            assert {peer for group in groups for peer in group.voters} == {node.peer_id for node in nodes}
            assert groups[0].term > 3
            prices = Map(groups[1])
            assert {key: entry.value for key, entry in (await prices.items()).items()} == WRITTEN
            assert await prices.set("new", 1) == 356, "versions go on"
            assert groups[1].committed > 361
            now = f"{groups[0].id}.sqlite"
            assert files(data / "north") <= {now, f"{now}-wal"}
    assert caplog.text.count("is carried over") == len(NAMES)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING and "0.1" in record.message]


async def test_once_carried_over_it_is_a_directory_like_any_other(
    data: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        await start(stack, MemoryNetwork(), data, "north")
    monkeypatch.setattr(Former, "id", lambda self: pytest.fail("the passphrase is stretched for nothing"))
    caplog.set_level(logging.INFO, "p2praft.group")
    async with AsyncExitStack() as stack:
        await start(stack, MemoryNetwork(), data, "north")
    assert "0.1" not in caplog.text


FOLDER_KEY = GroupKey(b"k" * 32)
NETWORK = Network("n").id


def former(
    secret: GroupKey | str = FOLDER_KEY, *, config: ConsensusConfig | None = None, signature: str = "m/1"
) -> Former:
    return Former(
        secret=secret, network=NETWORK, name="g", config=config or ConsensusConfig(), signature=signature, validators=()
    )


NEW = GroupId.of(FOLDER_KEY, network=NETWORK, name="g", machine="m")


def put(folder: Path, group: GroupId, content: str = "") -> Path:
    path = folder / f"{group}.sqlite"
    path.write_text(content or str(group))
    return path


def test_ids_and_keys_are_those_that_0_1_made() -> None:
    """From the vectors in its docs/protocol.md."""
    key = GroupKey.from_passphrase(SECRET)
    assert key.secret.hex() == "313cabee19ae3df9a33d7d7557cb07c487429048c0dc196ba565289fbbeed971"
    factory = Network("factory").id
    for secret in (key, SECRET):
        then = Former(secret=secret, network=factory, name="line-1", config=ConsensusConfig(), signature="counter/1")
        assert then.id().key.hex() == "f85ac1632548c90167eafc9786968f5b"
    assert beginning(factory, "line-1").hex() == "f85ac163"
    shop = Former(secret=SECRET, network=Network("shop").id, name="tills", config=CONFIG, signature="p2praft.map/2")
    assert f"{shop.id()}.sqlite" == THEN


def test_what_was_left_at_a_default_then_is_found_though_the_default_is_another_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    then = former().id()
    assert former(config=ConsensusConfig(voter_grace=7)).id() != then
    monkeypatch.setattr(legacy, "ConsensusConfig", lambda: ConsensusConfig(voter_grace=7))
    assert former(config=ConsensusConfig(voter_grace=7)).id() == then


@pytest.mark.parametrize(
    "other",
    [
        former(GroupKey(b"K" * 32)),
        former(config=ConsensusConfig(expect=2)),
        former(signature="m/2"),
    ],
)
def test_what_is_not_ours_is_left_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture, other: Former) -> None:
    left = put(tmp_path, other.id())
    legacy.carry_over(tmp_path, NEW, former())
    assert [path.name for path in tmp_path.iterdir()] == [left.name]
    (record,) = caplog.records
    assert left.name in record.message
    assert "start the node once with those of then" in record.message


def test_one_is_carried_over_and_the_rest_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, former().id(), "ours")
    others = [put(tmp_path, former(config=ConsensusConfig(expect=expect)).id()) for expect in (2, 3)]
    legacy.carry_over(tmp_path, NEW, former())
    assert (tmp_path / f"{NEW}.sqlite").read_text() == "ours"
    (record,) = caplog.records
    assert all(path.name in record.message for path in others)


def test_newer_data_is_never_overwritten(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    newer, old = put(tmp_path, NEW, "newer"), put(tmp_path, former().id(), "older")
    legacy.carry_over(tmp_path, NEW, former())
    assert (newer.read_text(), old.read_text()) == ("newer", "older")
    assert "newer data" in caplog.text
    assert old.name in caplog.text


def test_files_of_other_groups_are_let_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = GroupId.of(FOLDER_KEY, network=NETWORK, name="h", machine="m")
    put(tmp_path, other)
    (tmp_path / "notes.sqlite").write_text("mine")
    legacy.carry_over(tmp_path, NEW, former(""))  # an empty passphrase: to stretch it would fail
    legacy.carry_over(tmp_path / "missing", NEW, former(""))
    assert {path.name for path in tmp_path.iterdir()} == {f"{other}.sqlite", "notes.sqlite"}
    assert not caplog.records


@pytest.mark.parametrize("crash_after", [1, 2])
def test_a_crash_while_files_are_renamed_loses_no_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_after: int
) -> None:
    """What stands in the write-ahead log alone is never left behind by the file that it belongs to."""
    then = tmp_path / f"{former().id()}.sqlite"
    db = sqlite3.connect(then, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE t (x)")
    db.execute("INSERT INTO t VALUES (7)")
    for ending in legacy.FILES:  # as a power cut leaves them
        shutil.copy(f"{then}{ending}", tmp_path / f"copy{ending}")
    db.close()
    for ending in legacy.FILES:
        os.replace(tmp_path / f"copy{ending}", f"{then}{ending}")
    rename, done = Path.replace, 0

    def cut(path: Path, target: str) -> Path:
        nonlocal done
        if done == crash_after:
            raise OSError(5, "the power is cut")
        done += 1
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", cut)
        with pytest.raises(StorageError, match=r"cannot rename .*: the power is cut; check who owns"):
            legacy.carry_over(tmp_path, NEW, former())
    legacy.carry_over(tmp_path, NEW, former())
    with sqlite3.connect(tmp_path / f"{NEW}.sqlite") as now:
        assert now.execute("SELECT x FROM t").fetchall() == [(7,)]
    now.close()
    assert not list(tmp_path.glob(f"{then.name}*"))
