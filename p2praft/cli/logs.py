"""Logs on standard error: a line for people, or one JSON object a line."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from p2praft.cli.printable import printable

F = TypeVar("F", bound=Callable[..., Any])
LEVELS = ("debug", "info", "warning", "error", "critical")
FACTS = ("peer", "group", "term")
"""Attributes of a log record that are keys of their own: whom it is about. Loggers give them as ``extra``."""

_state = {"json": False}


def log_options(function: F) -> F:
    """``--log-level`` and ``--log-json``: before the command's name or behind it."""
    level = click.option(
        "--log-level",
        type=click.Choice(LEVELS, case_sensitive=False),
        envvar="P2PRAFT_LOG_LEVEL",
        metavar="LEVEL",
        help=f"Least level of log lines on standard error: {', '.join(LEVELS)}. Default: warning.",
    )
    as_json = click.option(
        "--log-json", is_flag=True, envvar="P2PRAFT_LOG_JSON", help="Log lines as JSON, one object a line."
    )
    return level(as_json(function))


def configure(level: str | None, *, as_json: bool) -> None:
    """Say which log lines are shown, from ``warning`` on if ``level`` is None, and how."""
    _state["json"] = as_json
    root = logging.getLogger()
    for former in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(former)
    handler = _Handler()
    plain = PlainFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if as_json else plain)
    root.addHandler(handler)
    root.setLevel((level or "warning").upper())
    logging.getLogger("quic").setLevel(logging.CRITICAL)  # each refused datagram would be a warning
    logging.getLogger("asyncio").setLevel(logging.WARNING)  # which selector it chose helps nobody


def configure_behind(context: click.Context) -> None:
    """The same options behind the command's name, or in its file: they hold unless those before it were typed."""
    before = context.parent
    if before is None:
        return
    chosen: dict[str, Any] = {}
    for name in ("log_level", "log_json"):
        here, there = context.get_parameter_source(name), before.get_parameter_source(name)
        typed = here is ParameterSource.COMMANDLINE
        filed = here is ParameterSource.DEFAULT_MAP and there is ParameterSource.DEFAULT
        chosen[name] = (context if typed or filed else before).params.get(name)
    configure(chosen["log_level"], as_json=bool(chosen["log_json"]))


def reset() -> None:
    """As if nothing had been configured (for tests)."""
    _state["json"] = False
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(handler)
    root.setLevel(logging.WARNING)


def is_json() -> bool:
    """Whether what goes to standard error is JSON."""
    return _state["json"]


def say(message: str, *, level: str = "info", **facts: Any) -> None:
    """One line on standard error that no level hides: what the command itself tells people."""
    if _state["json"]:
        line = json_line(time.time(), level, "p2praft.cli", message, **facts)
    elif level == "error":
        line = f"error: {printable(message)}"
    else:
        line = f"{time.strftime('%H:%M:%S')} {printable(message)}"
    with contextlib.suppress(OSError):  # nobody is left to be told; a node goes on without its log
        print(line, file=sys.stderr, flush=True)


def json_line(at: float, level: str, logger: str, message: str, **facts: Any) -> str:
    """One log line as JSON: time in UTC, level, logger, message, and what else is known."""
    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    known = {name: fact for name, fact in facts.items() if fact is not None}
    return json.dumps({"time": when, "level": level, "logger": logger, "message": message, **known}, default=str)


class PlainFormatter(logging.Formatter):
    """Log records for people: nothing of what a peer sent breaks the line, or reaches the terminal as a control."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- the standard library's name
        return printable(super().formatMessage(record))


class JsonFormatter(logging.Formatter):
    """Log records as JSON."""

    def format(self, record: logging.LogRecord) -> str:
        facts = {name: getattr(record, name, None) for name in FACTS}
        if record.exc_info:
            facts["exception"] = self.formatException(record.exc_info)
        return json_line(record.created, record.levelname.lower(), record.name, record.getMessage(), **facts)


class _Handler(logging.StreamHandler[Any]):
    """Ours, on whatever standard error is when a line is written."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)
