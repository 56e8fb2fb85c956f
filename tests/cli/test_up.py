"""``up``: its secret, and what it says when it is ready."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import anyio
import pytest

from p2praft import KeyFileError, LeadershipPreference, Network
from p2praft.cli.secret import read_secret
from p2praft.cli.up import Reporter, UpOptions, _report_loneliness, _say_ready
from p2praft.cli.up_command import up_command
from transport import MemoryNetwork, PeerAddr, SecretKey

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


def test_events_for_people_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    Reporter(as_json=False).event("joined", "somebody joined", peer_id="x")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith(" somebody joined\n")
