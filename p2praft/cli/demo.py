"""``p2praft demo``: real processes on this machine, and what happens to them, told as it happens."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anyio
import click

from p2praft.cli.fleet import Fleet, Interrupted, Node, Within, fleet
from p2praft.cli.options import json_option
from p2praft.cli.output import CommandError, console, emit, execute
from p2praft.cli.progress import progress

NAME = "demo"
"""Of the network and of the group."""
KEYS = 50
START_TIMEOUT = 30.0
STEP_TIMEOUT = 30.0
CATCH_UP_TIMEOUT = 20.0


class Demo:
    """The demonstration.

    Args:
        nodes: Processes, observers included.
        observers: How many of them only observe.
        data_dir: Where they keep their logs; in memory if None.
        watch: Whether to stay live at the end.
        as_json: Print JSON objects instead of prose.
    """

    def __init__(self, *, nodes: int, observers: int, data_dir: Path | None, watch: bool, as_json: bool) -> None:
        self._count = nodes
        self._observers = observers
        self._data_dir = data_dir
        self._watch = watch
        self._as_json = as_json
        self._console = console()
        self._started = 0.0
        self._acknowledged: dict[str, Any] = {}

    async def run(self) -> None:
        """The whole story.

        Raises:
            CommandError: Something did not happen as it should; says what.
        """
        self._started = anyio.current_time()
        voters = self._count - self._observers
        try:
            async with fleet(NAME, voters=voters, data_dir=self._data_dir, what="the demo") as nodes:
                await self._tell(nodes)
        except Interrupted:
            if not self._watch:
                raise

    # --- the story

    async def _tell(self, fleet: Fleet) -> None:
        self._title(f"{self._count} processes start; each knows one address, a network's name and a group's secret")
        await self._start_all(fleet)
        for node in fleet.nodes:
            self._say(
                f"{node.name} is {node.peer_id[:8]}{' and only observes' if node.observer else ''}",
                peer_id=node.peer_id,
            )

        self._title("they find each other, and those that hold the secret bond")
        with self._bound("the nodes did not find each other"):
            for node in fleet.nodes:
                while len(await node.ask(op="peers")) < self._count - 1:
                    await anyio.sleep(0.05)
        self._say(f"all {self._count} know each other {self._since_start()} after the start", event="known")
        with self._bound("no leader was elected"):
            leader = await fleet.leader()
            await fleet.wait_online()
        view = await leader.group()
        self._say(
            f"{leader.name} leads: it puts all writes into one order; {len(view['voters'])} of {self._count} vote, "
            "the others follow and stand by",
            event="leader",
        )

        follower = next(node for node in fleet.nodes if node is not leader and not node.observer)
        others = [node for node in fleet.nodes if node not in (leader, follower)]
        self._title(f"{KEYS} writes through {follower.name}, which does not lead: it hands them to {leader.name}")
        begin = anyio.current_time()
        with self._bound("the writes did not succeed"):
            for at in range(KEYS):
                await self._write(follower, f"key-{at:03}", at)
        each = (anyio.current_time() - begin) / KEYS * 1000
        self._say(
            f'{KEYS} writes acknowledged, {each:.1f} ms each: "acknowledged" means that a majority of the voters holds it',
            event="written",
        )
        with self._bound("the reads did not succeed"):
            for node in others:
                self._compare(node, await entries(node, weak=False))
        names = ", ".join(node.name for node in others)
        self._say(f"strong reads through {names} see all of them", event="read")

        await self._kill_leader(fleet, leader, follower, others)

        kept = "its identity and its log" if self._data_dir else "nothing but its identity"
        self._title(f"{leader.name} starts again, with {kept}")
        with self._bound("the killed node did not come back"):
            again = await fleet.start(int(leader.name.rpartition("-")[2]), seed=follower.address)
            await self._compare_when_caught_up(again)
        how = "from its disk and the others" if self._data_dir else "from the others, as a new member"
        self._say(
            f"{again.name} is back and has all {len(self._acknowledged)} writes, {how}",
            event="back",
        )

        if self._watch:
            await self._live(fleet)
        self._title("done")
        self._say(
            f"{self._count} processes, 1 killed, {len(self._acknowledged)} acknowledged writes, 0 lost, {self._since_start()}",
            event="summary",
            acknowledged=len(self._acknowledged),
            lost=0,
        )

    async def _kill_leader(self, fleet: Fleet, leader: Node, follower: Node, others: list[Node]) -> None:
        self._title(f"{leader.name}, the leader, is killed (SIGKILL) while {follower.name} goes on writing")
        survivors = [follower, *others]
        killed = anyio.current_time()
        first_ack: float | None = None
        during = 0
        fleet.kill(leader)
        with self._bound("the survivors took no more writes"):
            while during < KEYS:
                await self._write(follower, f"after-{during:03}", during)
                first_ack = first_ack or anyio.current_time() - killed
                during += 1
            new_leader = await fleet.leader(other_than=leader.peer_id)
        assert first_ack is not None
        term = (await new_leader.group())["term"]
        self._say(
            f"{new_leader.name} leads now, in term {term}; the first write was acknowledged "
            f"{first_ack * 1000:.0f} ms after the kill",
            event="failover",
            failover=round(first_ack, 4),
        )
        with self._bound("a survivor misses acknowledged writes"):
            for node in survivors:
                await self._compare_when_caught_up(node)
        self._say(
            f"all {len(self._acknowledged)} acknowledged writes are on every survivor: each was on a majority, and no one "
            "can lead who lacks what a majority has",
            event="verified",
        )

    async def _live(self, fleet: Fleet) -> None:
        self._title("live; Ctrl-C ends it")
        for node in fleet.nodes:
            self._say(f"{node.name}: p2praft top --node {node.peer_id[:8]}")
        previous = ""
        while True:
            views = [(node, await node.group()) for node in fleet.nodes]
            text = ", ".join(f"{node.name} {view['role']} {view['committed']}" for node, view in views)
            if text != previous:
                self._say(text, event="live")
                previous = text
            await anyio.sleep(1)

    # --- steps

    async def _start_all(self, fleet: Fleet) -> None:
        """All at the same time, but for the first, whose address the others need."""
        started = 0
        with (
            self._bound("the processes did not start", START_TIMEOUT),
            progress("starting processes", self._count) as advance,
        ):
            first = await fleet.start(1, seed=None)

            async def start(number: int) -> None:
                nonlocal started
                observer = number > self._count - self._observers
                await fleet.start(number, seed=first.address, observer=observer)
                started += 1
                advance(1 + started, "")

            async with anyio.create_task_group() as starting:
                for number in range(2, self._count + 1):
                    starting.start_soon(start, number)

    async def _write(self, node: Node, key: str, value: Any) -> None:
        await node.ask(op="map", action="set", group=NAME, key=key, value=value, timeout=STEP_TIMEOUT)
        self._acknowledged[key] = value

    def _missing(self, entries: dict[str, Any]) -> list[str]:
        return [key for key, value in self._acknowledged.items() if entries.get(key) != value]

    def _compare(self, node: Node, entries: dict[str, Any]) -> None:
        if missing := self._missing(entries):
            raise CommandError(
                "Lost", f"{node.name} misses {len(missing)} acknowledged writes: {', '.join(missing[:5])}"
            )

    async def _compare_when_caught_up(self, node: Node) -> None:
        """Compare a node's own state; it may still be applying what others acknowledged, but not for ever."""
        found: dict[str, Any] = {}
        with anyio.move_on_after(CATCH_UP_TIMEOUT):
            while self._missing(found := await entries(node, weak=True)):
                await anyio.sleep(0.05)
        self._compare(node, found)

    # --- telling

    def _bound(self, problem: str, timeout: float = STEP_TIMEOUT) -> Within:
        return Within(timeout, problem)

    def _since_start(self) -> str:
        return f"{anyio.current_time() - self._started:.1f} s"

    def _title(self, text: str) -> None:
        if not self._as_json:
            self._console.print(f"\n[bold]{text}[/bold]")

    def _say(self, text: str, **fields: Any) -> None:
        elapsed = anyio.current_time() - self._started
        if self._as_json:
            emit({"event": "progress", **fields, "elapsed": round(elapsed, 3), "text": text})
        else:
            self._console.print(f"[dim]{elapsed:6.2f} s[/dim]  {text}")
            if not self._console.is_terminal:
                sys.stdout.flush()


