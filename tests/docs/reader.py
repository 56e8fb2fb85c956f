"""Somebody who does what a page says: types its commands, writes its files, kills its nodes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.docs.expected import missing
from tests.docs.pages import ROOT, Block

PATIENCE = 30.0
"""Seconds that anything may take before it counts as hanging."""
STAYS = re.compile(
    r"^(?:P2PRAFT_\w+=\S+ )*p2praft (?:up\b(?!.*(?:--help|--check))|map watch\b|top\b(?!.*--once)|demo\b.*--watch)"
)
"""Commands that run until they are stopped, each in a terminal of its own."""
ASKS = re.compile(r"^(?:p2praft (?:status|peers|groups|map get|map list|doctor)\b|curl\b(?!.* -(?:X|-request|d)))")
"""Commands that change nothing: who does not see yet what the page shows looks again."""


@dataclass(slots=True, eq=False)
class Terminal:
    """A command that runs on."""

    command: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def text(self) -> str:
        """What it has printed."""
        return self.log.read_text(errors="replace")

    def end(self, number: int) -> None:
        """Signal it, and wait."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()


class Reader:
    """Goes through one page in a scratch folder."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="p2p-"))  # short, for the control sockets' paths are
        self.terminals: list[Terminal] = []
        (self.folder / "run").mkdir(mode=0o700)
        (self.folder / "examples").symlink_to(ROOT / "examples")
        (self.folder / "deploy").symlink_to(ROOT / "deploy")
        (self.folder / "bin").mkdir()
        make = self.folder / "bin" / "make"  # as in the clone, with the environment that runs the tests
        make.write_text(
            f"#!/bin/sh\nexec {shutil.which('make')} --no-print-directory -C {ROOT} "
            f'-o {sys.prefix}/.installed VENV={sys.prefix} "$@"\n'
        )
        make.chmod(0o755)
        home = os.path.dirname(sys.executable)
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("P2PRAFT_")}
        self.env |= {
            "PATH": f"{self.folder}/bin:{home}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "P2PRAFT_LISTEN": "127.0.0.1:0",  # a test leaves the machine's networks alone
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "200",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for terminal in self.terminals:
            if terminal.process.poll() is None:
                terminal.process.terminate()
        for terminal in self.terminals:
            terminal.end(signal.SIGTERM)
        shutil.rmtree(self.folder)

    def do(self, block: Block) -> None:
        """Do what a block says.

        Raises:
            AssertionError: It did not come out as shown.
        """
        if "not run" in block.notes:
            return
        if "included" in block.notes:  # the site shows the file itself, and its own test runs it
            assert (ROOT / block.notes["included"]).is_file(), block.notes["included"]
            return
        if "file" in block.notes:
            path = self.folder / block.notes["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._filled(block.text))
            path.chmod(0o600)
        match block.language:
            case "console":
                self._console(block.text, stays="stays" in block.notes)
            case "bash" | "sh" | "shell":
                self._command(block.text, [])
            case "python" if "file" not in block.notes and "given" not in block.notes:
                script = self.folder / f"block_{block.line}.py"
                script.write_text(self._filled(block.text))
                self._command(f"python {script.name}", [])
            case "toml":
                tomllib.loads(block.text)
            case "then":
                self._then(*block.text.split(maxsplit=1))

    # --- a terminal

    def _console(self, text: str, *, stays: bool) -> None:
        command, shown = "", list[str]()
        lines = text.splitlines()
        for number, line in enumerate(lines):
            if command and not shown and (command.endswith("\\") or line.startswith("> ")):
                command = f"{command.removesuffix(chr(92))}{line.removeprefix('>')}"
            elif line.startswith("$ "):
                if command:
                    self._command(command, shown, stays=stays)
                command, shown = line[2:], []
            elif command:
                shown.append(line)
            else:
                raise AssertionError(f"line {number + 1} of a console is neither a command nor its output: {line!r}")
        if command:
            self._command(command, shown, stays=stays)

    def _command(self, command: str, shown: list[str], *, stays: bool = False) -> None:
        command = self._filled(command)
        if stays or STAYS.match(command):
            self._start(command, shown)
            return
        deadline = time.monotonic() + PATIENCE
        fails = any(line.startswith(("error:", "Error:", "BAD ")) for line in shown)
        while True:
            result = subprocess.run(
                ["bash", "-c", command],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
                check=False,
            )
            lacks = missing(shown, result.stdout)
            as_told = (result.returncode == 0) != fails
            if lacks is None and as_told:
                return
            if not ASKS.match(command) or time.monotonic() > deadline:
                why = f"lacks {lacks!r}" if lacks is not None else f"ended with {result.returncode}"
                raise AssertionError(f"`{command}` {why}; it printed:\n{result.stdout}")
            time.sleep(0.5)

    def _start(self, command: str, shown: list[str]) -> None:
        log = self.folder / f"terminal-{len(self.terminals)}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}" if "=" not in command.split()[0] else f"exec env {command}"],
                cwd=self.folder,
                env={**self.env, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        terminal = Terminal(command, process, log)
        self.terminals.append(terminal)
        before, interrupted, after = _split(shown, "^C")
        self._wait(terminal, before or (["ready …"] if " up " in command and "--json" not in command else []))
        if interrupted:
            terminal.end(signal.SIGINT)
            assert terminal.process.returncode == 0, terminal.text
            self._wait(terminal, before + after)

    def _wait(self, terminal: Terminal, shown: list[str]) -> None:
        deadline = time.monotonic() + PATIENCE
        while (lacks := missing(shown, terminal.text)) is not None:
            ended = terminal.process.poll() is not None
            if (ended and missing(shown, terminal.text) is not None) or time.monotonic() > deadline:
                raise AssertionError(f"`{terminal.command}` lacks {lacks!r}; it printed:\n{terminal.text}")
            time.sleep(0.05)

    # --- what the text says beside

    def _then(self, verb: str, words: str) -> None:
        found = [each for each in self.terminals if f" {words} " in f"{each.command} "]
        assert found, f"no command with {words!r} in it runs on"
        match verb:
            case "kill":
                found[-1].end(signal.SIGKILL)
            case "stop":
                found[-1].end(signal.SIGTERM)
                assert found[-1].process.returncode == 0, found[-1].text
            case "start":
                self._start(found[-1].command, [])
            case _:
                raise AssertionError(f"then {verb}: what is that?")

    def _filled(self, text: str) -> str:
        """With the address that a person copies from the first terminal."""
        if "ADDRESS" in text:
            for terminal in self.terminals:
                if address := re.search(r"[a-z2-7]{52}@[\w.:\[\]-]+:\d+", terminal.text):
                    return text.replace("ADDRESS", address[0])
        return text


def _split(shown: list[str], mark: str) -> tuple[list[str], bool, list[str]]:
    at = next((number for number, line in enumerate(shown) if line.strip() == mark), None)
    return (shown, False, []) if at is None else (shown[:at], True, shown[at + 1 :])
