"""Real processes of the command, and no leftovers of them."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from p2praft.cli.client import ask_at

COMMAND = [sys.executable, "-m", "p2praft"]
LIVENESS = 30.0
"""Seconds that anything may take before it counts as hanging."""


def run(
    *arguments: str, env: dict[str, str] | None = None, timeout: float = LIVENESS
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
    )


class Up:
    """A running ``p2praft up``."""

    def __init__(self, *arguments: str, env: dict[str, str], program: Sequence[str] = COMMAND) -> None:
        listen = [] if "--listen" in arguments else ["--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            [*program, "up", "--json", *listen, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **env},
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self._env = env
        self._buffer = b""
        self.events: list[dict[str, Any]] = []
        ready = self.wait_event("ready")
        self.address: str = ready["address"]
        self.peer_id: str = ready["peer_id"]
        self.control = Path(ready["control"])

    def wait_event(self, name: str, timeout: float = LIVENESS) -> dict[str, Any]:
        """The next event of this name."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while True:
                while b"\n" in self._buffer:
                    line, _, self._buffer = self._buffer.partition(b"\n")
                    event: dict[str, Any] = json.loads(line)
                    self.events.append(event)
                    if event.get("event") == name:
                        return event
                    if "error" in event:
                        raise AssertionError(f"the node failed: {event}")
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise AssertionError(f"no {name!r} within {timeout} s, but {self.events}")
                data = os.read(self.process.stdout.fileno(), 65536)
                if not data:
                    raise AssertionError(f"the node ended without {name!r}: {self.events}")
                self._buffer += data

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command that asks this node."""
        return run(*arguments, "--node", self.peer_id[:16], "--json", env=self._env)

    def json(self, *arguments: str) -> Any:
        """What a command that must succeed prints; a list if it prints several lines."""
        result = self.ask(*arguments)
        assert result.returncode == 0, (arguments, result.stdout, result.stderr)
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        return lines[0] if len(lines) == 1 else lines

    def request(self, **request: Any) -> Any:
        """What the command would ask, without a process for it."""
        return anyio.run(ask_at, self.control, request)

    def wait_group(self, **wanted: Any) -> dict[str, Any]:
        """Wait until the node's group looks as wanted."""
        deadline = time.monotonic() + LIVENESS
        while time.monotonic() < deadline:
            group: dict[str, Any] = self.request(op="groups")[0]
            if all(group[key] == value for key, value in wanted.items()):
                return group
            time.sleep(0.05)
        raise AssertionError(f"the group never had {wanted}: {group}")

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(LIVENESS)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self.process.wait(LIVENESS)


class Hosts:
    """Starts nodes that all end with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {"XDG_RUNTIME_DIR": ""}
        self.nodes: list[Up] = []

    def secret(self, text: str = "correct horse battery staple") -> str:
        """A secret file."""
        path = self.folder / f"secret-{len(list(self.folder.iterdir()))}"
        path.touch(mode=0o600)
        path.write_text(text)
        return str(path)

    def up(self, *arguments: str, program: Sequence[str] = COMMAND) -> Up:
        """Start a node and wait until it is ready."""
        node = Up(*arguments, env=self.env, program=program)
        self.nodes.append(node)
        return node

    def close(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            if node.process.poll() is None:
                node.process.kill()
                node.process.wait(LIVENESS)
            for stream in (node.process.stdout, node.process.stderr):
                if stream is not None:
                    stream.close()


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    made = Hosts(tmp_path)
    try:
        yield made
    finally:
        made.close()


def wait_voters(nodes: Sequence[Up], count: int) -> None:
    """Wait until every node knows so many voters of its group."""
    deadline = time.monotonic() + LIVENESS
    while any(len(node.request(op="groups")[0]["voters"]) < count for node in nodes):
        assert time.monotonic() < deadline, "the members never became voters"
        time.sleep(0.05)
