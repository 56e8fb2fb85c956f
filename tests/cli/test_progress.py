"""Bars: where somebody looks at them, and nowhere else."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from p2praft.cli import logs, progress as module
from p2praft.cli.progress import progress


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = StringIO()

    def terminal(**_: Any) -> Console:
        return Console(file=shown, force_terminal=True, width=80)

    monkeypatch.setattr(module, "Console", terminal)
    with progress("saving", 10) as advance:
        advance(5, "half of it")
        advance(10, "")
    assert "saving" in shown.getvalue()
    assert "half of it" in shown.getvalue()


def test_nothing_in_a_pipe_nor_among_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with progress("saving", 10) as advance:
        advance(5, "half of it")
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes that for a terminal
    logs.configure(None, as_json=True)
    try:
        with progress("saving", 10) as advance:
            advance(5, "half of it")
    finally:
        logs.reset()
    out, err = capsys.readouterr()
    assert (out, err) == ("", "")
