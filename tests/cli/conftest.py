"""A runtime folder of the test's own, and stand-ins for running nodes."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from p2praft.cli.app import command


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the control sockets; short, for socket paths are."""
    monkeypatch.delenv("P2PRAFT_NODE", raising=False)
    with tempfile.TemporaryDirectory(prefix="p2p-") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        path = Path(folder) / "p2praft"
        path.mkdir(mode=0o700)
        yield path


class FakeNode:
    """Answers control requests with what a test wants, and keeps what it was asked.

    Attributes:
        requests: What came in.
        reply: What goes out: the whole reply object, or bytes to send as they are.
    """

    def __init__(self, path: Path) -> None:
        self.requests: list[Any] = []
        self.reply: dict[str, Any] | bytes = {"result": None}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(os.fspath(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, client.makefile("rb") as lines:
                line = lines.readline()
                if line:  # else somebody only looked whether we are there
                    self.requests.append(json.loads(line))
                    reply = self.reply
                    client.sendall(reply if isinstance(reply, bytes) else json.dumps(reply).encode() + b"\n")

    def close(self) -> None:
        """Stop answering; the socket's file stays, as after a SIGKILL."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@pytest.fixture
def start_fake(runtime: Path) -> Iterator[Callable[[str], FakeNode]]:
    """Starts fake nodes by the beginning of their ids."""
    started: list[FakeNode] = []

    def start(peer_id: str) -> FakeNode:
        started.append(FakeNode(runtime / f"{peer_id}.sock"))
        return started[-1]

    yield start
    for node in started:
        if node._listener.fileno() >= 0:
            node.close()


@pytest.fixture
def fake(start_fake: Callable[[str], FakeNode]) -> FakeNode:
    """The only node that runs."""
    return start_fake("aaaabbbbccccddddeeee")


@pytest.fixture
def p2praft(runtime: Path) -> Callable[..., Result]:
    """Runs the command in this process."""

    def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
        return CliRunner().invoke(command, arguments, env=env, prog_name="p2praft")

    return run
