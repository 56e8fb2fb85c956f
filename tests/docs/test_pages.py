"""Every command and every snippet of README and docs is run, as a reader would, with real processes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.expected import missing
from tests.docs.pages import ROOT, RUN, blocks, is_run, name_of, pages
from tests.docs.walk import walk

MOST_NOT_RUN = 0.15
"""Share of the blocks, over all pages, that may be run nowhere."""


@pytest.mark.parametrize(
    "page", [page for page in pages() if page.parent.name != "guide" and is_run(page)], ids=name_of
)
def test_a_page_does_as_it_says(page: Path) -> None:
    walk(page)


def test_what_is_not_run_says_why_and_is_little() -> None:
    """A reason that names a test says that it is run there; the others must be few."""
    every = [(page, block) for page in pages() for block in blocks(page) if block.language in RUN]
    nowhere: list[str] = []
    for page, block in every:
        if (reason := block.notes.get("not run")) is None:
            continue
        where = f"{name_of(page)}:{block.line}"
        assert len(reason) > 10, f"{where} needs a reason"
        named = re.findall(r"tests/[\w/]+(?:\.py)?", reason)
        assert all((ROOT / name).exists() for name in named), f"{where} names a test that does not exist: {reason}"
        nowhere += [] if named else [where]
    assert len(nowhere) <= MOST_NOT_RUN * len(every), nowhere


@pytest.mark.parametrize(
    ("shown", "printed", "lacks"),
    [
        (["version 1"], "version 1\n", None),
        (["version 1"], "version 2\n", "version 1"),
        (["3"], "4\n", "3"),
        (["a", "b"], "b\na\n", "b"),
        (["node-3 leads 304 ms later"], "  node-1 leads 12.5 ms later\n", None),
        (["node-3 leads 304 ms later"], "node-1 led 12.5 ms later\n", "node-3 leads 304 ms later"),
        (["tills  follower  1  4bonek7c  5/5"], "tills follower 1 abcdefgh 7/7\n", None),
        (["tills  follower  1  4bonek7c  5/5"], "tills leader 1 abcdefgh 7/7\n", "tills  follower  1  4bonek7c  5/5"),
        (["ready 4bonek7c…@192.0.2.2:43111"], f"ready {'a' * 52}@127.0.0.1:7\n", None),
        ([f"ready {'4bonek7c' * 6}abcd@192.0.2.2:43111"], f"ready {'a' * 52}@[::1]:7\n", None),
    ],
)
def test_what_counts_as_shown(shown: list[str], printed: str, lacks: str | None) -> None:
    assert missing(shown, printed) == lacks
