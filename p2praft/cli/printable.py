"""Text of others on a person's terminal: a name, a key or a value must neither break a table nor drive the terminal."""

from __future__ import annotations

import re

_ODD = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 with newline and ESC, DEL, C1; other ends of a line; what turns the direction of writing; what is no character."""


def printable(text: str, *, keep: str = "") -> str:
    """The text with control characters as Python writes them, such as ``\\n`` and ``\\x1b``; those in ``keep`` stay."""
    return _ODD.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)
