"""Nodes in processes of their own on this machine, for the demo and for measurements; none outlives its owner."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream

from p2praft.cli.client import ask_at
from p2praft.cli.config_file import plain_environment
from p2praft.cli.output import CommandError


@dataclass(slots=True, eq=False)
class Node:
    """One process.

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


class Fleet:
    """Nodes of one group; made by :func:`fleet`.

    Args:
        name: Of the network and of the group.
        voters: How many of its nodes may vote.
        folder: For secrets and identities.
        data_dir: Where the nodes keep their logs; in memory if None.
        tasks: Where the nodes are listened to.

    Attributes:
        nodes: Those that run, in the order of their names.
    """

    def __init__(self, name: str, voters: int, folder: Path, data_dir: Path | None, tasks: TaskGroup) -> None:
        self.nodes: list[Node] = []
        self._name = name
        self._expect = voters // 2 + 1  # more than half: the group can be founded only once
        self._folder = folder
        self._data_dir = data_dir
        self._tasks = tasks
        self._secret = folder / "secret"
        self._secret.touch(mode=0o600)
        self._secret.write_text(secrets.token_hex(16))

    async def start(self, number: int, *, seed: str | None, observer: bool = False) -> Node:
        """Start node ``number``, anew if it has run before, and wait until it is ready.

        Raises:
            CommandError: It did not start; says why.
        """
        name = f"node-{number}"
        command = [sys.executable, "-m", "p2praft", "up", "--json", "--exit-with-parent"]
        command += ["--network", self._name, "--group", self._name, "--secret-file", str(self._secret)]
        command += ["--listen", "127.0.0.1:0", "--expect", str(self._expect)]
        if seed:
            command += ["--seed", seed]
        if observer:
            command.append("--observer")
        if self._data_dir is not None:
            command += ["--data-dir", str(self._data_dir / name)]
        else:
            command += ["--identity", str(self._folder / f"{name}.key")]
        # A session of its own: Ctrl-C is for us, we stop it. If we are killed, its standard input ends, and so does it.
        process = await anyio.open_process(
            command,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=plain_environment(),
        )
        node = Node(name=name, observer=observer, process=process)
        self.nodes.append(node)
        self._tasks.start_soon(self._listen, node)
        self._tasks.start_soon(self._drain, node)
        await node.ready.wait()
        if not node.peer_id:
            with anyio.move_on_after(1):
                await node.ended.wait()
            why = b"".join(node.last_words).decode(errors="replace").strip()
            raise CommandError("NotStarted", f"{name} did not start: {why or node.said or 'it said nothing'}")
        self.nodes.sort(key=lambda one: int(one.name.rpartition("-")[2]))
        return node

    def kill(self, node: Node) -> None:
        """SIGKILL."""
        node.process.kill()
        self.nodes.remove(node)

    async def leader(self, other_than: str = "") -> Node:
        """Wait for a node that leads."""
        by_id = {node.peer_id: node for node in self.nodes}
        while True:
            for node in list(self.nodes):
                view = await node.group()
                if view["is_leader"] and view["leader"] != other_than and view["online"]:
                    return by_id[view["leader"]]
            await anyio.sleep(0.02)

    async def wait_online(self) -> None:
        """Wait until every node has a leader."""
        for node in self.nodes:
            while not (await node.group())["online"]:
                await anyio.sleep(0.05)

    async def stop(self) -> None:
        """End all, by force those that take long."""
        running = [node for node in self.nodes if node.process.returncode is None]
        for node in running:
            node.process.terminate()
        with anyio.move_on_after(5):
            for node in running:
                await node.process.wait()
        for node in running:
            if node.process.returncode is None:
                node.process.kill()
                await node.process.wait()

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


class Interrupted(CommandError):
    """The person wants it to end; all processes are stopped."""

    def __init__(self, what: str) -> None:
        super().__init__("Interrupted", f"{what} was interrupted; all its processes are stopped")


@asynccontextmanager
async def fleet(name: str, *, voters: int, data_dir: Path | None = None, what: str = "") -> AsyncIterator[Fleet]:
    """A fleet, which ends with the context, also on Ctrl-C and SIGTERM.

    Raises:
        Interrupted: It was ended by a signal.
    """
    interrupted = False
    with tempfile.TemporaryDirectory(prefix=f"p2praft-{name}-") as folder:
        async with anyio.create_task_group() as tasks:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                made = Fleet(name, voters, Path(folder), data_dir, tasks)
                body = anyio.CancelScope()

                async def watch_signals() -> None:
                    nonlocal interrupted
                    async for _ in signals:
                        interrupted = True
                        body.cancel()

                tasks.start_soon(watch_signals)
                try:
                    with body:
                        yield made
                finally:
                    with anyio.CancelScope(shield=True):
                        await made.stop()
                    tasks.cancel_scope.cancel()
    if interrupted:
        raise Interrupted(what or name)


class Within:
    """A step that fails with a reason if it takes too long.

    Args:
        seconds: How long it may take.
        problem: What did not happen, if it takes longer.
    """

    def __init__(self, seconds: float, problem: str) -> None:
        self._problem = problem
        self._scope = anyio.move_on_after(seconds)
        self._seconds = seconds

    def __enter__(self) -> None:
        self._scope.__enter__()

    def __exit__(self, *exc: Any) -> bool:
        swallowed = self._scope.__exit__(*exc)
        if self._scope.cancelled_caught:
            raise CommandError("TooSlow", f"{self._problem} within {self._seconds:g} s")
        return bool(swallowed)
