"""A member's process, seen from the driver: orders, answers, signals to that process alone, and nothing left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process, TaskGroup

LIVENESS = 120.0
"""Seconds that anything may take on a busy machine before it counts as hanging."""


class Broken(AssertionError):
    """A member did what it never may: it ended by itself, hung, or failed in a way that no fault of ours explains."""


class MemberProcess:
    """One member; its identity, and its log if it is durable, outlive its process.

    Args:
        number: Names it.
        folder: Where it keeps what outlives it.
        arguments: Of its program.
        tasks: Own the reader of what it says.

    Attributes:
        running: Whether a process runs and is ready; it may be paused.
        address: Of the newest process.
        terms: In which terms it saw somebody lead.
    """

    def __init__(self, number: int, folder: Path, arguments: list[str], tasks: TaskGroup) -> None:
        self.number = number
        self.running = False
        self.address = ""
        self.terms: set[int] = set()
        self._arguments = ["--identity", str(folder / f"member-{number}.key"), *arguments]
        self._log = folder / f"member-{number}.log"
        self._tasks = tasks
        self._process: Process | None = None
        self._killed = False
        self._ids = count(1)
        self._waiting: dict[int, anyio.Event] = {}
        self._answers: dict[int, dict[str, Any]] = {}
        self._heard = anyio.Event()
        self._ended = anyio.Event()
        self._sending = anyio.Lock()

    async def start(self, seeds: list[str]) -> None:
        """Start a process and wait until it takes orders."""
        command = [sys.executable, "-m", "tests.chaos.member", *self._arguments]
        for seed in seeds:
            command += ["--seed", seed]
        self._killed, self._ended, self._heard = False, anyio.Event(), anyio.Event()
        # Opened before the process exists, so that a cancelled start cannot lose sight of one.
        with self._log.open("ab") as log, anyio.CancelScope(shield=True):
            process = self._process = await anyio.open_process(command, stdin=subprocess.PIPE, stderr=log)
        self._tasks.start_soon(self._listen, process)
        with anyio.move_on_after(LIVENESS):
            await self._heard.wait()
        if not self._heard.is_set():
            raise Broken(f"member {self.number} was not ready within {LIVENESS:g} s: {self.log_tail()}")

    async def ask(self, patience: float, **order: Any) -> dict[str, Any] | None:
        """The answer to an order; None if none came, and then nobody knows what became of it."""
        process = self._process
        if not self.running or process is None or process.stdin is None:
            return None
        ticket = next(self._ids)
        self._waiting[ticket] = anyio.Event()
        try:
            with anyio.move_on_after(patience):
                async with self._sending:
                    with anyio.CancelScope(shield=True):  # half a line would spoil the next; a pipe's buffer is large
                        await process.stdin.send(json.dumps({"id": ticket, **order}).encode() + b"\n")
                await self._waiting[ticket].wait()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return None
        finally:
            del self._waiting[ticket]
        return self._answers.pop(ticket, None)

    async def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        process = self._process
        if process is None:
            return
        self.running, self._killed = False, True
        if process.returncode is None:
            process.kill()
        await process.wait()
        await self._ended.wait()

    def pause(self) -> None:
        """SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT; harmless if it is not paused."""
        self._signal(signal.SIGCONT)

    async def aclose(self) -> None:
        """Leave no process behind, whatever happened."""
        with anyio.CancelScope(shield=True):
            if self._process is not None:
                self.running, self._killed = False, True
                if self._process.returncode is None:
                    self._process.kill()
                await self._process.aclose()

    def log_tail(self) -> str:
        """The end of what it wrote to standard error."""
        return self._log.read_text(errors="replace")[-2000:] if self._log.exists() else ""

    # --- inner workings

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _listen(self, process: Process) -> None:
        assert process.stdout is not None
        buffer = b""
        try:
            async for data in process.stdout:
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    self._take(json.loads(line))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        self.running = False
        for event in self._waiting.values():
            event.set()
        self._ended.set()
        if not self._killed:
            status = await process.wait()
            raise Broken(f"member {self.number} ended by itself, with status {status}: {self.log_tail()}")

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("event") == "ready":
            self.address, self.running = message["address"], not self._killed
            self._heard.set()
        elif message.get("event") == "leader":
            self.terms.add(message["term"])
        elif (event := self._waiting.get(message["id"])) is not None:
            self._answers[message["id"]] = message
            event.set()
