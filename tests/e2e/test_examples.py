"""The examples run as they stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("counter.py", "node 3 reads 15"),
        ("leader_election.py", "leads: it does the work"),
        ("own_machine.py", "12 tickets sold, none twice"),
    ],
)
def test_an_example_runs(name: str, says: str) -> None:
    result = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert says in result.stdout
    assert result.stderr == ""


def test_every_example_is_run_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "counter.py",
        "leader_election.py",
        "own_machine.py",
    }
