"""How far a thing is that takes a while: a bar on standard error, where somebody looks at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from p2praft.cli import logs

Advance = Callable[[float, str], None]
"""Takes how much is done, and what is done next, for people; an empty text leaves what was said before."""


@contextmanager
def progress(text: str, total: float | None = None) -> Iterator[Advance]:
    """Show a bar while the context lasts. Nothing is shown where standard error is no terminal.

    Args:
        text: What is done.
        total: How much there is to do, in whatever unit; None if nobody knows.
    """
    err = Console(stderr=True)
    if not err.is_terminal or logs.is_json():
        yield lambda done, said: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(text, total=total)

        def advance(done: float, said: str) -> None:
            bar.update(task, completed=done)
            if said:
                bar.update(task, description=said)

        yield advance
