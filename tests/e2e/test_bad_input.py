"""What bad input gets: an error that names the thing and says what to try, and never a traceback."""

from __future__ import annotations

import json
import socket
import tempfile
from pathlib import Path

import pytest

from tests.e2e.conftest import Hosts, run

SOMEBODY = "a" * 51 + "q"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["up", "--network", "n", "--seed", "10.0.0.5:7001"], "is not a peer's address: expected <peer-id>@host:port"),
        (["up", "--network", "n", "--seed", "abc@10.0.0.5:7001"], "'abc' is not a peer id"),
        (["up", "--network", "n", "--seed", f"{SOMEBODY}@10.0.0.5"], "'10.0.0.5' is not host:port"),
        (["up", "--network", "n", "--listen", "nonsense"], "'nonsense' is not host:port"),
        (["up", "--network", "n", "--group", "g"], "--group needs its secret"),
        (["up", "--network", "n", "--observer"], "go with --group"),
        (
            ["up", "--network", "n", "--group", "g", "--secret-file", "x", "--observer", "--reluctant"],
            "exclude each other",
        ),
        (["up"], "--network"),
        (["up", "--network", "n", "--frobnicate"], "--frobnicate"),
        (["frobnicate"], "frobnicate"),
        (["map", "get", "g"], "KEY"),
        (["demo", "--nodes", "4", "--observers", "2"], "at least three nodes must be able to vote"),
        (["transfer", "g", "nobody"], "'nobody' is not a peer id"),
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str], says: str) -> None:
    result = run(*arguments, env={"P2PRAFT_SECRET": ""})
    assert result.returncode == 2, result.stderr
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    as_json = run(*arguments, "--json", env={"P2PRAFT_SECRET": ""})
    assert as_json.returncode == 2
    assert json.loads(as_json.stdout)["error"] == "Usage"


def failure(*arguments: str, env: dict[str, str] | None = None) -> dict[str, str]:
    """The error of a command that must fail with 1, the same for people and for scripts."""
    plain = run(*arguments, env=env)
    assert plain.returncode == 1, (plain.stdout, plain.stderr)
    assert plain.stderr.startswith("error: ")
    assert "Traceback" not in plain.stderr
    as_json = run(*arguments, "--json", env=env)
    assert as_json.returncode == 1
    error: dict[str, str] = json.loads(as_json.stdout.splitlines()[-1])
    assert error["message"] in plain.stderr
    return error


def test_a_port_in_use_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        error = failure("up", "--network", "n", "--listen", f"127.0.0.1:{port}")
    assert error["error"] == "BindError"
    assert f"127.0.0.1:{port}: another process uses it; choose another port" in error["message"]


def test_an_address_that_is_not_ours_is_named() -> None:
    error = failure("up", "--network", "n", "--listen", "192.0.2.1:0")
    assert error["error"] == "BindError"
    assert "this machine has no such address" in error["message"]


def test_key_files(tmp_path: Path) -> None:
    key = tmp_path / "node.key"
    made = run("id", "new", str(key), "--json")
    assert made.returncode == 0
    assert key.stat().st_mode & 0o777 == 0o600
    shown = run("id", "show", str(key))
    assert shown.stdout.strip() == json.loads(made.stdout)["peer_id"]
    assert "never overwritten" in failure("id", "new", str(key))["message"]
    key.chmod(0o644)
    error = failure("up", "--network", "n", "--identity", str(key))
    assert error["error"] == "KeyFileError"
    assert f"others can read {key}" in error["message"]
    assert "chmod 600" in error["message"]
    key.chmod(0o600)
    key.write_text("garbage")
    assert "holds no Ed25519 key" in failure("id", "show", str(key))["message"]
    assert "does not exist" in failure("id", "show", str(tmp_path / "none"))["message"]
    assert "cannot" in failure("up", "--network", "n", "--identity", str(tmp_path / "no" / "folder"))["message"]


def test_secret_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    arguments = ("up", "--network", "n", "--group", "g", "--secret-file", str(secret))
    assert "does not exist" in failure(*arguments)["message"]
    secret.write_text("open")
    secret.chmod(0o644)
    assert "chmod 600" in failure(*arguments)["message"]
    secret.chmod(0o600)
    secret.write_text("\n")
    assert "is empty" in failure(*arguments)["message"]


