"""Importing the library: what it loads, and what it says if another module stands in its way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def python(program: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


def test_importing_loads_no_extra_and_no_event_loop_of_ours(tmp_path: Path) -> None:
    program = (
        "import sys, p2praft, p2praft.collections; print([m for m in ('click', 'rich', 'trio') if m in sys.modules])"
    )
    result = python(program, tmp_path)
    assert (result.stdout, result.stderr) == ("[]\n", "")


@pytest.mark.parametrize("name", ["discovery", "transport"])
def test_a_module_that_shadows_one_of_ours_is_named_with_the_way_out(tmp_path: Path, name: str) -> None:
    shadow = tmp_path / f"{name}.py"
    shadow.write_text("answer = 42\n")
    result = python("import p2praft", tmp_path)
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: p2praft needs its own package")
    assert str(shadow) in last
    assert "rename that file" in last
