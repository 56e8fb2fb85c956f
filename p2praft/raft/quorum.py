"""Who must agree: the one place where votes, acknowledgements and rounds are counted.

The quorum is min(majority of the voters, all voters that are not spared): an ordinary majority while one can be had,
and the unanimous survivors after most have provably lost their memory (:meth:`Context.spared
<p2praft.raft.context.Context.spared>` says when). Observers are never voters.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from p2praft.raft.messages import Member


def quorum_size(voters: Collection[Member], gone: Collection[Member]) -> int:
    """How many of the voters that are not gone must agree; one more than there are voters if none is left."""
    survivors = sum(voter not in gone for voter in voters)
    return min(len(voters) // 2 + 1, survivors) or len(voters) + 1


def has_quorum(voters: Collection[Member], supporters: Collection[Member], gone: Collection[Member] = ()) -> bool:
    """Whether ``supporters`` hold a quorum of ``voters``; who is no voter, or gone, does not count."""
    count = sum(voter in supporters and voter not in gone for voter in voters)
    return count >= quorum_size(voters, gone)


def quorum_value(voters: Sequence[Member], value: Callable[[Member], int], gone: Collection[Member] = ()) -> int:
    """The highest number that a quorum has reached (paper, figure 2: "a majority of matchIndex[i] >= N"); 0 if none."""
    values = sorted((value(voter) for voter in voters if voter not in gone), reverse=True)
    needed = quorum_size(voters, gone)
    return values[needed - 1] if needed <= len(values) else 0
