"""What the README shows is what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_ten_lines_run(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert "committed, applied, exactly once" in program
    alone = program.replace('seeds=["<peer-id>@10.0.0.5:7001"]', 'seeds=[], listen="127.0.0.1:0"')
    assert alone != program
    script = tmp_path / "ten_lines.py"
    script.write_text(alone.replace("\nanyio.run(main)", "\n            print(total, same.value)\nanyio.run(main)"))
    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "5 5\n", "")


def test_every_file_it_links_to_exists() -> None:
    root = Path(__file__).parents[2]
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    for link in links:
        assert (root / link).exists(), link