async def entries(node: Node, *, weak: bool) -> dict[str, Any]:
    """All keys and values, as this node gives them."""
    found = await node.ask(op="map", action="list", group=NAME, weak=weak)
    return {entry["key"]: entry["value"] for entry in found}


@click.command("demo", short_help="Real processes elect, replicate, lose their leader: see it.")
@click.option(
    "--nodes", default=5, show_default=True, type=click.IntRange(4, 15), help="Processes, observers included."
)
@click.option("--observers", default=1, show_default=True, type=click.IntRange(0, 5), help="How many only observe.")
@click.option("--data-dir", metavar="DIR", help="Keep the nodes' logs there, durably.")
@click.option("--watch", is_flag=True, help="Stay live at the end, until Ctrl-C.")
@json_option
def demo_command(nodes: int, observers: int, data_dir: str | None, watch: bool, as_json: bool) -> None:
    """Watch real processes find each other, elect, replicate, lose their leader, and lose nothing."""
    if nodes - observers < 3:
        raise click.UsageError("at least three nodes must be able to vote, so that one can be lost: raise --nodes")
    demo = Demo(
        nodes=nodes, observers=observers, data_dir=Path(data_dir) if data_dir else None, watch=watch, as_json=as_json
    )
    execute(demo.run, as_json=as_json)
