"""The table of attacks in the documentation names tests that exist, and all of this folder's."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def names_below(folder: Path) -> set[str]:
    """Names of all test functions below a folder."""
    return {
        node.name
        for path in folder.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_every_test_that_the_table_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    assert len(named) > 40
    assert not named - names_below(ROOT / "tests")


def test_every_attack_is_in_the_table() -> None:
    here = names_below(ROOT / "tests" / "attacks")
    own = {
        name
        for name in here
        if name.startswith(("test_every_", "test_what_counts", "test_who_holds", "test_a_thousand"))
    }
    assert not here - own - set(re.findall(r"`(test_\w+)`", TEXT))
