"""A cloned SD card: one data directory on two machines, as real processes."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import LIVENESS, Hosts, Up, wait_voters


@pytest.fixture
def machines() -> Iterator[Path]:
    """Where each machine has its control sockets; their paths must be short."""
    with tempfile.TemporaryDirectory(prefix="p2") as folder:
        yield Path(folder)


def test_of_two_copies_of_one_data_directory_one_ends_with_the_reason_and_the_group_works_on(
    hosts: Hosts, tmp_path: Path, machines: Path
) -> None:
    secret = hosts.secret()

    def start(name: str, *seeds: Up) -> Up:
        runtime = machines / name
        runtime.mkdir(exist_ok=True)
        hosts.env = {"XDG_RUNTIME_DIR": str(runtime)}
        arguments = ["--network", "shop", "--group", "tills", "--secret-file", secret]
        arguments += ["--data-dir", str(tmp_path / name)]
        for seed in seeds:
            arguments += ["--seed", seed.address]
        return hosts.up(*arguments)

    first = start("first")
    second = start("second", first)
    card = start("card", first)
    wait_voters([first, second, card], 3)
    first.json("map", "set", "tills", "apple", "3")
    assert card.stop() == 0
    shutil.copytree(tmp_path / "card", tmp_path / "clone")
    (tmp_path / "clone" / "port").unlink()  # as if it were on another machine

    twins = [start("card", first, second), start("clone", first, second)]
    assert twins[0].peer_id == twins[1].peer_id
    told = [first.wait_event("twin", LIVENESS)] + [twin.wait_event("twin", LIVENESS) for twin in twins]
    places = [twin.address.partition("@")[2] for twin in twins]
    for event in told:
        assert event["peer_id"] == twins[0].peer_id
        assert all(place in event["text"] for place in places), event
        assert "copies of one data directory" in event["text"]
    loser = next(twin for twin, event in zip(twins, told[1:], strict=True) if "This one ends" in event["text"])
    (winner,) = [twin for twin in twins if twin is not loser]
    assert loser.process.wait(LIVENESS) == 1
    assert loser.process.stdout is not None
    lines = [json.loads(line) for line in (loser._buffer + loser.process.stdout.read()).splitlines()]
    (error,) = [line for line in lines if "error" in line]
    assert error["error"] == "IdentityInUse"
    assert "remove its data directory" in error["message"]
    assert winner.wait_group(online=True)["role"] in ("follower", "leader")
    assert winner.json("map", "get", "tills", "apple")["value"] == 3
    assert winner.json("map", "set", "tills", "pear", "4")["version"] == 2
