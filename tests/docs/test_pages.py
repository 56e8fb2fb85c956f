"""Every command and every snippet of README and docs is run, as a reader would, with real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.expected import missing
from tests.docs.pages import RUN, blocks, is_run, name_of, pages
from tests.docs.walk import walk

MOST_NOT_RUN = 0.25
"""Share of the blocks, over all pages, that may be marked as not run."""


@pytest.mark.parametrize(
    "page", [page for page in pages() if page.parent.name != "guide" and is_run(page)], ids=name_of
)
def test_a_page_does_as_it_says(page: Path) -> None:
    walk(page)


def test_what_is_not_run_says_why_and_is_little() -> None:
    every = [(page, block) for page in pages() for block in blocks(page) if block.language in RUN]
    skipped = [(page, block) for page, block in every if "not run" in block.notes]
    for page, block in skipped:
        assert len(block.notes["not run"]) > 10, f"{name_of(page)}:{block.line} needs a reason"
    assert len(skipped) <= MOST_NOT_RUN * len(every), [f"{name_of(page)}:{block.line}" for page, block in skipped]


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
