"""How results, tables and errors are printed: for people, or one JSON object a line."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import anyio
import click

from p2praft.cli import logs
from p2praft.cli.printable import printable
from p2praft.errors import P2PRaftError
from p2praft.values import json_text
from transport import TransportError

if TYPE_CHECKING:  # a question with --json, or a refusal, is answered without
    from rich.console import Console

TAKES_NO_MORE = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
GAP = "  "
"""Between the columns of a table."""
MAX_PAD = 200
"""Cells up to which a column of a table is filled up: one long value must not make a thousand rows as long."""


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
    print(json_text(value), flush=True)


def console() -> Console:
    """Standard output for people: colour on a terminal, plain text elsewhere. What it prints is markup: escape names."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, shrink: str | None = None) -> None:
    """A table on standard output. On a terminal that is too narrow the column ``shrink`` is cut; nothing else ever is."""
    from rich.cells import cell_len, set_cell_size
    from rich.text import Text

    lines = [list(columns)] + [["-" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    out = console()
    if out.is_terminal and shrink is not None:
        at = columns.index(shrink)
        room = max(out.width - sum(widths) - len(GAP) * (len(widths) - 1) + widths[at], len(shrink))
        for line in lines:
            if cell_len(line[at]) > room:
                line[at] = set_cell_size(line[at], room - 1) + "…"
        widths[at] = min(widths[at], room)
    for number, line in enumerate(lines):
        cells = [cell + " " * (min(width, MAX_PAD) - cell_len(cell)) for cell, width in zip(line, widths, strict=True)]
        text = GAP.join(cells).rstrip()
        out.print(Text(text, style="bold" if number == 0 else ""))


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
    except Exception as error:
        fail_unexpectedly(error, as_json=as_json)


def fail_unexpectedly(error: Exception, *, as_json: bool) -> NoReturn:
    """Say what nobody thought of, or that standard output takes no more, and exit; a traceback is for developers only."""
    if isinstance(error, OSError) and _output_is_lost(error):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains again when it ends
        if not isinstance(error, BrokenPipeError):  # then the reader has gone, as `head` does: no mistake of anybody
            logs.say(f"cannot write to standard output: {error.strerror}", level="error")
        sys.exit(1)
    if os.environ.get("P2PRAFT_DEBUG"):
        raise error
    message = f"unexpected {type(error).__name__}: {error} (P2PRAFT_DEBUG=1 shows where; please report it)"
    fail("Internal", message, as_json=as_json)


def _output_is_lost(error: OSError) -> bool:
    """Whether it is standard output that takes no more: a pipe that nobody reads, a disk that is full."""
    if error.filename is not None or error.errno not in TAKES_NO_MORE:
        return False
    try:
        print(flush=True)  # only writing tells: where nothing is buffered there is nothing left to flush
    except OSError:
        return True
    return False


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that a group of tasks failed of."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
