"""Real processes over real QUIC: what a person does by hand, and the demo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import COMMAND, LIVENESS, Hosts, Up, run, wait_voters


def three(hosts: Hosts, *extra: str) -> list[Up]:
    """Three terminals, as the README shows."""
    secret = hosts.secret()
    group = ["--network", "shop", "--group", "tills", "--secret-file", secret, *extra]
    first = hosts.up(*group)
    rest = [hosts.up(*group, "--seed", first.address) for _ in range(2)]
    nodes = [first, *rest]
    for node in nodes:
        node.wait_group(online=True)
    return nodes


def test_three_terminals_set_get_kill_the_leader_set_and_get_again(hosts: Hosts) -> None:
    nodes = three(hosts)
    wait_voters(nodes, 3)
    assert len(nodes[0].json("peers")) == 2
    assert nodes[1].json("map", "set", "tills", "apple", "3")["version"] == 1
    assert nodes[2].json("map", "get", "tills", "apple") == {"key": "apple", "value": 3, "version": 1}

    leader = next(node for node in nodes if node.json("groups")["is_leader"])
    survivors = [node for node in nodes if node is not leader]
    leader.kill()
    assert survivors[0].json("map", "set", "tills", "pear", "green")["version"] == 2
    listed = survivors[1].json("map", "list", "tills")
    assert listed == [{"key": "apple", "value": 3, "version": 1}, {"key": "pear", "value": "green", "version": 2}]
    group = survivors[1].json("groups")
    assert group["leader"] in {node.peer_id for node in survivors}
    assert group["term"] > 1


def test_a_durable_group_that_is_killed_whole_has_everything_when_it_comes_back(hosts: Hosts, tmp_path: Path) -> None:
    secret = hosts.secret()

    def start(number: int, seed: str | None) -> Up:
        arguments = ["--network", "shop", "--group", "tills", "--secret-file", secret, "--expect", "2"]
        arguments += ["--data-dir", str(tmp_path / f"node-{number}")]
        return hosts.up(*arguments, *(["--seed", seed] if seed else []))

    nodes = [start(1, None)]
    nodes += [start(number, nodes[0].address) for number in (2, 3)]
    wait_voters(nodes, 3)
    identities = [node.peer_id for node in nodes]
    for number in range(5):
        nodes[number % 3].json("map", "set", "tills", f"key-{number}", str(number))
    for node in nodes:
        node.kill()

    again = [start(1, None)]
    again += [start(number, again[0].address) for number in (2, 3)]
    assert [node.peer_id for node in again] == identities
    for node in again:
        node.wait_group(online=True)
    listed = again[2].json("map", "list", "tills")
    assert [(entry["key"], entry["value"], entry["version"]) for entry in listed] == [
        (f"key-{number}", number, number + 1) for number in range(5)
    ]


def test_a_rolling_restart_of_an_in_memory_group_heals_and_keeps_what_a_survivor_held(
    hosts: Hosts, tmp_path: Path
) -> None:
    """One at a time, then two at once: that their memories died is proven by their coming back, and one held all."""
    secret = hosts.secret()

    def start(number: int, *seeds: Up) -> Up:
        identity = str(tmp_path / f"identity-{number}")
        arguments = ["--network", "shop", "--group", "tills", "--secret-file", secret, "--identity", identity]
        for seed in seeds:
            arguments += ["--seed", seed.address]
        return hosts.up(*arguments)

    nodes = [start(0)]
    nodes += [start(number, nodes[0]) for number in (1, 2)]
    wait_voters(nodes, 3)
    nodes[0].json("map", "set", "tills", "apple", "0")
    for number in range(3):
        nodes[number].kill()
        others = [node for node in nodes if node is not nodes[number]]
        nodes[number] = start(number, *others)
        wait_caught_up(nodes)
        assert nodes[number].json("map", "get", "tills", "apple")["value"] == number
        nodes[number].json("map", "set", "tills", "apple", str(number + 1))
    nodes[0].kill()
    nodes[1].kill()
    nodes[0], nodes[1] = start(0, nodes[2]), start(1, nodes[2])
    wait_caught_up(nodes)
    assert nodes[0].json("map", "get", "tills", "apple")["value"] == 3
    assert nodes[1].json("map", "set", "tills", "pear", "1")["version"] == 5


def test_a_node_whose_seed_is_away_founds_nothing_and_says_so(hosts: Hosts) -> None:
    secret = hosts.secret()
    first = hosts.up("--network", "shop")
    first.kill()
    group = ["--network", "shop", "--seed", first.address, "--group", "tills", "--secret-file", secret]
    waiting = hosts.up(*group)
    text = waiting.wait_event("waiting")["text"]
    where = first.address.partition("@")[2]
    assert f"group tills is not founded yet: it waits for a link with its network: nobody answers at {where};" in text
    assert waiting.request(op="groups")[0]["waits_for"] in text
    assert where in next(found["message"] for found in waiting.request(op="doctor") if found["fault"] == "not-founded")
    assert waiting.request(op="groups")[0]["voters"] == []
    alone = hosts.up(*group, "--found")
    assert alone.wait_group(online=True)["waits_for"] is None


def test_what_disks_took_with_them_is_declared_lost_by_hand(hosts: Hosts) -> None:
    nodes = three(hosts)
    wait_voters(nodes, 3)
    nodes[0].json("map", "set", "tills", "apple", "3")
    wait_caught_up(nodes)
    refused = nodes[0].ask("recover", "tills", "--yes")
    assert refused.returncode == 1
    assert "nothing to recover" in refused.stdout
    survivor, *lost = nodes
    for node in lost:
        node.kill()
    survivor.wait_group(online=False, bonds=[])
    unsure = survivor.ask("recover", "tills")
    assert unsure.returncode == 2
    assert "--yes" in unsure.stdout + unsure.stderr
    assert set(survivor.json("recover", "tills", "--yes")["lost"]) == {node.peer_id for node in lost}
    assert survivor.json("map", "get", "tills", "apple")["value"] == 3
    assert survivor.json("map", "set", "tills", "pear", "1")["version"] == 2


def wait_caught_up(nodes: list[Up]) -> None:
    """Wait until all vote with the memories they have now."""
    deadline = time.monotonic() + LIVENESS
    while time.monotonic() < deadline:
        groups = [node.request(op="groups")[0] for node in nodes]
        if all(group["online"] and len(group["voters"]) == 3 for group in groups):
            reached = [group["committed"] for group in groups]
            time.sleep(0.2)
            if (
                min(reached) == max(reached)
                and [node.request(op="groups")[0]["committed"] for node in nodes] == reached
            ):
                return
        time.sleep(0.05)
    raise AssertionError(f"the group never healed: {groups}")


def test_an_observer_serves_reads_and_never_leads(hosts: Hosts) -> None:
    secret = hosts.secret()
    group = ["--network", "shop", "--group", "tills", "--secret-file", secret]
    voter = hosts.up(*group)
    observer = hosts.up(*group, "--observer", "--seed", voter.address)
    observer.wait_group(online=True, role="observer")
    assert observer.json("map", "set", "tills", "a", "1")["version"] == 1
    assert observer.json("map", "get", "tills", "a")["value"] == 1
    assert observer.json("groups")["voters"] == [voter.peer_id]
    voter.kill()
    time.sleep(2)
    assert observer.json("groups")["is_leader"] is False
    refused = observer.ask("map", "set", "tills", "a", "2", "--timeout", "1")
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["error"] in ("Offline", "OutcomeUnknown")


def test_leadership_is_transferred_on_demand(hosts: Hosts) -> None:
    nodes = three(hosts)
    wait_voters(nodes, 3)
    leader = next(node for node in nodes if node.json("groups")["is_leader"])
    target = next(node for node in nodes if node is not leader)
    assert leader.json("transfer", "tills", target.peer_id[:8]) == {"leader": target.peer_id}
    target.wait_group(is_leader=True)
    refused = leader.ask("transfer", "tills")
    assert (refused.returncode, json.loads(refused.stdout)["error"]) == (1, "NotAuthorized")


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_node_stops_cleanly_and_the_others_see_it_leave(hosts: Hosts, stop: signal.Signals) -> None:
    first = hosts.up("--network", "shop")
    second = hosts.up("--network", "shop", "--seed", first.address)
    first.wait_event("joined")
    second.process.send_signal(stop)
    assert second.process.wait(LIVENESS) == 0
    assert first.wait_event("left")["peer_id"] == second.peer_id


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_who_asks_a_node_to_stop_again_and_again_spoils_nothing(hosts: Hosts, stop: signal.Signals) -> None:
    up = [*COMMAND, "up", "--network", "shop", "--listen", "127.0.0.1:0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(up, env=hosts.env, stdout=pipe, stderr=pipe, text=True) as node:
        assert node.stdout is not None
        assert node.stderr is not None
        assert node.stdout.readline().startswith("ready")
        node.send_signal(stop)
        assert "stopped" in node.stderr.readline()
        stopped = time.monotonic()
        while node.poll() is None and time.monotonic() < stopped + LIVENESS:
            node.send_signal(stop)
            time.sleep(0.001)
        node.kill()  # does nothing to one that has ended
        assert (node.returncode, node.stderr.read()) == (0, "")


def test_the_demo_ends_well(hosts: Hosts) -> None:
    result = run("demo", "--json", env=hosts.env, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    events = [json.loads(line) for line in result.stdout.splitlines()]
    summary = events[-1]
    assert summary["event"] == "summary"
    assert summary["lost"] == 0
    assert summary["acknowledged"] == 100
    assert {"known", "leader", "written", "read", "failover", "verified", "back"} <= {e["event"] for e in events}


def test_the_demo_is_readable_when_piped(hosts: Hosts) -> None:
    result = run("demo", "--nodes", "4", env=hosts.env, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "\x1b" not in result.stdout
    assert "leads now, in term" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_demo_leaves_no_process_behind(hosts: Hosts, stop: signal.Signals) -> None:
    env = {**os.environ, **hosts.env, "TMPDIR": str(hosts.folder)}  # killed, it cannot tidy up its folder
    demo = subprocess.Popen([*COMMAND, "demo", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)
    assert demo.stdout is not None
    peers: list[str] = []
    for line in demo.stdout:
        event = json.loads(line)
        peers += [event["peer_id"]] if "peer_id" in event else []
        if event["event"] == "leader":
            break
    assert len(peers) == 5
    children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
    assert len(children) == 5
    demo.send_signal(stop)
    assert demo.wait(LIVENESS) != 0
    demo.stdout.close()
    deadline = time.monotonic() + LIVENESS
    while any(_runs(pid) for pid in children):
        assert time.monotonic() < deadline, "a process of the demo is still there"
        time.sleep(0.05)


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_measurement_ends_with_results_and_leaves_nothing_behind(hosts: Hosts, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    result = run(
        "bench", "--scale", "0.05", "--failovers", "1", "--data-dir", str(disk), "--json", env=hosts.env, timeout=120
    )
    assert result.returncode == 0, result.stdout + result.stderr
    results = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["measure"] for one in results] == ["writes", "writes", "reads"] * 2 + ["failover"]
    assert all(one["per_second"] > 0 for one in results[:-1])
    assert 0 < results[-1]["median"] < LIVENESS
    assert result.stderr == ""
    assert list(disk.iterdir()) == []


def test_a_group_is_saved_and_restored_into_a_new_one(hosts: Hosts, tmp_path: Path) -> None:
    group = ["--network", "shop", "--secret-file", hosts.secret()]
    old, new = hosts.up(*group, "--group", "tills"), hosts.up(*group, "--group", "spare")
    for node in (old, new):
        node.wait_group(online=True)
    for key in ("apple", "pear"):
        old.request(op="map", action="set", group="tills", key=key, value={"is": key}, timeout=10)
    file = str(tmp_path / "backup")
    assert old.json("snapshot", "save", "tills", file)["entries"] == 2
    assert new.json("snapshot", "restore", "spare", file)["entries"] == 2
    assert new.request(op="map", action="get", group="spare", key="pear")["value"] == {"is": "pear"}
    refused = new.ask("snapshot", "restore", "spare", file)
    assert refused.returncode == 1
    assert "--force" in refused.stdout


def test_who_has_left_a_group_no_longer_shows_it_and_is_not_looked_for(hosts: Hosts) -> None:
    nodes = three(hosts)
    wait_voters(nodes, 3)
    leaver, stayer = nodes[2], nodes[0]
    assert leaver.json("leave", "tills") == {"left": "tills"}
    assert leaver.request(op="groups") == []
    deadline = time.monotonic() + LIVENESS
    while [peer["groups"] for peer in stayer.request(op="peers") if peer["peer_id"] == leaver.peer_id] != [[]]:
        assert time.monotonic() < deadline, "it still says that it serves the group"
        time.sleep(0.05)
    refused = leaver.ask("map", "get", "tills", "apple")
    assert json.loads(refused.stdout)["error"] == "NoGroup"


def test_a_node_whose_options_stand_in_a_file_and_in_the_environment(hosts: Hosts, tmp_path: Path) -> None:
    first = hosts.up("--network", "shop")
    (tmp_path / "words").touch(mode=0o600)
    (tmp_path / "words").write_text("correct horse")
    text = f'network = "shop"\ngroup = "tills"\nsecret-file = "words"\ndata-dir = "data"\nseed = ["{first.address}"]\n'
    (tmp_path / "node.toml").write_text(text)
    hosts.env |= {"P2PRAFT_TAG": "till second-floor", "P2PRAFT_CONFIG": str(tmp_path / "node.toml")}
    node = hosts.up("--qlog", str(tmp_path / "traces"))
    first.wait_event("joined")
    (peer,) = first.request(op="peers")
    assert (peer["peer_id"], peer["tags"]) == (node.peer_id, ["second-floor", "till"])
    assert (tmp_path / "data" / "identity.key").exists()
    assert node.stop() == 0
    (trace,) = (tmp_path / "traces").glob("*.qlog")
    assert json.loads(trace.read_text())["traces"][0]["events"]
