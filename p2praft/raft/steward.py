"""The steward: how a leader keeps the voter set in shape, one change at a time (thesis, section 4.1).

Quorums are majorities of the voter set, and nothing else. So these rules hold for every step:

- The new set differs by one member, keeps the leader, and has a majority that is able to answer now.
- A step is first a *wish*. It is taken when a majority of the new set has answered a round that was begun after the
  wish: a member that died a moment ago still looks alive, but it answers no new round.
- A voter that is to be replaced goes only after the member that takes its place is in. For that moment the set is even,
  or has one more than ``max_voters``.

What is decided, the first that applies:

1. A set that is even above two, or too large, drops a voter that is over, leaves, became an observer, or is overdue.
2. A member that stands by is added if the set can reach a larger odd number, or if it takes somebody's place.
3. A voter that is over, leaves, or became an observer is removed without a replacement.
4. A set of more than three drops a voter that has been silent for ``shrink_after``.
5. A set that is even above two, or too large, drops one of its healthy voters.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from p2praft.raft.types import Member


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """What the leader knows of one member.

    Attributes:
        live: It is bonded, and answers now.
        caught_up: Its log is close behind the leader's.
        silent_for: Seconds since its last *durable* answer to a round of this leader, or since the leader's election
            if there is none. Packets and pings do not count: a member with a hung disk is silent.
        answered: The newest round of this leader that it has answered durably; 0 if none.
        over: Its incarnation has ended: it will never answer again.
        factor: Its leadership preference: 0 is an observer, 1 is normal, more is reluctant.
        leaving: It wants out. It still answers while it waits.
    """

    live: bool
    caught_up: bool
    silent_for: float
    answered: int = 0
    over: bool = False
    factor: float = 1.0
    leaving: bool = False

    @property
    def unwanted(self) -> bool:
        """Should be no voter, whoever else there is."""
        return self.over or self.leaving or self.factor == 0

    @property
    def able(self) -> bool:
        """Counts in a majority now, if it is a voter."""
        return self.live and self.caught_up and not self.over and self.factor > 0

    @property
    def fit(self) -> bool:
        """Could be a voter now."""
        return self.able and not self.leaving


UNKNOWN = MemberView(live=False, caught_up=False, silent_for=float("inf"))
"""Of a voter that the leader knows nothing about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Council:
    """The voters, and what the leader knows of every member.

    Attributes:
        me: The leader; always fit, never removed.
        voters: The present set, committed.
        views: Every known member but the leader, voter or not.
    """

    me: Member
    voters: tuple[Member, ...]
    views: Mapping[Member, MemberView]

    def view(self, member: Member) -> MemberView:
        """What is known of a member other than the leader."""
        return self.views.get(member, UNKNOWN)

    def has_majority(self, members: Collection[Member], *, since: int = -1) -> bool:
        """Whether a majority of ``members`` is able, and has answered a round newer than ``since``."""
        count = sum(
            member == self.me or (self.view(member).able and self.view(member).answered > since) for member in members
        )
        return 2 * count > len(members)

    def without(self, member: Member) -> tuple[Member, ...]:
        """The voters but this one."""
        return tuple(voter for voter in self.voters if voter != member)


