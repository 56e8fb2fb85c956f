"""What the site adds to the pages: the list of decisions, so that nobody has to keep one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

MARK = "<!-- the site lists the pages of this folder here: docs/hooks.py -->"


def decisions(folder: Path) -> str:
    """A list of the decisions in a folder, in order."""
    lines = []
    for path in sorted(folder.glob("[0-9]*.md")):
        title = re.match(r"# *(\d+)\. *(.+)", path.read_text())
        if title is None:
            raise ValueError(f"{path.name} does not begin with '# NUMBER. TITLE'")
        lines.append(f"| {title[1]} | [{title[2]}]({path.name}) |")
    return "\n".join(["| | |", "|---|---|", *lines])


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """mkdocs calls this with every page."""
    if MARK not in markdown:
        return markdown
    return markdown.replace(MARK, decisions(Path(page.file.abs_src_path).parent))
