"""Reads the pages: what stands between fences, and what HTML comments say about it.

What is fenced as ``console``, ``bash``, ``python`` or ``toml`` is run, in the order of the page and in one scratch
folder. Comments, which no reader sees, say what the text around a block says to a person:

``<!-- not run: REASON -->``   the next block cannot be run here
``<!-- file: NAME -->``        the next block is what the reader writes into that file
``<!-- given: NAME -->``       the next block is a part of a program, within what ``givens.py`` has under that name
``<!-- stays: SECONDS -->``    the next block's commands run on, each in a terminal of its own, and print that within seconds
``<!-- then: DO WORDS -->``    what the reader does beside: ``kill``, ``stop`` (Ctrl-C) or ``start`` again the last command
                               that runs on and has these words in it
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUN = ("console", "bash", "sh", "shell", "python", "toml")
"""Languages of blocks that are run or read."""

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,}) *(?P<language>[\w+-]*)(?P<rest>[^`]*)$")
_COMMENT = re.compile(r"^ *<!-- *(?P<word>not run|file|given|stays|then) *: *(?P<value>.*?) *-->\s*$")

_INCLUDE = re.compile(r'-+8<-+ "(?P<path>[^":]+)(?::[\w,:]+)?"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block, or a ``then`` comment.

    Attributes:
        line: Where it begins.
        language: After the fence; ``then`` for such a comment.
        text: What it holds.
        notes: What comments before it say, by their word; ``included`` if it only includes that file of the repository.
    """

    line: int
    language: str
    text: str
    notes: dict[str, str] = field(default_factory=dict)


def pages() -> list[Path]:
    """Every page of the repository that people read; decisions are history, and only linked."""
    docs = sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "decisions")
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *docs]


def name_of(page: Path) -> str:
    """Its path in the repository."""
    return str(page.relative_to(ROOT))


def is_run(page: Path) -> bool:
    """Whether anything on it is run."""
    return any(block.language in RUN and "not run" not in block.notes for block in blocks(page))


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order.

    Raises:
        ValueError: A fence is not closed, or a comment stands before no block.
    """
    found: list[Block] = []
    notes: dict[str, str] = {}
    lines = iter(enumerate(page.read_text().splitlines(), start=1))
    for number, line in lines:
        if comment := _COMMENT.match(line):
            if comment["word"] == "then":
                found.append(Block(line=number, language="then", text=comment["value"]))
            else:
                notes[comment["word"]] = comment["value"]
        elif fence := _FENCE.match(line):
            inside: list[str] = []
            for _, text in lines:
                if text.strip() == fence["fence"]:
                    break
                inside.append(text.removeprefix(fence["indent"]))
            else:
                raise ValueError(f"{page.name}:{number}: the fence is not closed")
            text = "\n".join(inside) + "\n"
            if include := _INCLUDE.fullmatch(text.strip()):
                notes["included"] = include["path"]
            found.append(Block(line=number, language=fence["language"], text=text, notes=notes))
            notes = {}
        elif line.strip() and notes:
            raise ValueError(f"{page.name}:{number}: a comment {notes} stands before no block")
    return found
