"""The examples run as they stand."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SAYS = {
    "chat.py": r"dora came late and has read all 5 lines, in the order that everybody saw them",
    "counter.py": r"node 3 reads 15",
    "flags.py": r"version 3\nGET on all three nodes: ann ben cem dora eve finn gus hana ida jon\n$",
    "jobs.py": r"12 dishes cooked, each exactly once\n$",
    "leader_election.py": r"leads: it does the work",
    "own_machine.py": r"12 tickets sold, none twice",
    "sensors.py": r"gateway \w+ is killed[^$]*gateway (north|south|east) leads now[^$]*72 readings of 72, none lost, none twice",
}


@pytest.mark.parametrize("name", sorted(SAYS))
def test_an_example_runs(name: str) -> None:
    result = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert re.search(SAYS[name], result.stdout), result.stdout
    assert result.stderr == ""


def test_ctrl_c_ends_the_sensors_without_a_traceback() -> None:
    command = [sys.executable, str(EXAMPLES / "sensors.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sensors:
        assert sensors.stdout is not None
        assert sensors.stdout.readline().startswith("three gateways")
        sensors.send_signal(signal.SIGINT)
        assert "Traceback" not in sensors.communicate(timeout=30)[1]


def test_every_example_is_run_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short_and_keeps_to_the_public_face(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) < 150
    ours = re.findall(r"^ *(?:from|import) ((?:p2praft|discovery|transport)\S*)", text, re.MULTILINE)
    public = {"p2praft", "p2praft.blocking", "p2praft.collections", "p2praft.testing"}
    assert set(ours) <= public


class Copy:
    """One container's process, started as its image starts it."""

    def __init__(self, name: str, folder: Path, seed: str) -> None:
        settings = {
            "NAME": name,
            "SEED": seed,
            "SECRET_FILE": str(folder / "secret"),
            "DATA_DIR": str(folder / name),
            "LISTEN": "127.0.0.1:0",
            "PAUSE": "0.05",
        }
        self.process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / "container" / "app.py")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **settings},
        )
        self._limit = threading.Timer(60, self.process.kill)  # a copy that hangs ends, and the test says what it said
        self._limit.daemon = True
        self._limit.start()
        assert self.process.stdout is not None
        self.lines = self.process.stdout
        self.address = self.lines.readline().removeprefix("address ").strip()

    def wait_total(self, least: int) -> int:
        """Read until it has seen so many visits of all."""
        said: list[str] = []
        for line in self.lines:
            said.append(line)
            found = re.search(r": visit \d+, (\d+) of us all", line)
            if found and int(found[1]) >= least:
                return int(found[1])
        raise AssertionError(f"it ended, or was ended after a minute, and had said: {said[-5:]}")

    def end(self) -> None:
        """Whatever happens, it does not outlive its test."""
        self._limit.cancel()
        self.process.kill()
        self.process.communicate()


def test_the_application_of_the_container_counts_and_survives_it(tmp_path: Path) -> None:
    """Three copies; all are stopped as Docker stops them and started again on their volumes."""
    (tmp_path / "secret").write_text("correct horse battery staple\n")
    copies: list[Copy] = []
    seed = ""
    total = 0
    try:
        for _ in range(2):
            started = []
            for name in ("ann", "ben", "cem"):
                started.append(Copy(name, tmp_path, seed))
                copies.append(started[-1])
                seed = started[0].address
            total = max(copy.wait_total(total + 1) for copy in started) + 10
            total = max(copy.wait_total(total) for copy in started)
            assert all((tmp_path / name / "healthy").exists() for name in ("ann", "ben", "cem"))
            for copy in started:
                copy.process.send_signal(signal.SIGTERM)
            for copy in started:
                rest = copy.process.communicate(timeout=30)[0]
                assert rest.splitlines()[-1] == "stopped", rest
                assert copy.process.returncode == 0
            seed = ""
    finally:
        for copy in copies:
            copy.end()
    assert total > 20
