"""The guides, apart from the other pages: so two workers share the work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import is_run, name_of, pages
from tests.docs.walk import walk


@pytest.mark.parametrize(
    "page", [page for page in pages() if page.parent.name == "guide" and is_run(page)], ids=name_of
)
def test_a_guide_does_as_it_says(page: Path) -> None:
    walk(page)
