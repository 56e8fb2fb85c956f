"""The site is built strictly, and a page of it fetches nothing from elsewhere; what the repository's pages link to exists."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

FETCHED = {
    "img": "src",
    "script": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "audio": "src",
    "video": "src",
}


class _Fetches(HTMLParser):
    """What a browser fetches for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if (
            tag in FETCHED
            and (value := values.get(FETCHED[tag]))
            and values.get("rel") not in ("canonical", "next", "prev")
        ):
            self.found.add(value)


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs is missing; `make docs` installs it")
def test_the_site_is_whole_and_fetches_nothing_from_elsewhere(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    built = sorted(tmp_path.rglob("*.html"))
    assert len(built) > 20
    for page in built:
        fetches = _Fetches()
        fetches.feed(page.read_text())
        assert not [url for url in fetches.found if re.match(r"(?:https?:)?//", url)], page
    for sheet in tmp_path.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import )[\"']?(?:https?:)?//", sheet.read_text()), sheet
    api = (tmp_path / "reference" / "api" / "index.html").read_text()
    for name in ("p2praft.Network", "p2praft.Group.execute", "p2praft.StateMachine.apply"):
        assert f'id="{name}"' in api, f"{name} is not in the API reference"


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=lambda page: page.name)
def test_every_file_that_a_page_of_the_repository_links_to_exists(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
        assert (ROOT / link).exists(), link
