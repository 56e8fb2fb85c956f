"""docs/errors.md lists every error, and nothing that does not exist."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import discovery
import p2praft
import transport
from p2praft import P2PRaftError
from p2praft.cli.doctor.findings import ADVICE

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "errors.md").read_text()
CODE = re.compile(r"`` (.+?) ``|`([^`]+)`")
COMPLETE = ("p2praft/cli", "p2praft/storage", "p2praft/groups", "p2praft/network.py", "p2praft/config.py")
"""Where every message that is raised must be on the page: what operators meet."""
NOT_FOR_PEOPLE = {"LinkClosed", "WireError", "UsageError", "BadParameter"}


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for package in ("p2praft", "discovery", "transport"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def literal(node: ast.expr) -> str:
    """A message as the page writes it: … for what changes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
        return "".join(map(str, parts))
    return ""


def squeezed(text: str) -> str:
    return re.sub(r"…+", "…", " ".join(text.split()))


def messages_on_the_page() -> list[str]:
    """The first cells of the tables: messages, not names of faults."""
    rows = [line[2:] for line in PAGE.splitlines() if line.startswith("| `")]
    found = [match.group(1) or match.group(2) for row in rows if (match := CODE.match(row))]
    return [squeezed(text) for text in found if " " in text]


def names_on_the_page() -> set[str]:
    return {match.group(1) or match.group(2) for match in CODE.finditer(PAGE)}


def classes() -> set[type[P2PRaftError]]:
    for package in (p2praft, discovery, transport):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "http" not in module.name and "__main__" not in module.name:
                importlib.import_module(module.name)
    found = {P2PRaftError}
    while True:
        more = {child for parent in found for child in parent.__subclasses__()} - found
        if not more:
            return {found_class for found_class in found if found_class.__module__.split(".")[0] != "tests"}
        found |= more


def test_every_class_of_errors_is_listed() -> None:
    missing = sorted(found.__name__ for found in classes() if found.__name__ not in names_on_the_page())
    assert not missing, f"add to docs/errors.md: {missing}"


def test_every_kind_that_the_command_can_print_is_listed() -> None:
    kinds = {"Usage", "Internal"}
    for path, tree in sources():
        if "cli" not in path.parts:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "CommandError" and node.args:
                kinds.add(literal(node.args[0]))
            if isinstance(node, ast.Dict):
                kinds |= {
                    literal(value)
                    for key, value in zip(node.keys, node.values, strict=True)
                    if key is not None and literal(key) == "error"
                }
    missing = sorted(kinds - {""} - names_on_the_page())
    assert not missing, f"add to docs/errors.md: {missing}"


def test_every_fault_and_every_advice_of_the_doctor_is_listed() -> None:
    for fault, advice in ADVICE.items():
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{fault}` |")]
        assert row.endswith(f"| {advice} |")


def test_every_fault_can_be_found() -> None:
    made = {
        literal(argument)
        for path, tree in sources()
        if "doctor" in path.parts
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "faulty"
        for argument in ast.walk(node.args[1])
        if isinstance(argument, ast.expr)
    }
    assert set(ADVICE) <= made


def test_every_message_on_the_page_is_one_that_is_said() -> None:
    said = {squeezed(literal(node)) for _, tree in sources() for node in ast.walk(tree) if isinstance(node, ast.expr)}
    wrong = [message for message in messages_on_the_page() if not any(message in text for text in said)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("part", COMPLETE)
def test_every_message_that_operators_meet_is_on_the_page(part: str) -> None:
    names = {found.__name__ for found in classes()} | {"CommandError", "BackupError"}
    listed = messages_on_the_page()
    missing = []
    for path, tree in sources():
        if not path.relative_to(ROOT).as_posix().startswith(part):
            continue
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)):
                continue
            kind = ast.unparse(node.exc.func)
            said = [squeezed(literal(argument)) for argument in node.exc.args if " " in literal(argument)]
            if (
                kind in names - NOT_FOR_PEOPLE
                and said
                and not any(said[-1] in text or text in said[-1] for text in listed)
            ):
                missing.append(f"{path.relative_to(ROOT)}:{node.lineno} {kind}: {said[-1]}")
    assert not missing, "add to docs/errors.md:\n" + "\n".join(missing)
