"""``python -m tests.vectors`` writes ``docs/vectors.json`` and the generated parts of ``docs/protocol.md`` anew."""

from __future__ import annotations

from tests.vectors import document, make

make.FILE.write_text(make.dumped(), encoding="utf-8")
document.FILE.write_text(document.rendered(document.FILE.read_text(encoding="utf-8")), encoding="utf-8")
