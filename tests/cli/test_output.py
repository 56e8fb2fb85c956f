"""Results, tables and errors: what goes where, and with which exit status."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from p2praft import KeyFileError, Offline
from p2praft.cli.output import CommandError, emit, execute, print_table


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


def test_tables_show_values_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 150
    print_table("", ["KEY", "VALUE"], [["[bold]k[/bold]", None], [long, 7]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["KEY", "VALUE"]
    assert lines[1].split() == ["[bold]k[/bold]", "-"], "no markup is read out of values"
    assert lines[2].split() == [long, "7"], "nothing is cut where nobody looks"
