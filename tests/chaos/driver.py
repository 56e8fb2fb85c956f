"""A run: real processes, clients on each, faults as the dice say, then calm, and the checker's verdict."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from tests.chaos.process import LIVENESS, Broken, MemberProcess
from tests.linearizability.checker import Violation
from tests.linearizability.workload import Workload
from transport.tasks import owned_tasks

CALM = 2.0
"""Seconds of load after the last fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run is made of.

    Attributes:
        seconds: Under load and faults.
        nodes: How many members, all of them voters.
        durable: Whether their logs are on disk; else no more than a minority of a whole group is killed at a time.
        seed: Of the dice; the processes' timing is their own.
        clients: On each member.
    """

    seconds: float
    nodes: int = 5
    durable: bool = True
    seed: int = 0
    clients: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of a run."""

    plan: Plan
    operations: Counter[str]
    faults: Counter[str]
    elections: int
    violation: Violation | str | None

    def __str__(self) -> str:
        kind = "durable" if self.plan.durable else "in-memory"
        outcomes = ", ".join(f"{self.operations[name]} {name}" for name in ("ok", "unknown", "refused"))
        faults = ", ".join(f"{number} {name}" for name, number in sorted(self.faults.items())) or "none"
        verdict = "linearizable" if self.violation is None else "NOT linearizable"
        return (
            f"seed {self.plan.seed}, {self.plan.nodes} {kind} members, {self.plan.seconds:g} s: "
            f"{self.operations.total()} operations ({outcomes}); faults: {faults}; {self.elections} elections; {verdict}"
        )


class Chaos:
    """The members of a run, and what is done to them.

    Attributes:
        members: All of them.
        load: What the clients do, and the history.
        faults: How many, by kind.
    """

    def __init__(self, plan: Plan, load: Workload, members: list[MemberProcess]) -> None:
        self.plan = plan
        self.load = load
        self.members = members
        self.faults: Counter[str] = Counter()
        self.rng = random.Random(f"faults {plan.seed}")
        self._starting = anyio.Lock()
        self._killing = anyio.Lock()

    @property
    def running(self) -> list[MemberProcess]:
        """Those that have a process."""
        return [member for member in self.members if member.running]

    @property
    def terms(self) -> set[int]:
        """In which terms somebody was seen to lead."""
        return set().union(*(member.terms for member in self.members))

    async def start(self, *members: MemberProcess) -> None:
        """Start processes, one after the other: each finds those before it."""
        async with self._starting:
            for member in members:
                await member.start([other.address for other in self.running])

    async def wait_whole(self) -> None:
        """Wait until every member runs, is online and votes."""
        deadline = anyio.current_time() + LIVENESS
        while (problem := await self._missing()) is not None:
            if anyio.current_time() > deadline:
                tails = "\n".join(f"{member.number}: {member.log_tail()}" for member in self.members)
                raise Broken(f"the group never became whole again: {problem}\n{tails}")
            await anyio.sleep(0.1)

    async def _missing(self) -> str | None:
        """Why the group is not whole; None if it is."""
        states = []
        for member in self.members:
            answer = await member.ask(1.0, do="state")
            if answer is None:
                return f"member {member.number} does not answer"
            states.append(succeeded(member, answer))
        everybody = sorted(state["me"] for state in states)
        commit = max(state["committed"] for state in states)
        for member, state in zip(self.members, states, strict=True):
            if not state["online"] or not state["voters_are_committed"] or state["voters"] != everybody:
                return f"member {member.number} says {state}, and the members are {everybody}"
        # The others may have moved on while we asked: what the furthest had then, all must have now.
        for member in self.members:
            answer = await member.ask(1.0, do="state")
            if answer is None or succeeded(member, answer)["committed"] < commit:
                return f"member {member.number} has not reached {commit}: {answer}"
        return None

    # --- clients

    async def client(self, name: str, member: MemberProcess, until: float, rng: random.Random) -> None:
        """One operation after the other through one member."""
        while anyio.current_time() < until:
            if not member.running:
                await anyio.sleep(0.05)
                continue
            ticket, operation = self.load.begin(f"{name} on {member.number}")
            order = {"do": operation.kind, "key": operation.key, "argument": operation.argument}
            timeout, linger = rng.choice([0.1, 1.0, 3.0]), rng.choice([0.0, 2.0])
            answer = await member.ask(timeout + linger + 1.0, timeout=timeout, linger=linger, **order)
            error = None if answer is None else answer.get("error")
            if answer is None or error in ("OutcomeUnknown", "GroupClosed"):
                self.load.lose(ticket)
            elif error == "Offline":
                self.load.refuse(ticket)
            else:
                self.load.end(ticket, succeeded(member, answer))
            await anyio.sleep(rng.uniform(0, 0.04))

    async def work(self, until: float, *beside: Callable[[float], Coroutine[Any, Any, None]]) -> None:
        """Clients on every member until a time, and what is to happen beside them."""
        async with anyio.create_task_group() as tasks:
            for number, member in enumerate(self.members * self.plan.clients):
                rng = random.Random(f"client {self.plan.seed} {number}")
                tasks.start_soon(self.client, f"client {number}", member, until, rng)
            for action in beside:
                tasks.start_soon(action, until)

    async def audit(self) -> None:
        """Read every key through every member: whatever was acknowledged must show."""

        async def read_all(member: MemberProcess) -> None:
            for key in self.load.keys:
                ticket, _ = self.load.begin_read(f"auditor on {member.number}", key)
                answer = await member.ask(LIVENESS + 5, do="read", key=key, argument=None, timeout=LIVENESS, linger=0)
                if answer is None:
                    raise Broken(f"member {member.number} did not answer within {LIVENESS + 5:g} s of calm")
                self.load.end(ticket, succeeded(member, answer))

        async with anyio.create_task_group() as tasks:
            for member in self.members:
                tasks.start_soon(read_all, member)

    # --- faults

    async def torment(self, until: float) -> None:
        """One fault after the other, often several at a time; all is made good in the end."""
        kinds = [self._kill, self._kill, self._pause, self._pause, self._transfer]
        async with anyio.create_task_group() as tasks:
            for kind in kinds[::2]:  # each at least once
                tasks.start_soon(kind)
            while anyio.current_time() < until:
                await anyio.sleep(self.rng.uniform(0.1, 1.2))
                tasks.start_soon(self.rng.choice(kinds))

    async def _kill(self) -> None:
        """SIGKILL some, and start them again on what they had. One such at a time: a slow machine gets fewer."""
        if self._killing.locked():
            return
        async with self._killing:
            if not self.plan.durable:
                await self.wait_whole()  # a quorum's memory must survive: only a minority may be lost at once
            most = self.plan.nodes if self.plan.durable else (self.plan.nodes - 1) // 2
            victims = self.rng.sample(self.running, min(len(self.running), most, self.rng.choice([1, 1, 2, 3])))
            self.faults["kills"] += len(victims)
            async with anyio.create_task_group() as tasks:
                for member in victims:
                    tasks.start_soon(member.kill)
            await anyio.sleep(self.rng.choice([0.0, self.rng.uniform(0, 2)]))
            await self.start(*victims)

    async def _pause(self) -> None:
        """SIGSTOP one, the leader as often as not, and SIGCONT it later: it does not know that time has passed."""
        leader = await self._leader() if self.rng.random() < 0.5 else None
        if (running := self.running) and (member := leader or self.rng.choice(running)).running:
            await self._pause_for(member, self.rng.uniform(0.2, 3))

    async def _pause_for(self, member: MemberProcess, seconds: float) -> None:
        self.faults["pauses"] += 1
        member.pause()
        try:
            await anyio.sleep(seconds)
        finally:
            member.resume()

    async def _transfer(self) -> None:
        """Have the leader hand over; half the time it is paused right then, and wakes up without knowing its successor."""
        if (leader := await self._leader()) is not None:
            self.faults["transfers"] += 1
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(leader.ask, 5.0, do="transfer", timeout=3.0))
                if self.rng.random() < 0.5:
                    await anyio.sleep(self.rng.uniform(0, 0.02))
                    await self._pause_for(leader, self.rng.uniform(0.1, 0.5))

    async def _leader(self) -> MemberProcess | None:
        for member in self.running:
            answer = await member.ask(0.3, do="state")
            if answer is not None and succeeded(member, answer)["is_leader"]:
                return member
        return None


