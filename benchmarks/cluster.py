"""Processes that take orders, and the group that some of them are."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / ".bench"
"""What benchmarks keep or leave on disk, on the disk that the repository is on."""
PATIENCE = 600
"""Seconds after which a process that owes an answer is killed, so that no benchmark hangs."""


class Process:
    """A process that takes a line of JSON and answers with another.

    Args:
        command: What to start.
        stderr: Where its complaints go; where ours go if None.
        variables: More of them for its environment.

    Attributes:
        started: When, on the system's monotonic clock.
        address: Where it is reached, as it said.
    """

    def __init__(
        self, command: Sequence[str | Path], stderr: TextIO | None = None, variables: Mapping[str, str] | None = None
    ) -> None:
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            list(map(str, command)),
            cwd=ROOT,
            env={**os.environ, **(variables or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        try:
            self.address: str = self.hear()["address"]
        except BaseException:
            self.kill()
            raise

    def tell(self, **order: Any) -> None:
        """Give an order."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def hear(self) -> Any:
        """Wait for the answer."""
        assert self.process.stdout is not None
        watchdog = threading.Timer(PATIENCE, self.process.kill)
        watchdog.start()
        try:
            line = self.process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            raise RuntimeError("a process of the benchmark ended before it answered")
        return json.loads(line)

    def ask(self, **order: Any) -> Any:
        """Give an order and wait for the answer."""
        self.tell(**order)
        return self.hear()

    def dismiss(self) -> None:
        """Let it end in good order, without waiting for it."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            self.process.stdin.close()

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self.process.kill()
        self.wait()

    def wait(self) -> None:
        """Wait for its end, and bring it about if it takes long."""
        self.dismiss()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Processes:
    """Several of them, one of which leads; leaving the context ends all and deletes what they stored."""

    def __init__(self) -> None:
        BENCH.mkdir(exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(prefix="data-", dir=BENCH)
        self.folder = Path(self._folder.name)
        self.members: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for member in self.members:
            member.dismiss()
        for member in self.members:
            member.wait()
        self._folder.cleanup()

    def states(self) -> list[dict[str, Any]]:
        """What each says of itself."""
        return [member.ask(do="state") for member in self.members]

    def settle(self, ready: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until all are ready and one leads.

        Raises:
            RuntimeError: They were not within a minute.
        """
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            states = self.states()
            if all(map(ready, states)) and sum(state["is_leader"] for state in states) == 1:
                return
            time.sleep(0.05)
        raise RuntimeError(f"the benchmark's group did not come up: {states}")

    def roles(self) -> tuple[Process, list[Process]]:
        """The leader and the others."""
        leads = [state["is_leader"] for state in self.states()]
        leader = self.members[leads.index(True)]
        return leader, [member for member in self.members if member is not leader]

    def end(self, member: Process, how: Callable[[], None]) -> None:
        """Take one out."""
        self.members.remove(member)
        how()


class Cluster(Processes):
    """A group of p2praft, all of whose members vote.

    Args:
        size: How many members.
        durable: Whether they store their log.
        arguments: More of them for :mod:`benchmarks.member`.
        engine: Their QUIC engine; what the environment says if None.
    """

    def __init__(
        self, size: int = 3, *, durable: bool = False, arguments: Sequence[str] = (), engine: str | None = None
    ) -> None:
        super().__init__()
        self._durable = durable
        self._variables = {"P2PRAFT_QUIC": engine} if engine else {}
        self._arguments = arguments
        self._started = 0
        self._data_dirs: dict[Process, Path] = {}
        try:
            for _ in range(size):
                self.start()
            self.settle(lambda state: state["online"] and state["voters"] >= size)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def start(self, predecessor: Process | None = None) -> Process:
        """Start one more, on the data of another that has ended if given."""
        self._started += 1
        data_dir = self._data_dirs[predecessor] if predecessor else self.folder / str(self._started)
        command: list[str | Path] = [sys.executable, "-m", "benchmarks.member", *self._arguments]
        for member in self.members:
            command += ["--seed", member.address]
        if self._durable:
            command += ["--data-dir", data_dir]
        member = Process(command, variables=self._variables)
        self._data_dirs[member] = data_dir
        self.members.append(member)
        return member


def leader_changes(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> int:
    """How many leaders came up between two rounds of states."""

    def known(states: Sequence[dict[str, Any]]) -> set[tuple[int, str]]:
        return {(term, peer) for state in states for term, peer in state["leaders"]}

    return len(known(after) - known(before))
