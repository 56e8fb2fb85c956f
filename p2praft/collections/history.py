"""The latest changes of a structure, by version: what lets a watcher that was away resume without missing one.

It is part of the replicated state and trimmed by what it holds alone, so every member keeps exactly the same changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MAX_CHANGES = 10_000
"""Changes that are kept at most."""
MAX_BYTES = 4 * 1024 * 1024
"""Their size at most; the newest is kept whatever its size."""

Change = tuple[Any, ...]
"""What a structure makes of it; MessagePack values, the first of them its kind."""


class History:
    """Changes with versions that count up one by one.

    Args:
        start: The version behind which every change is held.
        held: Changes with their sizes, oldest first.
    """

    def __init__(self, start: int = 0, held: Iterable[tuple[int, Change]] = ()) -> None:
        self._held = list(held)
        self._dropped = 0  # of the list's front: a bounded number, so that dropping is cheap and so is copying
        self._start = start
        self._bytes = sum(size for size, _ in self._held)

    def __len__(self) -> int:
        return len(self._held) - self._dropped

    @property
    def start(self) -> int:
        """The version behind which every change is held."""
        return self._start

    @property
    def version(self) -> int:
        """Of the newest change."""
        return self._start + len(self)

    def add(self, change: Change, size: int) -> int:
        """Note the next change, which takes about ``size`` bytes; its version."""
        held = self._held
        held.append((size, change))
        self._bytes += size
        while len(self) > MAX_CHANGES or (self._bytes > MAX_BYTES and len(self) > 1):
            self._bytes -= held[self._dropped][0]
            held[self._dropped] = (0, ())
            self._dropped += 1
            self._start += 1
        if self._dropped >= MAX_CHANGES:
            del held[: self._dropped]
            self._dropped = 0
        return self._start + len(self)

    def after(self, version: int, limit: int) -> list[tuple[int, Change]] | None:
        """Up to ``limit`` changes behind ``version`` with theirs; None if the first of them is no longer held."""
        if version < self._start:
            return None
        at = self._dropped + version - self._start
        return [(version + nth, change) for nth, (_, change) in enumerate(self._held[at : at + limit], start=1)]

    def dump(self) -> list[tuple[int, Change]]:
        """What the constructor takes: a copy of at most ``MAX_CHANGES`` references."""
        return self._held[self._dropped :]
