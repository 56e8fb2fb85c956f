"""Choices that are read off bytes, so that a fuzzer's bytes can steer anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Source:
    """Answers questions from a fixed string of bytes; once it is used up, every answer is the first or smallest.

    Args:
        data: The bytes.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def exhausted(self) -> bool:
        """Whether no bytes are left: then stop asking."""
        return self._at >= len(self._data)

    def byte(self) -> int:
        """0 to 255."""
        if self.exhausted:
            return 0
        self._at += 1
        return self._data[self._at - 1]

    def below(self, bound: int) -> int:
        """0 to ``bound - 1``."""
        value = 0
        for _ in range((max(bound - 1, 1).bit_length() + 7) // 8):
            value = value << 8 | self.byte()
        return value % bound

    def pick(self, options: Sequence[T]) -> T:
        """One of some."""
        return options[self.below(len(options))]

    def chance(self, one_in: int) -> bool:
        """True about once in ``one_in`` times; false when the bytes are used up."""
        return not self.exhausted and self.byte() % one_in == 0

    def number(self, low: int, high: int) -> int:
        """An int in bounds: near the low end as a rule, anywhere at times, and at the very edge at others."""
        width = high - low
        match self.byte() % 8:
            case 0:
                return high - min(width, self.below(3))
            case 1:
                return low + self.below(width + 1)
            case 2:
                return low + min(width, 1 << self.below(64))
            case _:
                return low + min(width, self.below(8))

    def take(self, length: int) -> bytes:
        """Exactly so many bytes, zeros where there are no more."""
        found = self._data[self._at : self._at + length]
        self._at += len(found)
        return found.ljust(length, b"\0")

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data) - self._at)
