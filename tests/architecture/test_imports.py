"""Importing the library: what it loads, and what it says if another module stands in its way."""

from __future__ import annotations

import ast
import importlib
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


def test_a_question_to_a_running_node_loads_neither_quic_nor_what_prints_tables(tmp_path: Path) -> None:
    program = (
        "import sys, p2praft.cli.app, p2praft.cli.node_commands, p2praft.cli.map_commands\n"
        "print([m for m in ('aioquic', 'rich', 'p2praft.network', 'p2praft.raft.engine') if m in sys.modules])"
    )
    result = python(program, tmp_path)
    assert (result.stdout, result.stderr) == ("[]\n", "")


@pytest.mark.parametrize("package", ["p2praft", "discovery", "transport"])
def test_what_a_type_checker_sees_of_a_package_is_what_it_offers(package: str) -> None:
    tree = ast.parse((ROOT / package / "__init__.py").read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        (alias.name, node.module) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    module = importlib.import_module(package)
    assert sorted(name for name, _ in seen) == module.__all__
    for name, home in seen:
        assert getattr(module, name) is getattr(importlib.import_module(str(home)), name)
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Nothing'"):
        _ = module.Nothing


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
