"""Real processes whose group was founded twice, and one most of whose disks burnt: what an operator does, and sees."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.e2e.conftest import LIVENESS, Hosts, Up, wait_voters

TWO_MINUTES = 120.0


def until(holds: Callable[[], bool], what: str, within: float = LIVENESS) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def lines(node: Up, *arguments: str) -> list[dict[str, object]]:
    """What a command that must succeed prints."""
    result = node.ask(*arguments)
    assert result.returncode == 0, (arguments, result.stdout, result.stderr)
    return [json.loads(line) for line in result.stdout.splitlines()]


def has(node: Up, key: str, *more: str) -> bool:
    return node.ask("map", "get", "tills", key, *more).returncode == 0


def test_a_group_that_was_founded_twice_becomes_one_with_the_keys_of_both(hosts: Hosts, tmp_path: Path) -> None:
    group = ["--network", "shop", "--group", "tills", "--secret-file", hosts.secret()]

    def start(name: str, *more: str) -> Up:
        return hosts.up(*group, "--data-dir", str(tmp_path / name), *more)

    one, other = start("one", "--found"), start("other", "--found")
    for node, key in ((one, "apple"), (other, "pear")):
        node.wait_group(online=True)
        node.json("map", "set", "tills", key, key)
    assert other.ask("map", "get", "tills", "apple").returncode == 1, "they are apart"
    for node in (one, other):
        refused = node.ask("merge", "tills", "--dry-run")
        assert refused.returncode == 1
        assert "has met no other part" in json.loads(refused.stdout)["message"]
        assert lines(node, "archive", "list", "tills") == []

    other.stop()
    other = start("other", "--seed", one.address)
    wait_voters([one, other], 2)
    for node in (one, other):
        for key in ("apple", "pear"):
            until(partial(has, node, key), f"{key} is not there")
    kept = {node: lines(node, "archive", "list", "tills") for node in (one, other)}
    ((ended, (info,)),) = [(node, found) for node, found in kept.items() if found]
    assert (info["ended"], info["whole"], info["problem"], info["aside"]) == ("sealed", True, "", "")
    key = "apple" if ended is one else "pear"
    shown = lines(ended, "archive", "show", "tills", str(info["number"]))
    assert [key in json.dumps(entry["commands"]) for entry in shown].count(True) == 1
    head, *rest = lines(ended, "archive", "export", "tills", str(info["number"]))
    assert head["history"] == info["history"]
    assert any("command" in line and key in json.dumps(line) for line in rest)
    assert ended.ask("archive", "show", "tills", "99").returncode == 1
    asked = ended.ask("archive", "replay", "tills", str(info["number"]))
    assert asked.returncode == 2
    assert "--yes" in json.loads(asked.stdout)["message"]


def three(hosts: Hosts, tmp_path: Path) -> tuple[list[Up], Callable[..., Up]]:
    """A durable group, with a key in it."""
    group = ["--network", "shop", "--group", "tills", "--secret-file", hosts.secret()]

    def start(name: str, *more: str) -> Up:
        return hosts.up(*group, "--data-dir", str(tmp_path / name), *more)

    nodes = [start("0")]
    nodes += [start(str(at), "--seed", nodes[0].address) for at in (1, 2)]
    wait_voters(nodes, 3)
    nodes[0].json("status", "--wait", "safe")
    nodes[0].json("map", "set", "tills", "apple", "3")
    for node in nodes:
        until(partial(has, node, "apple", "--weak"), "the key did not come")
    return nodes, start


def burn(tmp_path: Path, nodes: list[Up], *which: int) -> None:
    """Machines that vanish with their disks."""
    for at in which:
        nodes[at].kill()
        shutil.rmtree(tmp_path / str(at))


def test_recover_brings_the_group_back_when_most_disks_have_burnt(hosts: Hosts, tmp_path: Path) -> None:
    nodes, _ = three(hosts, tmp_path)
    last = nodes[2]
    assert last.ask("recover", "tills", "--yes").returncode == 1, "it works"
    burn(tmp_path, nodes, 0, 1)
    burnt = time.monotonic()
    last.wait_group(online=False)
    until(lambda: "`recover`" in (last.request(op="groups")[0]["waits_for"] or ""), "it never said what to do")
    found = {finding["fault"] for finding in map(json.loads, last.ask("doctor").stdout.splitlines())}
    assert "stranded" in found
    refused = last.ask("recover", "tills")
    assert refused.returncode == 2, "not without a yes"
    assert set(last.json("recover", "tills", "--yes")["lost"]) == {node.peer_id for node in nodes[:2]}
    assert last.json("map", "get", "tills", "apple")["value"] == 3
    assert last.json("map", "set", "tills", "pear", "4")["version"] == 2
    assert time.monotonic() - burnt < TWO_MINUTES
    assert last.ask("recover", "tills", "--yes").returncode == 1, "it works again"


def test_abandon_joins_what_works_and_keeps_what_was_held(hosts: Hosts, tmp_path: Path) -> None:
    nodes, start = three(hosts, tmp_path)
    last = nodes[2]
    assert last.ask("abandon", "tills", "--yes").returncode == 1, "it works"
    burn(tmp_path, nodes, 0, 1)
    last.wait_group(online=False)
    fresh = start("fresh", "--found")
    fresh.wait_group(online=True)
    fresh.json("map", "set", "tills", "pear", "4")
    fresh.stop()
    fresh = start("fresh", "--seed", last.address)
    until(lambda: "`abandon`" in (last.request(op="groups")[0]["waits_for"] or ""), "it never said what to do")
    until(lambda: bool(last.request(op="groups")[0]["bonds"]), "the two never bonded")
    assert last.ask("abandon", "tills").returncode == 2, "not without a yes"
    assert last.json("abandon", "tills", "--yes") == {"abandoned": "tills"}
    assert last.json("map", "get", "tills", "pear")["value"] == 4
    (info,) = lines(last, "archive", "list", "tills")
    assert info["ended"] == "left"
    shown = lines(last, "archive", "show", "tills", str(info["number"]))
    assert any("apple" in json.dumps(entry["commands"]) for entry in shown)
