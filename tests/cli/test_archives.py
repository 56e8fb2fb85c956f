"""What a node has kept of ended histories, over its control socket and as a person reads it; and who is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import Result

from p2praft.cli.client import ask_stream
from p2praft.cli.output import CommandError
from tests.cli.conftest import FakeNode
from tests.cli.test_control import Node, running
from tests.collections.support import soon
from tests.groups.aside import keep_aside

pytestmark = pytest.mark.anyio
Run = Callable[..., Result]


@pytest.fixture
async def node(runtime: Path) -> AsyncIterator[Node]:
    async with running(runtime / "node.sock") as made:
        yield made


def archive(node: Node, action: str, **more: Any) -> Any:
    return node.ask(op="archive", action=action, group="line", **more)


async def streamed(node: Node, op: str, **more: Any) -> list[Any]:
    async with aclosing(ask_stream(node.path, {"op": op, "group": "line", **more})) as items:
        return [item async for item in items]


async def test_what_is_kept_is_listed_shown_and_exported(node: Node) -> None:
    assert await archive(node, "list") == []
    await node.map("set", key="a", value=[1])
    keep_aside(node.group)
    (info,) = await archive(node, "list")
    assert (info["number"], info["ended"], info["commands"], info["problem"]) == (1, "left", 1, "")
    shown = await archive(node, "show", number=1)
    assert "Genesis" in {entry["kind"] for entry in shown}
    (held,) = [entry for entry in shown if entry["commands"]]
    assert held["index"] <= info["index"]
    head, *_, last = await streamed(node, "export", number=1)
    assert (head["archive"], head["index"]) == (1, info["index"])
    assert last["command"] == held["commands"][0]
    assert (await node.map("get", key="a"))["value"] == [1], "the machine is as it was"


async def test_a_replay_executes_the_commands_again(node: Node) -> None:
    await node.map("set", key="a", value=1)
    keep_aside(node.group)
    await node.map("set", key="a", value=2)
    assert await archive(node, "commands", number=1) == {"commands": 1}
    assert await streamed(node, "replay", number=1, timeout=5) == [{"commands": 1, "failed": 0}]
    assert await node.map("get", key="a") == {"key": "a", "value": 1, "version": 3}


async def test_a_watch_hears_nothing_of_an_export(node: Node) -> None:
    await node.map("set", key="a", value=1)
    keep_aside(node.group)
    async with node.watch() as events:
        await anext(events)
        await streamed(node, "export", number=1)
        await node.map("set", key="b", value=2)
        assert await anext(events) == {"event": "set", "key": "b", "value": 2, "version": 2}


async def test_two_operators_at_once_do_not_replay_twice(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    await node.map("set", key="a", value=1)
    keep_aside(node.group)
    go = anyio.Event()
    inner = node.group.execute_many

    async def slow(*arguments: Any, **more: Any) -> Any:
        await go.wait()
        return await inner(*arguments, **more)

    monkeypatch.setattr(node.group, "execute_many", slow)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: streamed(node, "replay", number=1, timeout=5))
        await soon(lambda: bool(node.group._worker.archives._replaying))
        with pytest.raises(CommandError, match="is being replayed already") as refused:
            await streamed(node, "replay", number=1, timeout=5)
        assert refused.value.kind == "NotAuthorized"
        go.set()
    assert (await node.map("get", key="a"))["version"] == 2


@pytest.mark.parametrize(
    "ask", [lambda node: archive(node, "show", number=7), lambda node: archive(node, "commands", number=7)]
)
async def test_a_number_that_was_never_given_is_refused(node: Node, ask: Any) -> None:
    with pytest.raises(CommandError, match=r"no archive 7.*`archive list` shows") as refused:
        await ask(node)
    assert refused.value.kind == "StorageError"


@pytest.mark.parametrize("op", ["export", "replay"])
async def test_so_it_is_in_a_stream(node: Node, op: str) -> None:
    with pytest.raises(CommandError, match="no archive 7"):
        await streamed(node, op, number=7, timeout=5)


async def test_a_group_that_works_refuses_recover_abandon_and_merge_with_a_reason(node: Node) -> None:
    for op, reason in [("recover", "nothing to recover"), ("abandon", "nothing to abandon"), ("merge", "no such word")]:
        with pytest.raises(CommandError, match=reason) as refused:
            await node.ask(op=op, group="line", timeout=1, lost=[])
        assert refused.value.kind == "NotAuthorized"
    with pytest.raises(CommandError, match="has met no other part"):
        await node.ask(op="merge", group="line", dry_run=True)


INFO: dict[str, Any] = {
    "number": 3,
    "history": "aabbccdd",
    "ended": "sealed",
    "into": "eeff0011",
    "term": 1,
    "index": 9,
    "entries": 9,
    "commands": 4,
    "whole": True,
    "problem": "",
    "aside": "4 entries stay aside",
}


def test_the_list_for_people(p2praft: Run, fake: FakeNode) -> None:
    fake.reply = {"result": [INFO]}
    rows = p2praft("archive", "list", "g").stdout.splitlines()
    assert rows[1].split() == ["3", "aabbccdd", "sealed", "eeff0011", "9", "4", "yes"]
    assert rows[2] == "archive 3: 4 entries stay aside"
    assert json.loads(p2praft("archive", "list", "g", "--json").stdout) == INFO
    fake.reply = {"result": []}
    assert p2praft("archive", "list", "g").stdout == "this node has kept no archive of g\n"


def test_the_entries_for_people(p2praft: Run, fake: FakeNode) -> None:
    entry = {"index": 5, "term": 1, "time": 0.0, "proposer": "p" * 52, "kind": "Commands", "commands": [["set", "é"]]}
    fake.reply = {"result": [entry]}
    row = p2praft("archive", "show", "g", "3").stdout.splitlines()[1]
    assert row.split(maxsplit=6) == ["5", "1", "1970-01-01", "00:00:00", "pppppppp", "Commands", '["set", "é"]']


def test_a_replay_asks_first_and_says_what_it_does(p2praft: Run, fake: FakeNode) -> None:
    fake.reply = {"result": {"commands": 4}}
    asked = p2praft("archive", "replay", "g", "3", "--json")
    assert asked.exit_code == 2
    assert "--yes" in asked.output
    assert "take effect twice" in p2praft("archive", "replay", "g", "3").output
    assert [request["op"] for request in fake.requests] == ["archive", "archive"], "nothing was executed"


MET: dict[str, Any] = {
    "this": {"history": "aaaaaaaa", "voters": 1, "disks": 0, "commands": [1, 1]},
    "other": {"history": "bbbbbbbb", "voters": 3, "disks": 3, "commands": [4, 7]},
    "this_ends": True,
    "waits": True,
}


def test_a_dry_run_of_merge_says_which_part_ends(p2praft: Run, fake: FakeNode) -> None:
    fake.reply = {"result": MET}
    one, other, word = p2praft("merge", "g", "--dry-run").stdout.splitlines()
    assert one == "this   history aaaaaaaa, up to 1 voters, 0 with disks, 1 entries with commands: ends"
    assert other == "other  history bbbbbbbb, up to 3 voters, 3 with disks, 4 to 7 entries with commands: goes on"
    assert "waits for `p2praft merge`" in word
    assert len(fake.requests) == 1


def test_a_merge_wants_a_yes(p2praft: Run, fake: FakeNode) -> None:
    fake.reply = {"result": MET}
    refused = p2praft("merge", "g", "--json")
    assert refused.exit_code == 2
    assert all(request.get("dry_run") for request in fake.requests)
    assert p2praft("merge", "g", "--yes").exit_code == 0
    assert fake.requests[-1] == {"op": "merge", "group": "g", "timeout": 30.0}


@pytest.mark.parametrize(
    ("online", "safe", "wanted", "status"),
    [(True, False, "safe", 1), (True, True, "safe", 0), (True, False, "online", 0)],
)
def test_status_waits(p2praft: Run, fake: FakeNode, online: bool, safe: bool, wanted: str, status: int) -> None:
    group = {"name": "g", "voters": ["p"], "online": online, "safe": safe, "waits_for": None}
    fake.reply = {"result": {"groups": [group]}}
    result = p2praft("status", "--wait", wanted, "--timeout", "1", "--json")
    assert result.exit_code == status
    if status:
        assert json.loads(result.stdout) == {"error": "Waiting", "message": "not safe within 1 s: g"}
