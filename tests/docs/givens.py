"""Parts of programs that a page shows are run within a whole one: what stands around them is here, by name."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.docs.pages import ROOT, Block

_COUNTER = """
class Counter(StateMachine):
    signature = "counter/1"
    def __init__(self): self.value = 0
    def apply(self, command, ctx):
        if command is None: raise ValueError("nothing to add")
        self.value += command; return self.value
    def query(self, query): return self.value
    def snapshot(self): return self.value
    def restore(self, snapshot): self.value = snapshot
"""

# Each is an async program that runs the page's part where it says BODY.
GIVENS = {
    "network": """
async with Network("factory", listen="127.0.0.1:0") as net:
    BODY
""",
    "group": """
async with Network("factory", listen="127.0.0.1:0") as net:
    async with net.group("line-1", secret="correct horse", machine=Counter()) as group:
        await group.when.online()
        BODY
""",
    "map": """
async with Network("factory", listen="127.0.0.1:0") as net:
    async with net.group("line-1", secret="correct horse", machine=MapMachine()) as group:
        await group.when.online()
        settings = board = Map(group)
        BODY
""",
}


def program(given: str, body: str) -> str:
    """The whole program around a part."""
    place = next(line for line in GIVENS[given].splitlines() if line.strip() == "BODY")
    indent = place.removesuffix("BODY")
    inner = GIVENS[given].replace(place, textwrap.indent(body, indent))
    text = (
        "import anyio\nfrom p2praft import *\nfrom p2praft.collections import *\n"
        f"{_COUNTER}\nasync def main():\n{textwrap.indent(inner, '    ')}\nanyio.run(main)\n"
    )
    ast.parse(text)
    return text


def run_parts(page: Path, parts: list[Block], folder: Path) -> None:
    """Run the page's parts; those with the same given follow each other in one program."""
    together: dict[str, list[Block]] = {}
    for part in parts:
        if "not run" not in part.notes:
            together.setdefault(part.notes["given"], []).append(part)
    for given, group in together.items():
        where = f"{page.relative_to(ROOT)}:{group[0].line}"
        script = folder / f"given_{given}.py"
        script.write_text(program(given, "\n".join(part.text for part in group)))
        result = subprocess.run(
            [sys.executable, str(script)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert result.returncode == 0, f"{where}: {result.stderr}"
