"""Short runs with real processes; ``python -m tests.chaos`` runs longer ones."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from tests.chaos import blackout, driver
from tests.linearizability.checker import Operation
from tests.linearizability.histories import append, op


@pytest.mark.parametrize("durable", [True, False], ids=["durable", "memory"])
def test_processes_that_are_killed_and_paused_stay_linearizable(durable: bool, tmp_path: Path) -> None:
    plan = driver.Plan(seconds=6, durable=durable, seed=1)
    report = anyio.run(driver.run, plan, tmp_path, backend="trio")
    assert report.violation is None, f"{report}\n{report.violation}"
    assert report.operations["ok"] > 50
    assert report.faults["kills"] > 0
    assert report.faults["pauses"] > 0


def test_what_was_acknowledged_before_every_process_was_killed_is_there_in_order_once(tmp_path: Path) -> None:
    plan = driver.Plan(seconds=4, seed=1)
    report = anyio.run(blackout.run, plan, tmp_path, backend="trio")
    assert report.violation is None, f"{report}\n{report.violation}"
    assert report.operations["ok"] > 100
    assert report.operations["unknown"] > 0, "the lights went out while nobody was looking"
    assert report.faults["blackouts"] == 1


def final(*values: int) -> Operation:
    """The read that says what there is."""
    return op("auditor", "read", None, values, 90, 91)


@pytest.mark.parametrize(
    ("history", "problem"),
    [
        ([append("a", 1, 1, 0, 1), append("b", 2, 2, 0, 1), final(1, 2)], None),
        ([append("a", 1, 1, 0, 1), append("b", 2, None, 0), final(1)], None),
        ([append("a", 1, 1, 0, 1), append("b", 2, None, 0), final(1, 2)], None),
        ([append("a", 1, 1, 0, 1), append("b", 2, 2, 0, 1), final(1)], "not in its place"),
        ([append("a", 1, 1, 0, 1), append("b", 2, 2, 0, 1), final(2, 1)], "not in its place"),
        ([append("a", 1, None, 0), final(1, 1)], "more than once"),
        ([append("a", 1, 1, 0, 1), final(1, 7)], "nobody appended"),
    ],
)
def test_the_audit_finds_what_is_lost_doubled_moved_or_made_up(history: list[Operation], problem: str | None) -> None:
    found = blackout.lost_or_doubled(history)
    assert problem in found if problem and found else found == problem
