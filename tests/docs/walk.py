"""Goes through one page from its beginning to its end."""

from __future__ import annotations

from pathlib import Path

from tests.docs.givens import run_parts
from tests.docs.pages import blocks, name_of
from tests.docs.reader import Reader


def walk(page: Path) -> None:
    """Do what a page says, block by block.

    Raises:
        AssertionError: A block did not come out as shown; says where it stands.
    """
    found = blocks(page)
    with Reader() as reader:
        for block in found:
            try:
                reader.do(block)
            except (AssertionError, ValueError) as error:
                raise AssertionError(f"{name_of(page)}:{block.line}: {error}") from None
        run_parts(page, [block for block in found if "given" in block.notes], reader.folder)
