"""How results, tables and errors are printed: for people, or one JSON object a line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import anyio
import click

from p2praft.cli import logs
from p2praft.errors import P2PRaftError
from transport import TransportError

if TYPE_CHECKING:  # a question with --json, or a refusal, is answered without
    from rich.console import Console


class CommandError(Exception):
    """The thing asked for did not happen: exit status 1.

    Attributes:
        kind: A word for scripts.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def emit(value: dict[str, Any]) -> None:
    """One JSON object on standard output."""
    print(json.dumps(value, default=str, separators=(",", ":")), flush=True)


def console() -> Console:
    """Standard output for people: colour on a terminal, plain text elsewhere. What it prints is markup: escape names."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on standard output."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, box=None, header_style="bold", title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*(Text("-" if cell is None else str(cell)) for cell in row))  # Text: values are no markup
    out = console()
    if not out.is_terminal:
        out.width = 200  # a pipe has no width: do not cut what a script or a log wants whole
    out.print(table)


def fail(kind: str, message: str, *, as_json: bool, status: int = 1) -> NoReturn:
    """Say what went wrong and exit."""
    if as_json:
        emit({"error": kind, "message": message})
    else:
        logs.say(message, level="error")
    sys.exit(status)


def execute(main: Callable[..., Awaitable[Any]], *arguments: Any, as_json: bool) -> Any:
    """Run an async command; errors become one line and an exit status, never a traceback."""
    try:
        try:
            return anyio.run(partial(main, *arguments))
        except BaseExceptionGroup as group:
            raise _first(group) from None
    except (click.ClickException, SystemExit):
        raise
    except CommandError as error:
        fail(error.kind, str(error), as_json=as_json)
    except (P2PRaftError, TransportError) as error:
        fail(type(error).__name__, str(error), as_json=as_json)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone; end quietly
        sys.exit(1)
    except Exception as error:
        if os.environ.get("P2PRAFT_DEBUG"):
            raise
        message = f"unexpected {type(error).__name__}: {error} (P2PRAFT_DEBUG=1 shows where; please report it)"
        fail("Internal", message, as_json=as_json)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that a group of tasks failed of."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
