"""The steward: how a leader keeps the voter set in shape, one change at a time (thesis, section 4.1).

It adds live, caught-up members up to ``max_voters``, keeps the number odd above two, replaces voters that have been
silent for ``voter_grace``, drops those that are gone for good or leave, prefers ``NORMAL`` over ``RELUCTANT``, and never takes
a step that leaves the new set without a live majority.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from p2praft.raft.messages import Member
from p2praft.raft.quorum import quorum_size


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """What the leader knows of one member.

    Attributes:
        live: It answers now.
        caught_up: Its log is close behind the leader's.
        silent_for: Seconds since it last answered.
        gone: Its memory has provably died.
        factor: Its leadership preference; 0 is an observer.
        leaving: It wants out.
    """

    live: bool
    caught_up: bool
    silent_for: float
    gone: bool = False
    factor: float = 1.0
    leaving: bool = False

    @property
    def unwanted(self) -> bool:
        """Should be no voter whatever comes instead."""
        return self.gone or self.leaving or self.factor == 0

    @property
    def fit(self) -> bool:
        """Could be a voter now."""
        return self.live and self.caught_up and not self.unwanted


def next_voters(
    *,
    me: Member,
    voters: tuple[Member, ...],
    views: Mapping[Member, MemberView],
    max_voters: int,
    voter_grace: float,
) -> tuple[Member, ...] | None:
    """The voter set to have next, one member more or less than ``voters``; None if it is well as it is.

    Args:
        me: The leader; always fit, never removed.
        voters: The present set.
        views: Every known member but the leader.
        max_voters: Upper bound on the set.
        voter_grace: Seconds of silence after which a voter is replaced if someone can take its place.
    """
    silent = MemberView(live=False, caught_up=False, silent_for=float("inf"))

    def view(member: Member) -> MemberView:
        return views.get(member, silent)

    def taste(member: Member) -> tuple[bool, Member]:
        return (member != me and view(member).factor > 1, member)

    def fit(member: Member) -> bool:
        return member == me or view(member).fit

    def safe(members: tuple[Member, ...]) -> bool:
        gone = [member for member in members if view(member).gone]
        return sum(map(fit, members)) >= quorum_size(members, gone)

    def without(member: Member) -> tuple[Member, ...] | None:
        rest = tuple(voter for voter in voters if voter != member)
        return rest if safe(rest) else None

    others = [voter for voter in voters if voter != me]
    spares = sorted((member for member in views if member not in voters and view(member).fit), key=taste)
    overdue = [voter for voter in others if view(voter).silent_for >= voter_grace]

    for voter in others:
        if view(voter).unwanted and (rest := without(voter)):
            return rest
    if spares:
        for voter in overdue:
            if rest := without(voter):
                return rest

    able = sum(map(fit, voters)) + len(spares)
    target = min(max_voters, able)
    if target > 2:
        target -= 1 - target % 2
    if len(voters) < target and spares:
        grown = (*voters, spares[0])
        return grown if safe(grown) else None
    if len(voters) > 2 and len(voters) % 2 == 0 and len(voters) > target:
        # An even set tolerates no more failures than the odd one below it, and costs one more answer.
        if overdue or all(map(fit, voters)):
            return without((overdue or sorted(others, key=taste))[-1])
        return None
    reluctant = [voter for voter in others if view(voter).factor > 1]
    if reluctant and any(view(spare).factor == 1 for spare in spares) and len(voters) > 1:
        return without(max(reluctant))
    return None
