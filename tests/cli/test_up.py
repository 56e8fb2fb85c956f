"""``up``: its secret, and what it says when it is ready."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import anyio
import pytest

from p2praft import ConsensusConfig, KeyFileError, LeadershipPreference, Network
from p2praft.cli.secret import read_secret
from p2praft.cli.up import Reporter, UpOptions, _report_loneliness, _report_majority, _say_ready
from p2praft.cli.up_command import up_command
from tests.groups.conftest import Lab, lab
from transport import MemoryNetwork, PeerAddr, SecretKey
from transport.tasks import owned_tasks

OPTIONS: dict[str, Any] = {
    "network": "my shop",
    "identity": None,
    "listen": "host:0",
    "advertise": (),
    "seeds": (),
    "group": "tills",
    "secret": "s",
    "secret_file": "/a b/secret",
    "preference": LeadershipPreference.NORMAL,
    "expect": 3,
    "tags": (),
    "data_dir": None,
    "exit_with_parent": False,
    "as_json": False,
}


def secret_file(folder: Path, data: bytes, mode: int = 0o600) -> str:
    path = folder / "secret"
    path.write_bytes(data)
    path.chmod(mode)
    return str(path)


def test_the_secret_is_the_files_text_without_the_newline(tmp_path: Path) -> None:
    assert read_secret(secret_file(tmp_path, b"correct horse \n")) == "correct horse"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_secret_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, b"s", mode)
    with pytest.raises(KeyFileError) as error:
        read_secret(path)
    assert f"chmod 600 {path}" in str(error.value)


@pytest.mark.parametrize(("data", "says"), [(b"", "is empty"), (b" \n", "is empty"), (b"\xff\xfe", "it is not text")])
def test_files_that_hold_no_secret(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(KeyFileError, match=says):
        read_secret(secret_file(tmp_path, data))


def test_a_file_without_an_end_is_no_secret(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="holds more than 65536 bytes"):
        read_secret("/dev/zero")
    assert len(read_secret(secret_file(tmp_path, b"s" * 65536))) == 65536


def test_a_folder_or_nothing_is_no_secret(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot read"):
        read_secret(str(tmp_path))
    with pytest.raises(KeyFileError, match="does not exist; write the group's secret into it"):
        read_secret(str(tmp_path / "none"))


@pytest.mark.anyio
@pytest.mark.parametrize("change", [{}, {"expect": 1}, {"group": None, "secret": None, "secret_file": None}])
async def test_the_command_it_shows_can_be_pasted(change: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    options = UpOptions(**{**OPTIONS, **change})
    memory = MemoryNetwork()
    async with Network(options.network, listen="host:0", transport=memory.transport("host")) as network:
        _say_ready(network, options, Path("socket"))
        address = str(network.address)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == f"ready {address}"
    program, verb, *arguments = shlex.split(shown[-1])
    assert (program, verb) == ("p2praft", "up")
    parsed = up_command.make_context("up", arguments).params
    assert parsed["network"] == "my shop"
    assert parsed["seeds"] == (address,)
    assert parsed["group"] == options.group
    assert parsed["secret_file"] == options.secret_file
    assert parsed["expect"] == (options.expect if options.group else 1), "it is part of the group's identity"


@pytest.mark.anyio
async def test_for_scripts_ready_is_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    memory = MemoryNetwork()
    async with Network("shop", listen="host:0", transport=memory.transport("host")) as network:
        _say_ready(network, UpOptions(**{**OPTIONS, "as_json": True}), Path("socket"))
        said = json.loads(capsys.readouterr().out)
        assert said["event"] == "ready"
        assert said["peer_id"] == str(network.peer_id)
        assert said["address"] == str(network.address)


def test_a_seed_that_never_answers_is_named_once(virtual_clock: Any, capsys: pytest.CaptureFixture[str]) -> None:
    backend, options = virtual_clock
    anyio.run(lonely, backend=backend, backend_options=options)
    (said,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert said["event"] == "alone"
    assert "still trying" in said["text"]
    assert said["text"].count("nowhere:7") == 1, "each thing that was tried is said once"


async def lonely() -> None:
    seed = PeerAddr.parse(f"{SecretKey.generate().peer_id}@nowhere:7")
    memory = MemoryNetwork()
    with anyio.fail_after(60):
        async with Network("shop", listen="host:0", seeds=[seed], transport=memory.transport("host")) as network:
            await _report_loneliness(network, Reporter(as_json=True))


def test_a_group_that_lost_its_majority_says_so_once_and_once_that_it_is_back(
    virtual_clock: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    backend, options = virtual_clock
    missing = anyio.run(lost_and_back, backend=backend, backend_options=options)
    lost, back = map(json.loads, capsys.readouterr().out.splitlines())
    assert lost["event"] == "no majority"
    assert "group line has no majority: 1 of its 3 voters here, 2 needed; missing: " in lost["text"]
    assert all(peer in lost["text"] for peer in missing)
    assert "p2praft doctor" in lost["text"]
    assert (back["event"], back["group"]) == ("majority", "line")


async def lost_and_back() -> list[str]:
    """A host is cut off from two others: for a moment, which deserves no word, then for longer."""
    with anyio.fail_after(600):
        async with lab(3, expect=3) as made, anyio.create_task_group() as tasks:
            while len(made.nodes[0].group.voters) < 3:
                await anyio.sleep(0.1)
            await made.leader.group.execute(1)  # a group that holds nothing would end, and be founded anew
            tasks.start_soon(_report_majority, made.nodes[0].group, Reporter(as_json=True))
            others = [node.host for node in made.nodes[1:]]
            await anyio.sleep(2)
            made.net.partition(["host-0"], others)
            await anyio.sleep(6)
            made.net.heal()
            await anyio.sleep(12)
            made.net.partition(["host-0"], others)
            await anyio.sleep(40)
            made.net.heal()
            await anyio.sleep(15)
            tasks.cancel_scope.cancel()
    return [node.network.peer_id.short for node in made.nodes[1:]]


def test_a_group_that_waits_for_its_founders_says_how_many_are_there(
    virtual_clock: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    backend, options = virtual_clock
    anyio.run(waiting_for_founders, backend=backend, backend_options=options)
    (said,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert said["event"] == "waiting"
    assert "it waits for 3 members that may vote; so far, 2 of them here" in said["text"]


async def waiting_for_founders() -> None:
    with anyio.fail_after(600):
        async with owned_tasks() as owned, anyio.create_task_group() as tasks:
            made = Lab(MemoryNetwork(0), ConsensusConfig(expect=3), owned)
            first = await made.start("host-0")
            await made.start("host-1")
            await made.start("watcher", preference=LeadershipPreference.OBSERVER)
            tasks.start_soon(_report_majority, first.group, Reporter(as_json=True))
            await anyio.sleep(25)
            await made.start("host-2")
            await made.online()
            await anyio.sleep(12)
            tasks.cancel_scope.cancel()
            for node in list(made.nodes):
                await made.stop(node)


@pytest.mark.anyio
async def test_a_group_that_closes_ends_the_watch() -> None:
    memory = MemoryNetwork()
    with anyio.fail_after(10):
        async with Network("shop", listen="host:0", transport=memory.transport("host")) as network:
            async with anyio.create_task_group() as tasks, network.group("tills", secret="s") as group:
                tasks.start_soon(_report_majority, group, Reporter(as_json=True))
                await group.when.online()


def test_events_for_people_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    Reporter(as_json=False).event("joined", "somebody joined", peer_id="x")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith(" somebody joined\n")
