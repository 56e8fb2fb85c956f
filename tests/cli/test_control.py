"""The control socket of a node: what it answers, and that no client can hurt the node."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from p2praft import ConsensusConfig, Group, GroupKey, Network
from p2praft.cli import client, control
from p2praft.cli.client import ask_at, ask_stream
from p2praft.cli.control import ControlServer
from p2praft.cli.output import CommandError
from p2praft.cli.runtime import find_node
from p2praft.collections import MapMachine, history
from tests.collections.support import soon
from transport import MemoryNetwork
from transport.tasks import owned_tasks

pytestmark = pytest.mark.anyio
KEY = GroupKey(b"k" * 32)
NESTED = json.loads("[" * 300 + "]" * 300)
ALONE = ConsensusConfig(bootstrap_delay=0)  # nobody to wait for


class Node:
    """A node with a group of its own, and its control socket."""

    def __init__(self, path: Path, network: Network, group: Group, server: ControlServer) -> None:
        self.server = server
        self.path = path
        self.network = network
        self.group = group

    async def ask(self, **request: Any) -> Any:
        return await ask_at(self.path, request)

    async def map(self, action: str, **more: Any) -> Any:
        return await self.ask(op="map", action=action, group="line", timeout=5, **more)

    def watch(self, **more: Any) -> AbstractAsyncContextManager[AsyncGenerator[Any, None]]:
        return aclosing(ask_stream(self.path, {"op": "watch", "group": "line", **more}))

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
            server = ControlServer(network, anyio.current_time())
            await tasks.start(server.serve, path)
            await group.when.online()
            yield Node(path, network, group, server)


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
        "name id role term leader is_leader committed log_position voters bonds online waits_for safe".split()  # noqa: SIM905
    )
    assert (group["name"], group["role"], group["leader"]) == ("line", "leader", str(node.network.peer_id))
    assert group["online"] is group["is_leader"] is True
    assert group["waits_for"] is None
    assert group["safe"] is True


async def test_the_map(node: Node) -> None:
    assert await node.map("set", key="a", value={"x": [1]}) == {"key": "a", "version": 1}
    entry = {"key": "a", "value": {"x": [1]}, "version": 1}
    assert await node.map("get", key="a") == await node.map("get", key="a", weak=True) == entry
    assert await node.map("list") == await node.map("list", prefix="a", weak=True) == [entry]
    assert await node.map("list", prefix="b") == []
    assert await node.map("delete", key="a") == {"key": "a", "version": 2}


async def test_a_condition_and_a_time_to_live(node: Node) -> None:
    await node.map("set", key="a", value=1, expected=0, ttl=3600)
    entry = await node.map("get", key="a")
    assert entry.pop("expires") > 1e9
    assert entry == {"key": "a", "value": 1, "version": 1}
    with pytest.raises(CommandError, match="at version 1, not 2"):
        await node.map("delete", key="a", expected=2)
    with pytest.raises(CommandError, match="ttl=-1 is not allowed"):
        await node.map("set", key="a", value=1, ttl=-1)


async def test_a_watch_says_from_where_it_begins_and_then_what_changes(node: Node) -> None:
    await node.map("set", key="b/0", value=0)
    async with node.watch(prefix="a/") as events:
        assert await anext(events) == {"event": "current", "version": 1}
        await node.map("set", key="a/1", value=[1])
        await node.map("set", key="b/1", value=1)
        await node.map("delete", key="a/1")
        assert await anext(events) == {"event": "set", "key": "a/1", "value": [1], "version": 2}
        assert await anext(events) == {"event": "delete", "key": "a/1", "version": 4}
    async with node.watch(since=2) as events:
        assert [(await anext(events))["version"] for _ in range(2)] == [3, 4]


async def test_a_watch_from_what_is_no_longer_held_begins_anew(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_CHANGES", 2)
    for at in range(4):
        await node.map("set", key=f"k{at % 2}", value=at)
    async with node.watch(since=1) as events:
        assert [await anext(events) for _ in range(4)] == [
            {"event": "reset", "version": 4},
            {"event": "entry", "key": "k0", "value": 2, "version": 3},
            {"event": "entry", "key": "k1", "value": 3, "version": 4},
            {"event": "current", "version": 4},
        ]


async def test_a_watch_ends_when_its_client_goes_and_when_its_group_closes(runtime: Path) -> None:
    async with running(runtime / "node.sock") as node:
        async with node.watch() as events:
            await anext(events)
            assert node.server.streaming == 1
        await soon(lambda: node.server.streaming == 0)
        async with node.watch() as events:
            await anext(events)
            node.group._worker.close()
            assert [event async for event in events] == []


async def test_streams_are_bounded(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "STREAMS", 1)
    async with node.watch() as first, node.watch() as second:
        await anext(first)
        with pytest.raises(CommandError, match="serves 1 streams already") as error:
            await anext(second)
        assert error.value.kind == "TooMany"


async def test_watches_do_not_take_the_place_of_requests(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(control.CLIENTS + 1):
            await anext(await stack.enter_async_context(node.watch()))
        assert (await node.ask(op="status"))["peers"] == 0


@pytest.mark.parametrize(("more", "kind"), [({"group": "lime"}, "NoGroup"), ({"since": -1}, "StructureError")])
async def test_watches_that_are_refused(node: Node, more: dict[str, Any], kind: str) -> None:
    async with node.watch(**more) as events:
        with pytest.raises(CommandError) as error:
            await anext(events)
    assert error.value.kind == kind


async def test_map_watch_streams_until_it_is_interrupted(runtime: Path) -> None:
    async with running(runtime / "node.sock") as node:
        command = [sys.executable, "-m", "p2praft", "map", "watch", "line", "a/", "--json"]
        async with await anyio.open_process(command, stderr=None) as process:
            assert process.stdout is not None
            lines = BufferedByteReceiveStream(process.stdout)

            async def line() -> Any:
                return json.loads(await lines.receive_until(b"\n", 1000))

            assert await line() == {"event": "current", "version": 0}
            await node.map("set", key="a/1", value="x")
            assert await line() == {"event": "set", "key": "a/1", "value": "x", "version": 1}
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0


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
        ({"op": "map", "action": "list", "group": "line", "prefix": 5}, "StructureError", "prefix '5'"),
        (
            {"op": "map", "action": "set", "group": "line", "key": 5, "value": 1, "timeout": 1},
            "StructureError",
            "key '5'",
        ),
        (
            {"op": "map", "action": "set", "group": "line", "key": "a", "value": 1, "timeout": float("nan")},
            "ConfigError",
            "timeout=nan",
        ),
        (
            {"op": "map", "action": "set", "group": "line", "key": "a", "value": 2**70, "timeout": 5},
            "StructureError",
            "a",
        ),
        *(
            (
                {"op": "map", "action": "set", "group": "line", "key": "a", "value": value, "timeout": 5},
                "StructureError",
                "the value of 'a' cannot be stored: ",
            )
            for value in (float("nan"), [float("inf")], NESTED)
        ),
        (
            {"op": "map", "action": "delete", "group": "line", "key": "a", "expected": 2**63, "timeout": 5},
            "StructureError",
            "it is a version, 0 (for no entry) to 9223372036854775807",
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
    monkeypatch.setattr(client, "MAX_LINE", 1000)
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


async def test_whoever_looks_for_nodes_leaves_one_that_is_starting_alone(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = anyio.create_unix_listener

    async def create_slowly(path: Path, **how: Any) -> Any:
        with closing(socket.socket(socket.AF_UNIX)) as bound:
            bound.bind(str(path))  # and does not listen yet
            with pytest.raises(CommandError, match="no node runs here"):
                find_node(None)
            path.unlink()
        return await create(path, **how)

    monkeypatch.setattr(anyio, "create_unix_listener", create_slowly)
    async with running(runtime / "node.sock"):
        assert find_node(None) == runtime / "node.sock"


async def test_a_node_that_does_not_answer_is_given_up(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.05)
    async with await anyio.create_unix_listener(runtime / "mute.sock"):
        with pytest.raises(CommandError, match=r"did not answer within 0\.05 s") as error:
            await ask_at(runtime / "mute.sock", {"op": "status"})
    assert error.value.kind == "NoAnswer"


async def test_a_living_node_keeps_its_socket(node: Node) -> None:
    again = ControlServer(node.network, anyio.current_time())
    with pytest.raises(CommandError, match="another node with this identity runs here") as error:
        async with owned_tasks() as tasks:
            await tasks.start(again.serve, node.path)
    assert error.value.kind == "Running"
    assert (await node.ask(op="status"))["peers"] == 0


async def test_top_has_the_members_with_their_logs(node: Node) -> None:
    await node.map("set", key="a", value=1)
    (group,) = (await node.ask(op="top"))["groups"]
    (member,) = group["members"]
    assert (member["peer_id"], member["match"]) == (str(node.network.peer_id), group["log_position"]["index"])


def test_a_second_node_with_the_same_identity_does_not_start(runtime: Path, tmp_path: Path) -> None:
    up = [sys.executable, "-m", "p2praft", "up", "--network", "shop", "--listen", "127.0.0.1:0", "--json"]
    up += ["--identity", str(tmp_path / "key")]
    with subprocess.Popen(up, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        ready = json.loads(first.stdout.readline())
        second = subprocess.run(
            [*up, "--data-dir", str(tmp_path / "b")], capture_output=True, text=True, timeout=60, check=False
        )
        assert second.returncode == 1
        assert json.loads(second.stdout.splitlines()[-1])["error"] == "Running"
        assert not (tmp_path / "b" / "control").exists(), "nobody is led from there to the other node"
        status = anyio.run(ask_at, Path(ready["control"]), {"op": "status"})
        assert status["peer_id"] == ready["peer_id"]
        first.terminate()
