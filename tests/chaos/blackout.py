"""The lights go out: every process is killed at once under load, and all that was acknowledged must be there again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import anyio

from tests.chaos.driver import Plan, Report, processes, stopwatch
from tests.linearizability.checker import Operation
from tests.linearizability.workload import Workload

ROUND = 5.0
"""Seconds of load before each blackout, about."""


async def run(plan: Plan, folder: Path) -> Report:
    """Load, SIGKILL of every member, start of every member, again and again; then every list is read everywhere."""
    rng = random.Random(f"blackout {plan.seed}")
    load = Workload(rng, stopwatch(), registers=0, lists=3)
    async with processes(plan, folder, load) as chaos:

        async def blackout(until: float) -> None:
            """At a moment when every client has something under way."""
            await anyio.sleep_until(until - rng.uniform(0, 0.5))
            chaos.faults["blackouts"] += 1
            async with anyio.create_task_group() as kills:
                for member in chaos.members:
                    kills.start_soon(member.kill)

        before = len(chaos.terms)
        for _ in range(max(1, round(plan.seconds / ROUND))):
            await chaos.work(anyio.current_time() + min(ROUND, plan.seconds), blackout)
            await chaos.start(*chaos.members)
            await chaos.wait_whole()
            await chaos.audit()
        elections = len(chaos.terms) - before
    violation = lost_or_doubled(load.history) or load.judge()
    return Report(plan=plan, operations=load.counts, faults=chaos.faults, elections=elections, violation=violation)


def lost_or_doubled(history: Sequence[Operation]) -> str | None:
    """The plain question, apart from the checker: is each acknowledged append where it was told, and each there once?

    Args:
        history: Operations on lists, ordered by their ends; the last read of each key saw what there is.
    """
    lists = {op.key: op.result for op in history if op.kind == "read" and not op.unknown}
    asked = {(op.key, op.argument) for op in history if op.kind == "append"}
    for key, values in lists.items():
        assert isinstance(values, tuple)
        if len(set(values)) < len(values):
            return f"list {key!r} holds a value more than once: {values}"
        if strangers := [value for value in values if (key, value) not in asked]:
            return f"list {key!r} holds what nobody appended: {strangers}"
    for op in history:
        if op.kind == "append" and not op.unknown:
            values = lists.get(op.key, ())
            assert isinstance(values, tuple)
            assert isinstance(op.result, int)
            if values[op.result - 1 : op.result] != (op.argument,):
                return f"acknowledged, but not in its place: {op}; list {op.key!r} holds {values}"
    return None