def next_voters(
    council: Council, *, max_voters: int, voter_grace: float, shrink_after: float
) -> tuple[Member, ...] | None:
    """The voter set to have next, one member more or less than now; None if it is well as it is, or cannot be helped.

    Args:
        council: The present set and what is known.
        max_voters: Upper bound on the set, but for the moment of a replacement.
        voter_grace: Seconds of silence after which a voter is replaced if somebody can take its place.
        shrink_after: Seconds of silence after which a set of more than three does without a voter that nobody replaces;
            at least ``voter_grace``.
    """
    me, voters, view = council.me, council.voters, council.view

    def is_overdue(member: Member) -> bool:
        return member != me and view(member).silent_for >= voter_grace

    def is_fit(member: Member) -> bool:
        return member == me or (view(member).fit and not is_overdue(member))

    def taste(member: Member) -> tuple[bool, Member]:
        return (view(member).factor > 1, member)

    def size(count: int) -> int:
        """How many of ``count`` members should vote: an even set survives no more failures than the odd one below."""
        most = min(max_voters, count)
        return most if most <= 2 else most - 1 + most % 2

    def drop(candidates: Iterable[Member]) -> tuple[Member, ...] | None:
        return next((rest for rest in map(council.without, candidates) if council.has_majority(rest)), None)

    others = [voter for voter in voters if voter != me]
    beside = [member for member in council.views if member not in voters and member != me]
    spares = sorted(filter(is_fit, beside), key=taste)
    # Those whose answers do not count go first: without them a majority is easier to have.
    unwanted = sorted((voter for voter in others if view(voter).unwanted), key=lambda m: (view(m).able, m))
    overdue = sorted(
        (voter for voter in others if is_overdue(voter) and voter not in unwanted),
        key=lambda m: (-view(m).silent_for, m),
    )
    staying = len(voters) - len(unwanted) - len(overdue)
    fit = sum(map(is_fit, voters)) + len(spares)
    surplus = len(voters) > max_voters or (len(voters) > 2 and len(voters) % 2 == 0)

    if surplus and (unwanted or overdue):
        return drop([*unwanted, *overdue])

    if spares and len(voters) <= max_voters:
        improves = any(view(voter).factor > 1 for voter in others) and view(spares[0]).factor == 1
        if staying < size(fit) or (not surplus and (unwanted or overdue or improves)):
            # If this has no majority, neither has any set with one voter less.
            grown = (*voters, spares[0])
            return grown if council.has_majority(grown) else None

    coming = sum(view(m).live and not view(m).caught_up and not view(m).unwanted for m in beside)
    if staying < size(fit + coming):
        # The next incarnation is usually on its way: it gets a grace to catch up, then the set does without.
        unwanted = [voter for voter in unwanted if is_overdue(voter) or not view(voter).over]
    if rest := drop(unwanted):
        return rest

    if len(voters) > 3 and (rest := drop(voter for voter in overdue if view(voter).silent_for >= shrink_after)):
        return rest

    if surplus and len(voters) > size(fit) and all(map(is_fit, voters)):
        return drop(sorted(others, key=taste, reverse=True))
    return None


@dataclass(frozen=True, slots=True)
class Wish:
    """A step that waits for its proof.

    Attributes:
        voters: The set to have.
        round: The newest round that was begun when the wish was made.
    """

    voters: tuple[Member, ...]
    round: int


class LeaveRefusal(StrEnum):
    """Why a voter cannot leave now."""

    ALONE = "alone"
    """It is the only voter: the history would have nobody left."""
    NO_MAJORITY_WITHOUT = "no majority without"
    """The voters that would be left have no majority that is live and caught up."""


class Steward:
    """A leader's steward, for the term of its leadership.

    Attributes:
        wish: The step that waits until a majority of the new set has answered; None if there is none.
    """

    def __init__(self, *, max_voters: int, voter_grace: float, shrink_after: float) -> None:
        self.wish: Wish | None = None
        self._max_voters = max_voters
        self._voter_grace = voter_grace
        self._shrink_after = shrink_after

    def consider(self, council: Council, *, round_now: int) -> tuple[Member, ...] | None:
        """The set to append now, or None: there is nothing to do, or the wish still waits for its proof.

        Ask only while the present set is committed, by an entry of this term (thesis, section 4.1, and Ongaro's
        correction of 2015). Ask again after every round.

        Args:
            council: The present set and what is known.
            round_now: The newest round that was begun; rounds begun later have higher numbers.
        """
        voters = next_voters(
            council,
            max_voters=self._max_voters,
            voter_grace=self._voter_grace,
            shrink_after=self._shrink_after,
        )
        if voters is None:
            self.wish = None
            return None
        if self.wish is None or self.wish.voters != voters:
            self.wish = Wish(voters, round_now)
            return None
        if not council.has_majority(voters, since=self.wish.round):
            return None
        # The same wish, made again later, needs a proof of its own.
        self.wish = None
        return voters

    def leave_refusal(self, council: Council, member: Member) -> LeaveRefusal | None:
        """Why a voter cannot leave, as things are; None if it can, if it is no voter, or if a step is on its way.

        A leader asks it of itself too: it hands over first, and its successor lets it go.
        """
        if member not in council.voters or self.wish is not None:
            return None
        rest = council.without(member)
        if not rest:
            return LeaveRefusal.ALONE
        return None if council.has_majority(rest) else LeaveRefusal.NO_MAJORITY_WITHOUT
