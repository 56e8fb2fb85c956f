"""The guide's table of what can be asked is that of the API, and its program runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from p2praft.http import operations

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "guide" / "http.md").read_text()


def test_the_guide_names_every_operation() -> None:
    text = re.sub(r"\b(GROUP|KEY|PEER)\b", "{}", GUIDE)
    for entry in operations():
        assert re.sub(r"\{\w+\}", "{}", entry.path) in text, entry.path


def test_the_guides_program_runs() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\n", done.stdout), done
    assert done.stderr == ""
