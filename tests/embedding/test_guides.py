"""The guides' programs run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guide"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("map.md", "{'fruit/apple': 5, 'fruit/pear': 4, 'fruit/plum': 2}\n1 set fruit/apple 3\n"),
        ("testing.md", "passed\n"),
        ("embedding.md", "3 set\n"),
    ],
)
def test_a_guides_program_runs(tmp_path: Path, name: str, says: str) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (GUIDE / name).read_text(), re.DOTALL)
    script = tmp_path / "program.py"
    script.write_text(program)
    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(says)
