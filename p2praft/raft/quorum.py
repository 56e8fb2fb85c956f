"""Who must agree: a majority of the voters. Observers are never voters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from p2praft.raft.types import Member


def quorum_size(voters: Collection[Member]) -> int:
    """How many of the voters must agree."""
    return len(voters) // 2 + 1


def has_quorum(voters: Collection[Member], supporters: Collection[Member]) -> bool:
    """Whether ``supporters`` hold a majority of ``voters``; who is no voter does not count."""
    return sum(voter in supporters for voter in voters) >= quorum_size(voters)


def quorum_value(voters: Sequence[Member], value: Callable[[Member], int]) -> int:
    """The highest number that a majority has reached (paper, figure 2: "a majority of matchIndex[i] >= N"); 0 if none."""
    values = sorted(map(value, voters), reverse=True)
    return values[quorum_size(voters) - 1] if values else 0
