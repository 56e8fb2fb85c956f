"""Results, tables and errors: what goes where, and with which exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import anyio
import pytest
from rich.console import Console

from p2praft import KeyFileError, Offline
from p2praft.cli import app, output
from p2praft.cli.output import CommandError, emit, execute, print_table
from tests.cli.conftest import FakeNode


async def give(value: Any) -> Any:
    """Raise it if it is an error, else return it."""
    if isinstance(value, BaseException):
        raise value
    return value


async def give_in_task(value: Any) -> None:
    """The same from a task: the error comes in a group."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(give, value)


def test_results_are_returned() -> None:
    assert execute(give, 7, as_json=False) == 7


@pytest.mark.parametrize("main", [give, give_in_task])
@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (Offline("no leader", ["x"]), "Offline", "no leader"),
        (KeyFileError("no such key"), "KeyFileError", "no such key"),
        (CommandError("NoSuchKey", "there is no key"), "NoSuchKey", "there is no key"),
        (ZeroDivisionError("oh"), "Internal", "unexpected ZeroDivisionError: oh (P2PRAFT_DEBUG=1 shows where"),
    ],
)
def test_errors_are_one_line_and_status_1(
    main: Any, error: Exception, kind: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        execute(main, error, as_json=False)
    assert stop.value.code == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1

    with pytest.raises(SystemExit) as stop:
        execute(main, error, as_json=True)
    assert stop.value.code == 1
    out, err = capsys.readouterr()
    assert err == ""
    said = json.loads(out)
    assert set(said) == {"error", "message"}
    assert said["error"] == kind
    assert said["message"].startswith(message)


def test_debugging_shows_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2PRAFT_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        execute(give, ZeroDivisionError(), as_json=False)


def test_an_interrupt_exits_as_shells_expect() -> None:
    with pytest.raises(SystemExit) as stop:
        execute(give, KeyboardInterrupt(), as_json=False)
    assert stop.value.code == 130


def test_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"text": "a\nb", "bytes": b"x"})
    assert capsys.readouterr().out == '{"text":"a\\nb","bytes":"b\'x\'"}\n'


def test_json_has_no_number_that_is_none_and_survives_any_depth(capsys: pytest.CaptureFixture[str]) -> None:
    deep: Any = 1
    for _ in range(2000):
        deep = [deep]
    emit({"value": [float("nan"), 1.5, {b"k": float("-inf")}], "deep": deep})
    said = json.loads(capsys.readouterr().out)
    assert said["value"] == [None, 1.5, {"b'k'": None}]
    assert said["deep"]


def test_tables_show_values_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 1500
    print_table(["KEY", "VALUE"], [["[bold]k[/bold]", None], [long, 7]], shrink="VALUE")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["KEY", "VALUE"]
    assert lines[1].split() == ["[bold]k[/bold]", "-"], "no markup is read out of values"
    assert lines[2].split() == [long, "7"], "nothing is cut where nobody looks"
    assert len(lines[1]) < 300, "a long value does not make every row as long"


def test_a_table_stays_one_whatever_stands_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["KEY", "VALUE"], [["a\nb", "\x1b[31mred\x9b2J"], ["wide 木", "\u202eturned"]])
    assert capsys.readouterr().out.splitlines() == [
        "KEY      VALUE",
        r"a\nb     \x1b[31mred\x9b2J",
        r"wide 木  \u202eturned",
    ]


@pytest.mark.parametrize(
    ("width", "value"), [(80, "v" * 47 + "…"), (60, "v" * 27 + "…"), (20, "vvvv…"), (200, "v" * 90)]
)
def test_on_a_terminal_only_the_value_gives_way(width: int, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(file=StringIO(), width=width, force_terminal=True, no_color=True, highlight=False, soft_wrap=True)
    monkeypatch.setattr(output, "console", lambda: screen)
    print_table(["KEY", "VALUE", "VERSION"], [["k" * 21, "v" * 90, 1234567], ["l", 1, 2]], shrink="VALUE")
    assert isinstance(screen.file, StringIO)
    lines = screen.file.getvalue().splitlines()
    assert lines[1].split() == ["k" * 21, value, "1234567"]
    assert "VERSION" in lines[0]
    assert lines[2].split() == ["l", "1", "2"]


PROGRAM = [sys.executable, "-m", "p2praft"]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_disk_that_is_full_is_said_in_one_line(tmp_path: Path, unbuffered: str) -> None:
    with open("/dev/full", "w") as full:
        for arguments in (
            ["id", "new", str(tmp_path / "key"), "--json"],
            ["id", "show", str(tmp_path / "key")],
            ["--help"],
        ):
            env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
            ended = subprocess.run(
                [*PROGRAM, *arguments], env=env, stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
            said = (ended.returncode, ended.stderr)
            assert said == (1, "error: cannot write to standard output: No space left on device\n"), arguments


def test_a_reader_that_has_gone_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as pipe:
        ended = subprocess.run([*PROGRAM, "--help"], stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_letters_that_the_terminal_does_not_have(start_fake: Callable[[str], FakeNode]) -> None:
    fake = start_fake("aaaabbbbccccddddeeee")
    fake.reply = {"result": {"key": "k", "value": "grün", "version": 1}}
    env = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    ended = subprocess.run([*PROGRAM, "map", "get", "g", "k"], env=env, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "gr\\xfcn\n", "")


def test_what_nobody_thought_of_is_one_line_as_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: Any) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr(app.command, "main", broken)
    monkeypatch.setattr(sys, "argv", ["p2praft", "status"])
    with pytest.raises(SystemExit) as stop:
        app.run()
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith("error: unexpected RecursionError: too deep")
