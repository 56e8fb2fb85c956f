"""What a mutant is; see :mod:`tests.mutants`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One weakened rule.

    Attributes:
        name: What is weakened.
        file: Where: below ``p2praft/raft`` for the engine, which the simulation runs; else below ``p2praft``.
        old: Text that must occur exactly once.
        new: What takes its place.
    """

    name: str
    file: str
    old: str
    new: str

    @property
    def is_engine(self) -> bool:
        """Whether the simulation runs what is weakened."""
        return not self.file.startswith("groups/")

    @property
    def path(self) -> Path:
        """The file's, from the repository's root."""
        return Path("p2praft", "raft" if self.is_engine else "", self.file)
