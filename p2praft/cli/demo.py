"""``p2praft demo``: real processes on this machine, and what happens to them, told as it happens."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import tempfile
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream

from p2praft.cli.config_file import plain_environment
from p2praft.cli.control import ask_at
from p2praft.cli.output import CommandError, console, emit

NETWORK = GROUP = "demo"
KEYS = 50
START_TIMEOUT = 30.0
STEP_TIMEOUT = 30.0
CATCH_UP_TIMEOUT = 20.0


@dataclass(slots=True, eq=False)
class Node:
    """One process of the demo.

    Attributes:
        name: For people.
        observer: Whether it only observes.
        process: The running process.
        peer_id: Its identity, once it is ready.
        address: Where it can be dialled.
        control: Its control socket.
        said: The error it ended with, if it said one.
        last_words: The end of what it wrote to standard error.
    """

    name: str
    observer: bool
    process: Process
    peer_id: str = ""
    address: str = ""
    control: Path = Path()
    said: str = ""
    ready: anyio.Event = field(default_factory=anyio.Event)
    ended: anyio.Event = field(default_factory=anyio.Event)
    last_words: deque[bytes] = field(default_factory=lambda: deque(maxlen=16))

    async def ask(self, **request: Any) -> Any:
        """Ask the node over its control socket."""
        return await ask_at(self.control, request)

    async def group(self) -> dict[str, Any]:
        """The group as this node sees it."""
        found: dict[str, Any] = (await self.ask(op="groups"))[0]
        return found

    async def set(self, key: str, value: Any, timeout: float = 10) -> int:
        """Write one key; the map's version."""
        result = await self.ask(op="map", action="set", group=GROUP, key=key, value=value, timeout=timeout)
        return int(result["version"])

    async def entries(self, *, weak: bool) -> dict[str, Any]:
        """All keys and values."""
        entries = await self.ask(op="map", action="list", group=GROUP, weak=weak)
        return {entry["key"]: entry["value"] for entry in entries}


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
        self._nodes: list[Node] = []
        self._acknowledged: dict[str, Any] = {}

    async def run(self) -> None:
        """The whole story.

        Raises:
            CommandError: Something did not happen as it should; says what.
        """
        self._started = anyio.current_time()
        interrupted = False
        with tempfile.TemporaryDirectory(prefix="p2praft-demo-") as folder:
            async with anyio.create_task_group() as tasks:
                with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                    story = anyio.CancelScope()

                    async def watch_signals() -> None:
                        nonlocal interrupted
                        async for _ in signals:
                            interrupted = True
                            story.cancel()

                    tasks.start_soon(watch_signals)
                    try:
                        with story:
                            await self._tell(Path(folder), tasks)
                    finally:
                        with anyio.CancelScope(shield=True):
                            await self._stop_all()
                        tasks.cancel_scope.cancel()
        if interrupted and not self._watch:
            raise CommandError("Interrupted", "the demo was interrupted; all its processes are stopped")

    # --- the story

    async def _tell(self, folder: Path, tasks: TaskGroup) -> None:
        voters = self._count - self._observers
        secret = folder / "secret"
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_hex(16))

        self._title(f"{self._count} processes start; each knows one address, a network's name and a group's secret")
        with self._bound("the processes did not start", START_TIMEOUT):
            await self._start(folder, tasks, secret, voters, seed=None, at=0)
            async with anyio.create_task_group() as starting:
                for at in range(1, self._count):
                    starting.start_soon(self._start, folder, tasks, secret, voters, self._nodes[0].address, at)
        self._nodes.sort(key=lambda node: node.name)
        for node in self._nodes:
            self._say(
                f"{node.name} is {node.peer_id[:8]}{' and only observes' if node.observer else ''}",
                peer_id=node.peer_id,
            )

        self._title("they find each other, and those that hold the secret bond")
        with self._bound("the nodes did not find each other"):
            for node in self._nodes:
                while len(await node.ask(op="peers")) < self._count - 1:
                    await anyio.sleep(0.05)
        self._say(f"all {self._count} know each other {self._since_start()} after the start", event="known")
        with self._bound("no leader was elected"):
            leader = await self._leader(self._nodes)
            for node in self._nodes:
                while not (await node.group())["online"]:
                    await anyio.sleep(0.05)
        view = await leader.group()
        self._say(
            f"{leader.name} leads: it puts all writes into one order; {len(view['voters'])} of {self._count} vote, "
            "the others follow and stand by",
            event="leader",
        )

        follower = next(node for node in self._nodes if node is not leader and not node.observer)
        others = [node for node in self._nodes if node not in (leader, follower)]
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
                self._compare(node, await node.entries(weak=False))
        names = ", ".join(node.name for node in others)
        self._say(f"strong reads through {names} see all of them", event="read")

        await self._kill_leader(leader, follower, others)

        kept = "its identity and its log" if self._data_dir else "nothing but its identity"
        self._title(f"{leader.name} starts again, with {kept}")
        with self._bound("the killed node did not come back"):
            again = await self._start(folder, tasks, secret, voters, follower.address, self._index(leader))
            await self._compare_when_caught_up(again)
        how = "from its disk and the others" if self._data_dir else "from the others, as a new member"
        self._say(
            f"{again.name} is back and has all {len(self._acknowledged)} writes, {how}",
            event="back",
        )

        if self._watch:
            await self._live()
        self._title("done")
        self._say(
            f"{self._count} processes, 1 killed, {len(self._acknowledged)} acknowledged writes, 0 lost, {self._since_start()}",
            event="summary",
            acknowledged=len(self._acknowledged),
            lost=0,
        )

    async def _kill_leader(self, leader: Node, follower: Node, others: list[Node]) -> None:
        self._title(f"{leader.name}, the leader, is killed (SIGKILL) while {follower.name} goes on writing")
        survivors = [follower, *others]
        killed = anyio.current_time()
        first_ack: float | None = None
        during = 0
        leader.process.kill()
        self._nodes.remove(leader)
        with self._bound("the survivors took no more writes"):
            while during < KEYS:
                await self._write(follower, f"after-{during:03}", during)
                first_ack = first_ack or anyio.current_time() - killed
                during += 1
            new_leader = await self._leader(survivors, other_than=leader.peer_id)
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

    async def _live(self) -> None:
        self._title("live; Ctrl-C ends it")
        for node in self._nodes:
            self._say(f"{node.name}: p2praft status --node {node.peer_id[:8]}")
        previous = ""
        while True:
            views = [(node, await node.group()) for node in self._nodes]
            text = ", ".join(f"{node.name} {view['role']} {view['committed']}" for node, view in views)
            if text != previous:
                self._say(text, event="live")
                previous = text
            await anyio.sleep(1)

    # --- processes

    async def _start(
        self, folder: Path, tasks: TaskGroup, secret: Path, voters: int, seed: str | None, at: int
    ) -> Node:
        name = f"node-{at + 1}"
        command = [sys.executable, "-m", "p2praft", "up", "--json", "--exit-with-parent"]
        command += ["--network", NETWORK, "--group", GROUP, "--secret-file", str(secret), "--listen", "127.0.0.1:0"]
        command += ["--expect", str(voters // 2 + 1)]  # more than half: the group can be founded only once
        observer = at >= self._count - self._observers
        if seed:
            command += ["--seed", seed]
        if observer:
            command.append("--observer")
        if self._data_dir is not None:
            command += ["--data-dir", str(self._data_dir / name)]
        else:
            command += ["--identity", str(folder / f"{name}.key")]
        # A session of its own: Ctrl-C is for us, we stop it. If we are killed, its standard input ends, and so does it.
        process = await anyio.open_process(
            command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, env=plain_environment()
        )
        node = Node(name=name, observer=observer, process=process)
        self._nodes.append(node)
        tasks.start_soon(self._listen, node)
        tasks.start_soon(self._drain, node)
        await node.ready.wait()
        if not node.peer_id:
            with anyio.move_on_after(1):
                await node.ended.wait()
            why = b"".join(node.last_words).decode(errors="replace").strip()
            raise CommandError("Demo", f"{name} did not start: {why or node.said or 'it said nothing'}")
        return node

    async def _listen(self, node: Node) -> None:
        """Take what a node says on standard output, until it ends."""
        assert node.process.stdout is not None
        lines = BufferedByteReceiveStream(node.process.stdout)
        try:
            while True:
                event = json.loads(await lines.receive_until(b"\n", 65536))
                if event.get("event") == "ready":
                    node.peer_id, node.address = event["peer_id"], event["address"]
                    node.control = Path(event["control"])
                    node.ready.set()
                elif "error" in event:
                    node.said = event["message"]
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.ClosedResourceError, ValueError):
            node.ready.set()

    async def _drain(self, node: Node) -> None:
        """Take what a node writes to standard error, so that it never waits for us; the end of it is kept."""
        assert node.process.stderr is not None
        try:
            while True:
                node.last_words.append(await node.process.stderr.receive(4096))
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            node.ended.set()

    async def _stop_all(self) -> None:
        nodes = [node for node in self._nodes if node.process.returncode is None]
        for node in nodes:
            node.process.terminate()
        with anyio.move_on_after(5):
            for node in nodes:
                await node.process.wait()
        for node in nodes:
            if node.process.returncode is None:
                node.process.kill()
                await node.process.wait()

    # --- steps

    async def _write(self, node: Node, key: str, value: Any) -> None:
        await node.set(key, value, timeout=STEP_TIMEOUT)
        self._acknowledged[key] = value

    async def _leader(self, nodes: list[Node], other_than: str = "") -> Node:
        by_id = {node.peer_id: node for node in nodes}
        while True:
            for node in nodes:
                view = await node.group()
                if view["is_leader"] and view["leader"] != other_than and view["online"]:
                    return by_id[view["leader"]]
            await anyio.sleep(0.02)

    def _missing(self, entries: dict[str, Any]) -> list[str]:
        return [key for key, value in self._acknowledged.items() if entries.get(key) != value]

    def _compare(self, node: Node, entries: dict[str, Any]) -> None:
        if missing := self._missing(entries):
            raise CommandError(
                "Lost", f"{node.name} misses {len(missing)} acknowledged writes: {', '.join(missing[:5])}"
            )

    async def _compare_when_caught_up(self, node: Node) -> None:
        """Compare a node's own state; it may still be applying what others acknowledged, but not for ever."""
        entries: dict[str, Any] = {}
        with anyio.move_on_after(CATCH_UP_TIMEOUT):
            while self._missing(entries := await node.entries(weak=True)):
                await anyio.sleep(0.05)
        self._compare(node, entries)

    def _index(self, node: Node) -> int:
        return int(node.name.rpartition("-")[2]) - 1

    # --- telling

    def _bound(self, problem: str, timeout: float = STEP_TIMEOUT) -> _Bound:
        return _Bound(problem, timeout)

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


class _Bound:
    """A step that fails with a reason if it takes too long."""

    def __init__(self, problem: str, timeout: float) -> None:
        self._problem = problem
        self._scope = anyio.move_on_after(timeout)
        self._timeout = timeout

    def __enter__(self) -> None:
        self._scope.__enter__()

    def __exit__(self, *exc: Any) -> bool:
        swallowed = self._scope.__exit__(*exc)
        if self._scope.cancelled_caught:
            raise CommandError("Demo", f"{self._problem} within {self._timeout:g} s")
        return bool(swallowed)
