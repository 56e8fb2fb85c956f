"""PySyncObj beside us: a Raft library for Python that is widely used. Installed into an environment of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cluster import BENCH, ROOT, Process, Processes

VERSION = "0.3.17"
"""Pinned, so that runs of different days compare with the same."""
SCRIPT = ROOT / "benchmarks" / "pysyncobj_member.py"


class NotInstalled(Exception):
    """PySyncObj is not there and could not be fetched."""


def interpreter() -> Path:
    """A Python that has PySyncObj; its environment is made on first use.

    Raises:
        NotInstalled: It could not be.
    """
    folder = BENCH / f"pysyncobj-{VERSION}"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    installed = folder / ".installed"
    if installed.exists():
        return python
    print(f"installing PySyncObj {VERSION} into {folder.relative_to(ROOT)} (once)", file=sys.stderr)
    try:
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"pysyncobj=={VERSION}"]
        subprocess.run(pip, check=True, capture_output=True, text=True, timeout=300)
    except subprocess.CalledProcessError as error:
        reason = str(error.stderr or error.output or error).strip().splitlines()
        raise NotInstalled(reason[-1] if reason else str(error)) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(str(error)) from None
    installed.touch()
    return python


class PySyncObjCluster(Processes):
    """Three PySyncObj processes.

    Args:
        python: What :func:`interpreter` gave.
        durable: Whether they keep their journal in a file.
        batch: Its option ``appendEntriesUseBatch``.
    """

    def __init__(self, python: Path, *, durable: bool, batch: bool) -> None:
        super().__init__()
        self._complaints = open(self.folder / "complaints", "w+", encoding="utf-8")  # noqa: SIM115 -- closed by __exit__
        addresses = free_addresses(3)
        try:
            for address in addresses:
                command: list[str | Path] = [python, "-I", SCRIPT, "--address", address]
                for partner in addresses:
                    command += ["--partner", partner] if partner != address else []
                if durable:
                    command += ["--journal", self.folder / f"journal-{len(self.members)}"]
                if batch:
                    command += ["--batch"]
                self.members.append(Process(command, self._complaints))
            self.settle(lambda state: bool(state["online"]))
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(self, *exc_info: object) -> None:
        self._complaints.close()
        super().__exit__(None, None, None)

    def divergences(self) -> int:
        """How often its members warned that their state "may have diverged from other cluster members"."""
        self._complaints.seek(0)
        return self._complaints.read().count("may have diverged")


def free_addresses(count: int) -> Sequence[str]:
    """Addresses that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses
