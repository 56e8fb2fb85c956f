"""Imports run downward only, engines do no I/O, shells know no event loop by name: read off the source, by AST."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("transport", "discovery", "p2praft")
"""Import packages, lowest first; each may import itself and those before it."""
FLOORS = (
    ("p2praft.errors", "p2praft.config", "p2praft.values"),
    ("p2praft.raft", "p2praft.storage"),
    (
        "p2praft.groups",
        "p2praft.network",
        "p2praft.collections",
        "p2praft.streams",
        "p2praft.testing",
        "p2praft.blocking",
    ),
    ("p2praft.views", "p2praft.map_operations", "p2praft.observability"),
    ("p2praft.cli", "p2praft.http"),
)
"""Inside ``p2praft``, lowest first; rooms on one floor may import each other."""
PURE = (
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "p2praft" / "raft").rglob("*.py")),
    *(
        f"discovery/{name}.py"
        for name in ("entry", "catalog", "messages", "effects", "rtt", "failure", "view", "spread")
    ),
    *(
        f"discovery/{name}.py"
        for name in ("dialling", "anti_entropy", "core", "watching", "telling", "gossip", "explain")
    ),
    *(f"transport/{name}.py" for name in ("wire", "handshake", "door", "lazy")),
    *(f"p2praft/groups/{name}.py" for name in ("absorbed", "applier", "lineage", "carrying", "carrier", "archives")),
    *(f"p2praft/collections/{name}.py" for name in ("sorted", "history", "map_machine")),
    *("p2praft/values.py", "p2praft/groups/gate.py", "p2praft/cli/printable.py"),
)
IMPURE_MODULES = {
    *("anyio", "asyncio", "trio", "sniffio", "socket", "ssl", "select", "selectors", "threading", "multiprocessing"),
    *("subprocess", "time", "os", "sqlite3", "secrets", "tempfile", "signal", "concurrent", "shutil"),
}
IMPURE_CALLS = {"open", "input", "print", "__import__"}


def sources(package: str) -> list[Path]:
    """Every module of a package."""
    return sorted((ROOT / package).rglob("*.py"))


def tree_of(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """What a module imports anywhere in it, also within functions: line, and dotted name down to the imported thing."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(ROOT)}:{node.lineno}: relative imports hide the layer"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def within(name: str, rooms: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of ``rooms`` or inside one."""
    return any(name == room or name.startswith(room + ".") for room in rooms)


def module_name(path: Path) -> str:
    """The dotted name of a module."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("package", LAYERS)
def test_packages_import_downward_only(package: str) -> None:
    above = LAYERS[LAYERS.index(package) + 1 :]
    paths = sources(package)
    assert paths
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in paths
        for line, name in imported(path)
        if within(name, above)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("floor", range(len(FLOORS)))
def test_rooms_of_p2praft_import_downward_only(floor: int) -> None:
    above = tuple(room for rooms in FLOORS[floor + 1 :] for room in rooms)
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources("p2praft")
        if within(module_name(path), FLOORS[floor])
        for line, name in imported(path)
        if within(name, above)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_engine_imports_values_only() -> None:
    allowed = (
        "p2praft.raft",
        "p2praft.config",
        "p2praft.errors",
        "transport.PeerId",
        "transport.identity",
        "transport.wire",
    )
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources("p2praft/raft")
        for line, name in imported(path)
        if within(name, LAYERS) and not within(name, allowed)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", PURE)
def test_engines_do_no_io(module: str) -> None:
    path = ROOT / module
    wrong = [f"{module}:{line} imports {name}" for line, name in imported(path) if name.split(".")[0] in IMPURE_MODULES]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            wrong.append(f"{module}:{node.lineno} is asynchronous")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            wrong.append(f"{module}:{node.lineno} calls {node.func.id}()")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", PURE)
def test_engines_roll_only_the_dice_that_they_are_given(module: str) -> None:
    path = ROOT / module
    wrong = [
        f"{module}:{line} imports {name}"
        for line, name in imported(path)
        if name.startswith("random.") and name != "random.Random"
    ]
    for node in ast.walk(tree_of(path)):
        # ``random.Random`` as a type is fine; ``random.random()``, ``random.Random()`` and the like draw from outside.
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random":
            if node.attr != "Random":
                wrong.append(f"{module}:{node.lineno} uses random.{node.attr}")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"random.Random", "Random"}:
            wrong.append(f"{module}:{node.lineno} makes dice of its own")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", LAYERS)
def test_shells_name_no_event_loop(package: str) -> None:
    """But for the one seam of decision 24."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(package)
        for line, name in imported(path)
        if name.split(".")[0] in {"asyncio", "trio", "sniffio"} and path != ROOT / "transport" / "backend.py"
    ]
    assert not wrong, "\n".join(wrong)