def test_no_node_to_ask(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(
        prefix="p2p-"
    ) as folder:  # short, or the folder of all tests' nodes takes its place
        env = {"XDG_RUNTIME_DIR": folder, "P2PRAFT_NODE": ""}
        error = failure("status", env=env)
        assert error["error"] == "NoNode"
        assert "start one with `p2praft up" in error["message"]
        assert "no running node's id begins with 'zzz'" in failure("status", "--node", "zzz", env=env)["message"]
        assert "no node has run with data directory" in failure("status", "--node", str(tmp_path), env=env)["message"]


def test_a_data_directory_in_use_is_named(hosts: Hosts, tmp_path: Path) -> None:
    node = hosts.up("--network", "n", "--data-dir", str(tmp_path / "data"))
    error = failure("up", "--network", "n", "--data-dir", str(tmp_path / "data"), env=hosts.env)
    assert error["error"] == "StorageError"
    assert f"in use by another process (pid {node.process.pid})" in error["message"]
    by_directory = run("status", "--node", str(tmp_path / "data"), "--json", env=hosts.env)
    assert json.loads(by_directory.stdout)["peer_id"] == node.peer_id


def test_an_unknown_seed_does_not_keep_the_node_from_running_and_is_named(hosts: Hosts) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    node = hosts.up("--network", "n", "--seed", f"{SOMEBODY}@127.0.0.1:{port}")
    assert node.json("status")["peers"] == 0
    alone = node.wait_event("alone")
    assert "no seed has answered yet, still trying" in alone["text"]
    assert str(port) in alone["text"]
    assert node.stop() == 0


def test_a_seed_with_another_identity_is_named(hosts: Hosts) -> None:
    first = hosts.up("--network", "n")
    where = first.address.partition("@")[2]
    node = hosts.up("--network", "n", "--seed", f"{SOMEBODY}@{where}")
    assert "is another peer" in node.wait_event("alone")["text"]


def test_a_wrong_network_name_is_named(hosts: Hosts) -> None:
    first = hosts.up("--network", "shop")
    node = hosts.up("--network", "shpo", "--seed", first.address)
    assert "another network" in node.wait_event("alone")["text"]
    assert first.json("status")["peers"] == 0


def test_a_wrong_group_secret_finds_nobody_says_so_and_the_group_goes_on(hosts: Hosts) -> None:
    group = ["--network", "shop", "--group", "tills"]
    first = hosts.up(*group, "--secret-file", hosts.secret())
    first.wait_group(online=True)
    stranger = hosts.up(*group, "--secret-file", hosts.secret("wrong horse"), "--seed", first.address)
    told = stranger.wait_event("no members")
    assert "1 other node(s) here announce groups, but none of them this one" in told["text"]
    assert first.json("map", "set", "tills", "a", "1")["version"] == 1
    assert first.json("groups")["bonds"] == []


def test_missing_keys_and_groups(hosts: Hosts) -> None:
    node = hosts.up("--network", "shop", "--group", "tills", "--secret-file", hosts.secret())
    node.wait_group(online=True)
    for arguments, kind in [
        (("map", "get", "tills", "nothing"), "NoSuchKey"),
        (("map", "delete", "tills", "nothing"), "NoSuchKey"),
        (("map", "get", "tlils", "a"), "NoGroup"),
        (("transfer", "tills"), "NotAuthorized"),
    ]:
        result = node.ask(*arguments)
        assert (result.returncode, json.loads(result.stdout)["error"]) == (1, kind)
    node.json("map", "set", "tills", "a", '{"b": [1, null]}')
    assert node.json("map", "get", "tills", "a")["value"] == {"b": [1, None]}
    conflict = node.ask("map", "set", "tills", "a", "2", "--expected", "7")
    assert (conflict.returncode, json.loads(conflict.stdout)["error"]) == (1, "Conflict")
    assert node.json("map", "delete", "tills", "a")["version"] == 2
