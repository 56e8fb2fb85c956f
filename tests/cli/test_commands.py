"""What the commands ask of a node, and how they show its answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result

from p2praft import SecretKey
from p2praft.cli import app, main
from p2praft.cli.app import command
from tests.cli.conftest import FakeNode
from tests.cli.every import commands_of

Run = Callable[..., Result]
PEER = str(SecretKey.generate().peer_id)
GROUP: dict[str, Any] = {
    "name": "[line]",
    "id": "abcd",
    "role": "follower",
    "term": 3,
    "leader": PEER,
    "is_leader": False,
    "committed": 41,
    "log_position": {"term": 3, "index": 42},
    "voters": [PEER],
    "bonds": [{"peer_id": PEER, "rtt": 0.001}],
    "online": True,
}
STATUS = {"peer_id": PEER, "address": f"{PEER}@[::1]:7", "network": "[shop]", "uptime": 61.5, "peers": 4}


def lines(result: Result) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_status(p2praft: Run, fake: FakeNode) -> None:
    fake.reply = {"result": {**STATUS, "groups": [GROUP]}}
    result = p2praft("status")
    assert result.exit_code == 0
    assert f"{PEER}@[::1]:7" in result.stdout
    assert "[shop], 4 other nodes, up for 62 s" in result.stdout
    assert f"[line]: follower in term 3, leader {PEER[:8]}, 41 committed" in result.stdout
    assert lines(p2praft("status", "--json")) == [{**STATUS, "groups": [GROUP]}]
    assert fake.requests == [{"op": "status"}] * 2


def test_peers(p2praft: Run, fake: FakeNode) -> None:
    peer = {
        "peer_id": PEER,
        "addresses": ["10.0.0.5:7"],
        "tags": ["a"],
        "groups": ["g"],
        "rtt": 0.0021,
        "status": "alive",
    }
    fake.reply = {"result": [peer, {**peer, "rtt": None}]}
    rows = p2praft("peers").stdout.splitlines()
    assert rows[0].split() == ["PEER", "STATUS", "RTT", "ADDRESSES", "GROUPS", "TAGS"]
    assert rows[1].split() == [PEER[:8], "alive", "2.1", "ms", "10.0.0.5:7", "1", "a"]
    assert rows[2].split()[2] == "-"
    assert lines(p2praft("peers", "--json")) == [peer, {**peer, "rtt": None}]


def test_groups(p2praft: Run, fake: FakeNode) -> None:
    fake.reply = {"result": [GROUP, {**GROUP, "leader": None, "online": False}]}
    rows = p2praft("groups").stdout.splitlines()
    assert rows[1].split() == ["[line]", "follower", "3", PEER[:8], "41/42", PEER[:8], "1", "yes"]
    assert rows[2].split()[3] == "-"
    assert rows[2].split()[-1] == "no"
    assert lines(p2praft("groups", "--json"))[0] == GROUP


def test_a_group_that_is_not_founded_says_what_it_waits_for(p2praft: Run, fake: FakeNode) -> None:
    fake.reply = {"result": [{**GROUP, "voters": [], "waits_for": "waits for [bold]"}]}
    assert p2praft("groups").stdout.splitlines()[-1] == "[line]: not founded yet: it waits for [bold]"
    fake.reply = {"result": {**STATUS, "groups": fake.reply["result"]}}
    assert "not founded yet: it waits for [bold]" in p2praft("status").stdout


@pytest.mark.parametrize(
    ("arguments", "request_"),
    [
        (["get", "g", "k"], {"action": "get", "key": "k", "weak": False}),
        (["get", "g", "k", "--weak"], {"action": "get", "key": "k", "weak": True}),
        (["set", "g", "k", "v"], {"action": "set", "key": "k", "value": "v", "expected": None, "timeout": 10.0}),
        (["set", "g", "k", "v", "--expected", "0", "--timeout", "2"], {"expected": 0, "timeout": 2.0}),
        (["set", "g", "k", "v", "--expect-version", "3", "--ttl", "1.5"], {"expected": 3, "ttl": 1.5}),
        (["delete", "g", "k"], {"action": "delete", "key": "k", "expected": None, "timeout": 10.0}),
        (["delete", "g", "k", "--expect-version", "3"], {"action": "delete", "expected": 3}),
        (["list", "g"], {"action": "list", "prefix": "", "weak": False}),
        (["list", "g", "p", "--weak"], {"action": "list", "prefix": "p", "weak": True}),
    ],
)
def test_what_the_map_commands_ask(
    p2praft: Run, fake: FakeNode, arguments: list[str], request_: dict[str, Any]
) -> None:
    fake.reply = {"error": "Test", "message": "enough"}
    assert p2praft("map", *arguments).exit_code == 1
    (asked,) = fake.requests
    assert {"op": "map", "group": "g", **request_}.items() <= asked.items()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("-7.5", -7.5),
        ('"7"', "7"),
        ("true", True),
        ("null", None),
        ('{"a": [1.5]}', {"a": [1.5]}),
        ("green", "green"),
        ("{broken", "{broken"),
        ("", ""),
        ('"NaN"', "NaN"),
        ("NaN and butter", "NaN and butter"),
    ],
)
def test_values_are_json_if_they_parse_as_json_else_text(p2praft: Run, fake: FakeNode, text: str, value: Any) -> None:
    fake.reply = {"result": {"key": "k", "version": 1}}
    assert p2praft("map", "set", "g", "k", text).stdout == "version 1\n"
    assert fake.requests[0]["value"] == value
    assert type(fake.requests[0]["value"]) is type(value)


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e999", '[1, {"a": NaN}]', "[" * 600 + "]" * 600, "[" * 100_000])
def test_values_that_no_map_stores_are_refused_before_a_node_is_asked(p2praft: Run, fake: FakeNode, text: str) -> None:
    result = p2praft("map", "set", "g", "k", text)
    assert (result.exit_code, result.stdout, fake.requests) == (1, "", [])
    assert result.stderr.startswith("error: the value of 'k' cannot be stored: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["map", "set", "g", "k", "1", "--timeout", "nan"], "'nan' is not a number"),
        (["map", "set", "g", "k", "1", "--ttl", "nan"], "'nan' is not a number"),
        (["map", "delete", "g", "k", "--timeout", "NaN"], "'NaN' is not a number"),
        (["recover", "g", "--timeout", "nan"], "'nan' is not a number"),
        (["top", "--interval", "nan"], "'nan' is not a number"),
        (["map", "set", "g", "k", "1", "--expect-version", "9" * 23], "is not in the range 0<=x<=9223372036854775807"),
        (["map", "watch", "g", "--since", "9" * 23], "is not in the range"),
        (["up", "--network", "sh\udcffop"], "'sh\\udcffop' is not text: it has bytes that are not UTF-8"),
        (["up", "--network", "shop", "--group", "g\udcff"], "'g\\udcff' is not text"),
        (["map", "get", "g\udcff", "k"], "is not text"),
        (["map", "set", "g", "k", "\udcff"], "is not text"),
        (["leave", "g\udcff"], "is not text"),
    ],
)
def test_usage_that_no_node_is_asked_about(p2praft: Run, fake: FakeNode, arguments: list[str], says: str) -> None:
    result = p2praft(*arguments)
    assert (result.exit_code, fake.requests) == (2, [])
    assert says in result.stderr


def test_a_secret_of_the_environment_that_is_no_text(p2praft: Run) -> None:
    result = p2praft("up", "--network", "n", "--group", "g", env={"P2PRAFT_SECRET": "s\udcff"})
    assert result.exit_code == 2
    assert "P2PRAFT_SECRET is not text" in result.stderr
    assert "udcff" not in result.stderr


@pytest.mark.parametrize("action", ["get", "list"])
def test_a_read_without_a_leader_names_the_option(p2praft: Run, fake: FakeNode, action: str) -> None:
    fake.reply = {
        "error": "Offline",
        "message": "no leader; try again, or use Consistency.WEAK for this one's own state",
    }
    result = p2praft("map", action, "g", "k")
    assert result.stderr == "error: no leader; try again, or use --weak for this one's own state\n"


def test_nothing_that_a_map_holds_drives_the_terminal(p2praft: Run, fake: FakeNode) -> None:
    entry = {"key": "a\nb", "value": "\x1b[2J", "version": 1}
    fake.reply = {"result": [entry]}
    assert p2praft("map", "list", "g").stdout.splitlines()[1].split() == [r"a\nb", r"\x1b[2J", "1"]
    assert lines(p2praft("map", "list", "g", "--json")) == [entry]
    fake.reply = json.dumps({"item": {"event": "set", **entry}}).encode() + b"\n"
    assert p2praft("map", "watch", "g").stdout == "     1 set     a\\nb = \\x1b[2J\n"
    fake.reply = {"result": [{**GROUP, "name": "g\x9b1m"}]}
    assert p2praft("groups").stdout.splitlines()[1].split()[0] == r"g\x9b1m"
    fake.reply = {"result": {"key": "k", "value": "two\nlines", "version": 1}}
    assert p2praft("map", "get", "g", "k").stdout == "two\nlines\n", "whoever asks for one value gets it as it is"


@pytest.mark.parametrize(("value", "shown"), [("text", "text"), (7, "7"), (None, "null"), ([1, "a"], '[1, "a"]')])
def test_what_map_get_shows(p2praft: Run, fake: FakeNode, value: Any, shown: str) -> None:
    fake.reply = {"result": {"key": "k", "value": value, "version": 2}}
    assert p2praft("map", "get", "g", "k").stdout == f"{shown}\n"
    assert lines(p2praft("map", "get", "g", "k", "--json")) == [{"key": "k", "value": value, "version": 2}]


def test_what_map_list_shows(p2praft: Run, fake: FakeNode) -> None:
    entries = [{"key": "[k]", "value": "[red]v", "version": 1}, {"key": "l", "value": {"a": 1}, "version": 2}]
    fake.reply = {"result": entries}
    rows = [row.split() for row in p2praft("map", "list", "g").stdout.splitlines()]
    assert rows == [["KEY", "VALUE", "VERSION"], ["[k]", "[red]v", "1"], ["l", '{"a":', "1}", "2"]]
    assert lines(p2praft("map", "list", "g", "--json")) == entries


WATCHED: list[dict[str, Any]] = [
    {"event": "current", "version": 7},
    {"event": "set", "key": "[k]", "value": {"a": 1}, "version": 8},
    {"event": "expire", "key": "[k]", "version": 9},
]


def test_what_map_watch_shows(p2praft: Run, fake: FakeNode) -> None:
    fake.reply = b"".join(json.dumps({"item": item}).encode() + b"\n" for item in WATCHED)
    result = p2praft("map", "watch", "g", "[", "--since", "7")
    assert fake.requests == [{"op": "watch", "group": "g", "prefix": "[", "since": 7}]
    assert [row.split() for row in result.stdout.splitlines()] == [
        ["7", "current"],
        ["8", "set", "[k]", "=", '{"a":', "1}"],
        ["9", "expire", "[k]"],
    ]
    assert (result.exit_code, result.stderr) == (1, "error: the node stopped\n")
    assert lines(p2praft("map", "watch", "g", "--json"))[:3] == WATCHED
    fake.reply = b'{"end": true}\n'
    result = p2praft("map", "watch", "g")
    assert (result.exit_code, result.stderr) == (1, "error: group 'g' was closed on the node\n")


def test_transfer_and_leave(p2praft: Run, fake: FakeNode) -> None:
    fake.reply = {"result": {"leader": PEER}}
    assert p2praft("transfer", "g").stdout == f"{PEER} leads now\n"
    assert lines(p2praft("transfer", "g", PEER, "--json")) == [{"leader": PEER}]
    fake.reply = {"result": {"left": "g"}}
    assert p2praft("leave", "g").stdout == "left g\n"
    assert fake.requests == [
        {"op": "transfer", "group": "g", "to": None},
        {"op": "transfer", "group": "g", "to": PEER},
        {"op": "leave", "group": "g"},
    ]


def test_a_nodes_refusal_is_the_commands(p2praft: Run, fake: FakeNode) -> None:
    fake.reply = {"error": "Offline", "message": "no leader"}
    result = p2praft("map", "get", "g", "k")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "error: no leader\n")
    result = p2praft("map", "get", "g", "k", "--json")
    assert (result.exit_code, result.stderr) == (1, "")
    assert lines(result) == [{"error": "Offline", "message": "no leader"}]


def test_a_node_that_dies_while_it_is_asked(p2praft: Run, fake: FakeNode) -> None:
    fake.reply = b'{"result": '
    result = p2praft("status")
    assert result.exit_code == 1
    assert result.stderr == "error: the node stopped before it answered\n"


def test_every_command_takes_json_and_has_help() -> None:
    def walk(found: click.Command, path: tuple[str, ...]) -> None:
        assert found.help, path
        if isinstance(found, click.Group):
            for name, inner in commands_of(found).items():
                walk(inner, (*path, name))
        else:
            assert any("--json" in option.opts for option in found.params), path

    walk(command, ())
    every = commands_of(command)
    assert set(every) >= {"demo", "groups", "id", "map", "peers", "status", "transfer", "up"}
    assert set(commands_of(every["map"])) >= {"get", "set", "delete", "list", "watch"}


def test_identity_files(p2praft: Run, tmp_path: Path) -> None:
    key = tmp_path / "node.key"
    made = lines(p2praft("id", "new", str(key), "--json"))
    assert made == [{"peer_id": str(SecretKey.load(key).peer_id), "file": str(key)}]
    assert p2praft("id", "show", str(key)).stdout == f"{made[0]['peer_id']}\n"
    node = tmp_path / "a"
    node.mkdir()
    key.rename(node / "identity.key")
    assert p2praft("id", "show", str(node)).stdout == f"{made[0]['peer_id']}\n"
    assert "identity.key does not exist" in p2praft("id", "show", str(tmp_path)).stderr
    (node / "identity.key").rename(key)
    again = p2praft("id", "new", str(key), "--json")
    assert (again.exit_code, lines(again)[0]["error"]) == (1, "KeyFileError")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--network", "n", "--group", "g", "--secret-file", "s", "--expect", "0"], "expect=0 is not allowed"),
        (["--network", "n", "--group", "g", "--secret-file", "s", "--expect", "9"], "at most max_voters"),
        (["--network", "n", "--secret-file", "s"], "go with --group"),
        (["--network", "n", "--join"], "go with --group"),
        (["--network", "n", "--group", "g", "--secret-file", "s", "--found", "--join"], "--found and --join exclude"),
        (["--network", "n", "--group", "g", "--secret-file", "s", "--found", "--observer"], "--found and --observer"),
        (["--network", "n", "--advertise", "here"], "'here' is not host:port"),
    ],
)
def test_nonsense_for_up(p2praft: Run, tmp_path: Path, arguments: list[str], says: str) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("s")
    result = p2praft("up", *[str(secret) if argument == "s" else argument for argument in arguments])
    assert result.exit_code == 2
    assert says in result.stderr


@pytest.mark.parametrize("as_json", [False, True])
def test_a_wrong_value_in_the_environment_is_traced_to_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    monkeypatch.setattr(sys, "argv", ["p2praft", "status", *(["--json"] if as_json else [])])
    monkeypatch.setenv("P2PRAFT_LOG_LEVEL", "loud")
    with pytest.raises(SystemExit) as stop:
        app.run()
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    said = json.loads(out)["message"] if as_json else err
    assert "'loud' is not one of 'debug', 'info'" in said
    assert "it stands in the environment, as P2PRAFT_LOG_LEVEL" in said


def test_without_the_extra_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: the command needs 'rich': pip install 'p2praft[cli]'\n"


def test_importing_the_library_loads_no_extra() -> None:
    check = "import p2praft, p2praft.collections, sys; sys.exit(bool({'click', 'rich'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], check=False, timeout=30).returncode == 0


def test_an_interrupt_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "run", interrupted)
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 130


def test_an_interrupt_while_it_is_still_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(MetaPathFinder):
        def find_spec(self, *_: Any) -> None:
            raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "rich")
    monkeypatch.setattr(sys, "meta_path", [Interrupted()])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 130
