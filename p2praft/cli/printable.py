"""Text of others on a person's terminal: a name, a key or a value must neither break a table nor drive the terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_ODD = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 with newline and ESC, DEL, C1; other ends of a line; what turns the direction of writing; what is no character."""


def waiting(group: Mapping[str, Any]) -> str | None:
    """What a group waits for, of a view of it; None if for nothing. A node of an older release does not say."""
    if not (waits_for := group.get("waits_for")):
        return None
    return f"{'' if group['voters'] else 'not founded yet: '}it {printable(waits_for)}"


def printable(text: str, *, keep: str = "") -> str:
    """The text with control characters as Python writes them, such as ``\\n`` and ``\\x1b``; those in ``keep`` stay."""
    return _ODD.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)
