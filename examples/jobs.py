"""A job scheduler: the leader hands out each job exactly once, also when another takes over in the middle.

Run it: ``python examples/jobs.py``

What is exactly once is the handing out: it is a command of the replicated log. A worker that dies with a job in its
hands is another matter: whether the work itself may be repeated only you know.
"""

from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import anyio

from p2praft import ApplyContext, ConsensusConfig, Consistency, Group, GroupKey, Network, StateMachine

DISHES = [
    "soup",
    "salad",
    "pasta",
    "curry",
    "dumplings",
    "ramen",
    "tacos",
    "pizza",
    "risotto",
    "pancakes",
    "waffles",
    "tea",
]


class Board(StateMachine):
    """Who does what: a job waits, is handed out once, and is done."""

    signature = "jobs/1"

    def __init__(self) -> None:
        self.jobs: dict[str, list[str]] = {}  # job: [state, worker]

    def apply(self, command: Any, ctx: ApplyContext) -> Any:
        verb, job, *rest = command
        match verb:
            case "submit":
                self.jobs.setdefault(job, ["waiting", ""])
            case "hand out" if self.jobs[job][0] == "waiting":
                self.jobs[job] = ["handed out", *rest]
                return True
            case "done" if self.jobs[job][0] == "handed out":
                self.jobs[job][0] = "done"
        return False

    def query(self, query: Any) -> Any:
        state, worker = query
        return [job for job, (now, whose) in self.jobs.items() if now == state and worker in ("", whose)]

    def snapshot(self) -> Any:
        return {job: list(entry) for job, entry in self.jobs.items()}

    def restore(self, snapshot: Any) -> None:
        self.jobs = snapshot


async def lead(name: str, group: Group, workers: list[str]) -> None:
    """Hand out jobs in turn, whenever this member leads."""
    while True:
        await group.when.is_leader()
        handed = 0
        waiting = await group.query(["waiting", ""])
        for job in waiting.value:
            if not group.is_leader or handed == 4:
                break
            worker = workers[handed % len(workers)]
            if await group.execute(["hand out", job, worker]):
                print(f"{name} leads and hands {job!r} to {worker}")
                handed += 1
        if handed and group.is_leader:
            await group.transfer_leadership()  # for the show: every four jobs another leads
        else:
            await group.when.committed.reaches(waiting.index + 1)  # anything newer than what we have seen


async def work(name: str, group: Group, log: list[str]) -> None:
    """Do what was handed to this worker."""
    while True:
        # Weak is enough: what was handed to us stays ours, and a stale state only shows it later.
        mine = await group.query(["handed out", name], Consistency.WEAK)
        for job in mine.value:
            await anyio.sleep(0.02)  # the work
            log.append(job)
            await group.execute(["done", job])
        await group.when.committed.reaches(mine.index + 1)


async def main() -> None:
    """Three cooks, each able to lead; twelve dishes."""
    key, config = GroupKey.generate(), ConsensusConfig(expect=2)
    cooks = ["ada", "bo", "cy"]
    log: list[str] = []
    async with AsyncExitStack() as stack:
        seeds: list[str] = []
        groups: list[Group] = []
        for _ in cooks:
            network = await stack.enter_async_context(Network("kitchen", listen="127.0.0.1:0", seeds=seeds))
            seeds = seeds or [str(network.address)]
            handle = network.group("orders", secret=key, machine=Board(), consensus=config)
            groups.append(await stack.enter_async_context(handle))
        for group in groups:
            await group.when.online()
        tasks = await stack.enter_async_context(anyio.create_task_group())
        for name, group in zip(cooks, groups, strict=True):
            tasks.start_soon(lead, name, group, cooks)
            tasks.start_soon(work, name, group, log)
        for dish in DISHES:
            await groups[0].execute(["submit", dish])
        with anyio.fail_after(30):
            while len((done := await groups[1].query(["done", ""])).value) < len(DISHES):
                await groups[1].when.committed.reaches(done.index + 1)
        tasks.cancel_scope.cancel()
    times = Counter(log)
    assert times == Counter(DISHES), times
    print(f"{len(log)} dishes cooked, each exactly once")


if __name__ == "__main__":
    anyio.run(main)
