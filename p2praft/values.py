"""What a replicated value may be beyond what MessagePack can write, so that every reader can make JSON of it."""

from __future__ import annotations

import json
import math
from itertools import chain
from typing import Any

MAX_DEPTH = 100
"""Lists and dicts within each other at most, far from where Python's own limit would strike whoever reads them."""
MAX_VERSION = 2**63 - 1
"""Of a map at most; no map lives that long."""

TOO_DEEP = f"lists and objects stand in it more than {MAX_DEPTH} deep"
_NOT_FINITE = "a number in it is not finite"
_SHOWN_DEPTH = MAX_DEPTH + 20
"""Answers wrap values in some levels of their own."""
_PLAIN = frozenset({str, int, bool, bytes, type(None)})


def fault_in(value: Any, room: int = MAX_DEPTH) -> str | None:
    """Why a value is not stored; None if it may be: its numbers are finite and it is not too deep."""
    if isinstance(value, float):
        return None if math.isfinite(value) else _NOT_FINITE
    if isinstance(value, dict):
        items: Any = chain(value, value.values())
    elif isinstance(value, list | tuple):
        items = value
    else:
        return None
    if not room:
        return TOO_DEEP
    for item in items:
        if type(item) not in _PLAIN and (fault := fault_in(item, room - 1)):
            return fault
    return None


def json_text(value: Any, *, ensure_ascii: bool = True) -> str:
    """Compact JSON of anything: what JSON does not know becomes text, and numbers that are not finite become null.

    So does what is nested too deeply: a value that an older member took must not hide those beside it.
    """
    try:
        return _dump(value, ensure_ascii)
    except (ValueError, TypeError, RecursionError):  # TypeError: of a key that JSON does not know, such as bytes
        return _dump(_tamed(value, _SHOWN_DEPTH), ensure_ascii)


def _dump(value: Any, ensure_ascii: bool) -> str:
    return json.dumps(value, default=str, ensure_ascii=ensure_ascii, allow_nan=False, separators=(",", ":"))


def _tamed(value: Any, room: int) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _tamed(item, room - 1) for key, item in value.items()} if room else None
    if isinstance(value, list | tuple):
        return [_tamed(item, room - 1) for item in value] if room else None
    return value
