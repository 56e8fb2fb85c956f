"""A node with a data directory listens where it listened last, so that a group finds itself again without seeds."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from p2praft import ConsensusConfig, GroupKey, Network
from p2praft.groups.group import Group
from p2praft.storage import DataDirectory
from tests.groups.conftest import Counter
from transport import MemoryNetwork

pytestmark = pytest.mark.anyio
KEY = GroupKey(b"k" * 32)
THREE = ConsensusConfig(expect=3)


async def start(stack: AsyncExitStack, folder: Path, seeds: list[str]) -> tuple[Network, Group]:
    network = await stack.enter_async_context(Network("n", listen="127.0.0.1:0", data_dir=folder, seeds=seeds))
    handle = network.group("g", secret=KEY, machine=Counter(), consensus=THREE)
    return network, await stack.enter_async_context(handle)


async def test_a_group_of_which_all_were_stopped_comes_back_without_seeds(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    with anyio.fail_after(60):
        async with AsyncExitStack() as stack:
            seeds: list[str] = []
            before = []
            for folder in folders:
                network, group = await start(stack, folder, seeds)
                seeds = seeds or [str(network.address)]
                before.append(str(network.address))
            await group.when.online()
            assert [await group.execute(1) for _ in range(3)] == [1, 2, 3]
        async with AsyncExitStack() as stack:
            nodes = [await start(stack, folder, []) for folder in folders]
            assert [str(network.address) for network, _ in nodes] == before
            for network, group in nodes:
                await group.when.online()
                assert len(network.peers) == 2
            assert (await nodes[0][1].query(None)).value == 3


async def test_a_port_that_another_has_taken_is_given_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with Network("n", listen="127.0.0.1:0", data_dir=tmp_path) as network:
        port = network.endpoint.bound.port
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port))
        async with Network("n", listen="127.0.0.1:0", data_dir=tmp_path) as network:
            now = network.endpoint.bound.port
            assert now != port
            assert f"port {port}, which this node had last, is not to be had" in caplog.text
    async with Network("n", listen="127.0.0.1:0", data_dir=tmp_path) as network:
        assert network.endpoint.bound.port == now, "that is where the others know it by now"


async def test_a_port_that_was_asked_for_is_the_one(tmp_path: Path) -> None:
    memory = MemoryNetwork()
    async with Network("n", listen="a:0", data_dir=tmp_path, transport=memory.transport("a")) as network:
        assert network.address.endpoints[0].port == int((tmp_path / "port").read_text())
    async with Network("n", listen="a:4", data_dir=tmp_path, transport=memory.transport("a")) as network:
        assert network.address.endpoints[0].port == 4


@pytest.mark.parametrize("text", ["", "x", "0", "65536", "-1", "\xff"])
async def test_a_port_file_that_is_nonsense_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "port").write_bytes(text.encode("latin-1"))
    directory = DataDirectory(tmp_path)
    before = directory.port
    directory.keep_port(7)
    assert (before, directory.port) == (None, 7)
    directory.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "port"]
