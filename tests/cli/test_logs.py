"""What stands on standard error, for people and for machines."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import click
import pytest
from click.testing import CliRunner

from p2praft.cli import app, logs
from p2praft.cli.logs import LEVELS, configure, say
from p2praft.cli.up import Reporter


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    logs.reset()


def records(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_json_lines_carry_what_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", as_json=True)
    logging.getLogger("p2praft.group").info("leads %s", "now", extra={"peer": "p", "group": "g", "term": 3})
    logging.getLogger("transport").warning("odd")
    logging.getLogger("transport").debug("hidden")
    first, second = records(capsys)
    assert list(first) == ["time", "level", "logger", "message", "peer", "group", "term"]
    assert (first["level"], first["logger"], first["message"]) == ("info", "p2praft.group", "leads now")
    assert (first["peer"], first["group"], first["term"]) == ("p", "g", 3)
    assert first["time"].endswith("Z")
    assert list(second) == ["time", "level", "logger", "message"]


def test_an_exception_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure(None, as_json=True)
    try:
        raise ValueError("bad")
    except ValueError:
        logging.getLogger("p2praft").exception("it failed")
    (record,) = records(capsys)
    assert record["level"] == "error"
    assert "ValueError: bad" in record["exception"]


def test_what_the_command_says_is_json_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    configure(None, as_json=True)
    Reporter(as_json=False).event("leader", "somebody leads", group="g", term=2, peer_id="p")
    say("it broke", level="error")
    told, error = records(capsys)
    assert (told["message"], told["event"], told["group"], told["term"]) == ("somebody leads", "leader", "g", 2)
    assert told["peer"] == "p"
    assert (error["level"], error["message"]) == ("error", "it broke")


def test_plain_lines_and_the_quiet_default(capsys: pytest.CaptureFixture[str]) -> None:
    configure(None, as_json=False)
    logging.getLogger("p2praft").info("hidden")
    logging.getLogger("quic").error("hidden")
    logging.getLogger("p2praft").warning("seen")
    say("it broke", level="error")
    seen, error = capsys.readouterr().err.splitlines()
    assert seen.endswith("WARNING p2praft: seen")
    assert error == "error: it broke"


@pytest.mark.parametrize(
    ("before", "behind", "env", "level"),
    [
        ([], [], {}, logging.WARNING),
        (["--log-level", "debug"], [], {}, logging.DEBUG),
        ([], ["--log-level", "ERROR"], {}, logging.ERROR),
        (["--log-level", "debug"], ["--log-level", "error"], {}, logging.ERROR),
        (["--log-level", "debug"], [], {"P2PRAFT_LOG_LEVEL": "error"}, logging.DEBUG),
        ([], [], {"P2PRAFT_LOG_LEVEL": "Info"}, logging.INFO),
    ],
)
def test_the_level_before_and_behind_the_commands_name(
    before: list[str], behind: list[str], env: dict[str, str], level: int
) -> None:
    @click.group()
    @logs.log_options
    def command(log_level: str | None, log_json: bool) -> None:
        configure(log_level, as_json=log_json)

    @command.command()
    @logs.log_options
    @click.pass_context
    def inner(context: click.Context, log_level: str | None, log_json: bool) -> None:
        logs.configure_behind(context)
        click.echo(logging.getLogger().level)

    result = CliRunner().invoke(command, [*before, "inner", *behind], env=env)
    assert result.output == f"{level}\n"


def test_every_level_is_one() -> None:
    for level in LEVELS:
        configure(level, as_json=False)
        assert logging.getLogger().level == getattr(logging, level.upper())


def test_wrong_usage_is_json_as_well(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["p2praft", "up", "--log-json", "--expect", "many"])
    with pytest.raises(SystemExit) as stop:
        app.run()
    assert stop.value.code == 2
    (record,) = records(capsys)
    assert record["level"] == "error"
    assert "'many' is not a valid integer" in record["message"]


def test_what_a_peer_sent_neither_breaks_a_line_nor_drives_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", as_json=False)
    logging.getLogger("p2praft").info("%s joined", "a\nb\x1b[2J")
    logs.say("c\n\x9b2J")
    logs.say("d\n", level="error")
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.endswith(r"a\nb\x1b[2J joined")
    assert second.endswith(r"c\n\x9b2J")
    assert third == r"error: d\n"
