"""The control socket of a node: what it answers, and that no client can hurt the node."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from p2praft import ConsensusConfig, Group, GroupKey, Network
from p2praft.cli import control
from p2praft.cli.control import ControlServer, ask_at
from p2praft.cli.output import CommandError
from p2praft.collections import MapMachine
from transport import MemoryNetwork
from transport.tasks import owned_tasks

pytestmark = pytest.mark.anyio
KEY = GroupKey(b"k" * 32)
ALONE = ConsensusConfig(bootstrap_delay=0)  # nobody to wait for


class Node:
    """A node with a group of its own, and its control socket."""

    def __init__(self, path: Path, network: Network, group: Group) -> None:
        self.path = path
        self.network = network
        self.group = group

    async def ask(self, **request: Any) -> Any:
        return await ask_at(self.path, request)

    async def map(self, action: str, **more: Any) -> Any:
        return await self.ask(op="map", action=action, group="line", timeout=5, **more)

    async def raw(self, data: bytes) -> bytes:
        """What the node answers to some bytes."""
        async with await anyio.connect_unix(self.path) as stream:
            received = b""
            try:
                await stream.send(data)
                await stream.send_eof()
                while True:
                    received += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return received


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[Node]:
    memory = MemoryNetwork(seed=1)
    with anyio.fail_after(30):
        async with (
            Network("shop", listen="host:0", transport=memory.transport("host")) as network,
            network.group("line", secret=KEY, machine=MapMachine(), consensus=ALONE) as group,
            owned_tasks() as tasks,
        ):
            await tasks.start(ControlServer(network, anyio.current_time()).serve, path)
            await group.when.online()
            yield Node(path, network, group)


@pytest.fixture
async def node(runtime: Path) -> AsyncIterator[Node]:
    async with running(runtime / "node.sock") as made:
        yield made


async def test_status_groups_and_peers_have_the_keys_of_the_contract(node: Node) -> None:
    status = await node.ask(op="status")
    assert set(status) == {"peer_id", "address", "network", "uptime", "peers", "groups"}
    assert status["address"] == str(node.network.address)
    assert await node.ask(op="peers") == []
    (group,) = await node.ask(op="groups")
    assert list(group) == (
        "name id role term leader is_leader committed log_position voters bonds online".split()  # noqa: SIM905
    )
    assert (group["name"], group["role"], group["leader"]) == ("line", "leader", str(node.network.peer_id))
    assert group["online"] is group["is_leader"] is True


async def test_the_map(node: Node) -> None:
    assert await node.map("set", key="a", value={"x": [1]}) == {"key": "a", "version": 1}
    entry = {"key": "a", "value": {"x": [1]}, "version": 1}
    assert await node.map("get", key="a") == await node.map("get", key="a", weak=True) == entry
    assert await node.map("list") == await node.map("list", prefix="a", weak=True) == [entry]
    assert await node.map("list", prefix="b") == []
    assert await node.map("delete", key="a") == {"key": "a", "version": 2}


@pytest.mark.parametrize(
    ("request_", "kind", "says"),
    [
        ({"op": "map", "action": "get", "group": "line", "key": "a"}, "NoSuchKey", "no key 'a' in map 'line'"),
        ({"op": "map", "action": "delete", "group": "line", "key": "a", "timeout": 5}, "NoSuchKey", "no key 'a'"),
        ({"op": "map", "action": "get", "group": "lime", "key": "a"}, "NoGroup", "no group 'lime'; it serves: line"),
        ({"op": "map", "action": "get", "group": "line", "key": ""}, "StructureError", "1 to 1024"),
        ({"op": "map", "action": "get", "group": "line", "key": "\ud800"}, "StructureError", "not Unicode"),
        ({"op": "map", "action": "get", "group": "line"}, "BadRequest", "key"),
        ({"op": "map", "action": "frobnicate", "group": "line"}, "BadRequest", "frobnicate"),
        (
            {"op": "map", "action": "set", "group": "line", "key": "a", "value": 2**70, "timeout": 5},
            "StructureError",
            "a",
        ),
        ({"op": "transfer", "group": "line", "to": "nonsense"}, "NoPeer", "begin with 'nonsense'"),
        ({"op": "transfer", "group": "line"}, "NotAuthorized", "not a bonded voter"),
        ({"op": "frobnicate"}, "BadRequest", "frobnicate"),
        ({}, "BadRequest", "op"),
        ([], "BadRequest", "does not understand"),
    ],
)
async def test_refusals(node: Node, request_: Any, kind: str, says: str) -> None:
    reply = json.loads(await node.raw(json.dumps(request_).encode() + b"\n"))
    assert reply["error"] == kind
    assert says in reply["message"]


async def test_a_conflict_names_the_version_found(node: Node) -> None:
    await node.map("set", key="a", value=1)
    with pytest.raises(CommandError, match="at version 1, not 7") as conflict:
        await node.map("set", key="a", value=2, expected=7)
    assert conflict.value.kind == "Conflict"


@pytest.mark.parametrize("data", [b"", b"{", b"not json\n", b"\xff\xfe\n", b'"x' * 10, b"[" * 100_000 + b"\n"])
async def test_garbage_ends_only_its_own_connection(node: Node, data: bytes) -> None:
    assert await node.raw(data) == b""
    assert (await node.ask(op="status"))["peers"] == 0


async def test_a_request_that_is_too_long_ends_only_its_own_connection(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "MAX_LINE", 1000)
    assert await node.raw(b'"' + b"x" * 300_000 + b'"\n') == b""
    assert await node.ask(op="peers") == []


async def test_an_answer_that_is_too_long_is_an_error(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    await node.map("set", key="a", value="x" * 2000)
    monkeypatch.setattr(control, "MAX_LINE", 1000)
    with pytest.raises(CommandError, match="larger than 1000 bytes") as error:
        await node.map("list")
    assert error.value.kind == "TooLarge"


async def test_a_client_that_says_nothing_is_cut_off(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "IDLE", 0.05)
    async with await anyio.connect_unix(node.path) as stream:
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()


async def test_many_clients_at_once_all_get_answers(node: Node) -> None:
    answers: list[Any] = []

    async def one(at: int) -> None:
        answers.append(await node.map("set", key=f"key-{at}", value=at))

    async with anyio.create_task_group() as tasks:
        for at in range(2 * control.CLIENTS):
            tasks.start_soon(one, at)
    assert sorted(answer["version"] for answer in answers) == list(range(1, 2 * control.CLIENTS + 1))


async def test_a_member_without_a_leader_says_so(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node.group._worker.engine, "propose", lambda *proposal: False)
    with pytest.raises(CommandError, match="nothing was sent") as error:
        await node.ask(op="map", action="set", group="line", key="a", value=1, timeout=0.1)
    assert error.value.kind == "Offline"


async def test_the_socket_is_only_ours_and_goes_with_the_node(runtime: Path) -> None:
    path = runtime / "node.sock"
    path.touch()  # left behind by a node that was killed
    async with running(path):
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()
    with pytest.raises(CommandError, match="the node stopped before it answered"):
        await ask_at(path, {"op": "status"})


async def test_a_node_that_does_not_answer_is_given_up(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "PATIENCE", 0.05)
    async with await anyio.create_unix_listener(runtime / "mute.sock"):
        with pytest.raises(CommandError, match=r"did not answer within 0\.05 s") as error:
            await ask_at(runtime / "mute.sock", {"op": "status"})
    assert error.value.kind == "NoAnswer"