def succeeded(member: MemberProcess, answer: dict[str, Any]) -> Any:
    """The result of an order that has no business failing in this way."""
    if "error" in answer:
        raise Broken(f"member {member.number} failed: {answer['error']}: {answer['text']}")
    return answer["result"]


def stopwatch() -> Callable[[], float]:
    """A clock that shows seconds since now."""
    begin = time.monotonic()
    return lambda: time.monotonic() - begin


@asynccontextmanager
async def processes(plan: Plan, folder: Path, load: Workload) -> AsyncIterator[Chaos]:
    """A whole group of running members; none is left when the context is."""
    async with owned_tasks() as tasks:
        members = []
        for number in range(plan.nodes):
            arguments = ["--expect", str(plan.nodes // 2 + 1), "--voters", str(plan.nodes)]
            if plan.durable:
                arguments += ["--data-dir", str(folder / f"member-{number}")]
            members.append(MemberProcess(number, folder, arguments, tasks))
        chaos = Chaos(plan, load, members)
        try:
            await chaos.start(*members)
            await chaos.wait_whole()
            yield chaos
        finally:
            for member in members:
                await member.aclose()


async def run(plan: Plan, folder: Path) -> Report:
    """Load and faults, then calm: every member must answer again, and the history must be linearizable."""
    load = Workload(random.Random(f"load {plan.seed}"), stopwatch())
    async with processes(plan, folder, load) as chaos:
        before = len(chaos.terms)
        await chaos.work(anyio.current_time() + plan.seconds, chaos.torment)
        await chaos.wait_whole()
        await chaos.work(anyio.current_time() + CALM)
        await chaos.audit()
        elections = len(chaos.terms) - before
    return Report(plan=plan, operations=load.counts, faults=chaos.faults, elections=elections, violation=load.judge())
