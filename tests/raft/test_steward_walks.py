"""What the steward keeps in every case, and that it comes to rest: random sets, views and changes of both."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import event, given, settings, strategies as st

from p2praft.raft.steward import UNKNOWN, Council, MemberView, Steward
from p2praft.raft.types import Member
from tests.raft.support import member

ME = member(1)
GRACE, SHRINK = 20.0, 60.0
REST = 80
"""Rounds within which a set comes to rest; each of at most 8 members comes or goes a few times, at two rounds each."""

numbers = st.integers(2, 9)
live_views = st.builds(
    MemberView,
    live=st.just(True),
    caught_up=st.booleans(),
    silent_for=st.sampled_from([0.0, 0.0, GRACE]),
    factor=st.sampled_from([0.0, 1.0, 1.0, 3.0]),
    leaving=st.booleans(),
)
silent_views = st.builds(
    MemberView,
    live=st.just(False),
    caught_up=st.booleans(),
    silent_for=st.sampled_from([5.0, GRACE, SHRINK]),
    over=st.booleans(),
    factor=st.sampled_from([1.0, 3.0]),
)
views = st.one_of(live_views, silent_views)


@dataclass
class Group:
    """A leader with its steward, and members that answer a round if they are live."""

    voters: tuple[Member, ...]
    views: dict[Member, MemberView]
    max_voters: int
    changes: int = 0
    round: int = 0

    def __post_init__(self) -> None:
        self.steward = Steward(max_voters=self.max_voters, voter_grace=GRACE, shrink_after=SHRINK)

    @property
    def council(self) -> Council:
        return Council(me=ME, voters=self.voters, views=self.views)

    def view(self, who: Member) -> MemberView:
        return self.views.get(who, UNKNOWN)

    def fit(self, who: Member) -> bool:
        view = self.view(who)
        return who == ME or (view.fit and view.silent_for < GRACE)

    def answer(self) -> None:
        """A round begins, and is answered by all that are live."""
        self.round += 1
        for who, view in self.views.items():
            if view.live:
                self.views[who] = replace(view, answered=self.round)

    def step(self) -> bool:
        """Ask the steward once, check what it says, and do it; whether anything was done or is wished."""
        before = self.steward.wish
        chosen = self.steward.consider(self.council, round_now=self.round)
        if chosen is None:
            return self.steward.wish is not None
        assert before is not None, "nothing is done that was not wished before"
        assert before.voters == chosen
        self.check(chosen, wished_in=before.round)
        self.voters, self.changes = chosen, self.changes + 1
        return True

    def check(self, chosen: tuple[Member, ...], *, wished_in: int) -> None:
        changed = set(chosen) ^ set(self.voters)
        assert len(changed) == 1
        assert len(set(chosen)) == len(chosen)
        assert ME in chosen
        assert len(chosen) <= max(self.max_voters + 1, len(self.voters))
        proven = sum(
            who == ME
            or (
                (view := self.view(who)).live
                and view.caught_up
                and not view.over
                and view.factor > 0
                and view.answered > wished_in
            )
            for who in chosen
        )
        assert proven >= len(chosen) // 2 + 1
        (who,) = changed
        if who in chosen:
            assert self.fit(who)
        elif len(chosen) < 3 and self.max_voters >= 3:
            assert self.view(who).unwanted, "silence never shrinks below three"
        if len(chosen) == 1 and self.max_voters > 1:
            assert not any(map(self.fit, self.views.keys() - {who})), "it passes through one beside fit members"

    def settle(self) -> None:
        """Nothing changes any more but answers: the set comes to rest, as good as it can be."""
        for _ in range(REST):
            self.answer()
            if not self.step():
                break
        else:
            raise AssertionError(f"the steward does not settle: {self.voters}")
        event(f"{min(self.changes, 6)} changes")
        self.check_rest()

    def check_rest(self) -> None:
        count = len(self.voters)
        others = [who for who in self.voters if who != ME]
        spares = [who for who in self.views if who not in self.voters and self.fit(who)]
        coming = any(v.live and not v.caught_up and not v.unwanted for v in self.views.values())
        for who in others:
            view = self.view(who)
            young = view.over and coming and view.silent_for < GRACE
            if view.unwanted and not young:
                assert not self.council.has_majority(self.council.without(who)), "an unwanted voter could go"
            if spares and count <= self.max_voters and self.council.has_majority((*self.voters, spares[0])):
                assert not view.unwanted, "an unwanted voter could be replaced"
                assert view.silent_for < GRACE, "a silent voter could be replaced"
                # An even set waits until it knows which of its voters it can do without.
                assert count % 2 == 0 or view.factor <= 1 or all(self.view(spare).factor > 1 for spare in spares)
        if all(map(self.fit, self.voters)):
            assert count <= self.max_voters
            assert count <= 2 or count % 2 == 1
            able = min(self.max_voters, count + len(spares))
            assert count >= (able if able <= 2 else able - 1 + able % 2), "it could be larger"
        if count > 3:
            for who in others:
                if self.view(who).silent_for >= SHRINK and not spares:
                    assert not self.council.has_majority(self.council.without(who)), "a dead voter could go"


@settings(max_examples=400, deadline=None)
@given(st.sets(numbers, max_size=6), st.dictionaries(numbers, views), st.integers(1, 7))
def test_from_any_set_and_views_each_step_is_safe_and_the_steps_come_to_an_end(
    others: set[int], known: dict[int, MemberView], max_voters: int
) -> None:
    Group((ME, *map(member, sorted(others))), {member(n): view for n, view in known.items()}, max_voters).settle()


happenings = st.lists(st.tuples(numbers, st.none() | views, st.integers(0, 3)), max_size=25)


@settings(max_examples=400, deadline=None)
@given(st.sets(numbers, max_size=6), happenings, st.integers(1, 7))
def test_whatever_happens_meanwhile_each_step_is_safe_and_then_it_comes_to_rest(
    others: set[int], happens: list[tuple[int, MemberView | None, int]], max_voters: int
) -> None:
    """Members turn to anything, or die and still look alive (None), between rounds that the others answer."""
    healthy = MemberView(live=True, caught_up=True, silent_for=0)
    group = Group((ME, *map(member, sorted(others))), {member(n): healthy for n in {2, 3, 4, 5, *others}}, max_voters)
    for number, view, rounds in happens:
        who = member(number)
        ghost = {who: group.view(who)} if view is None else {}
        if view is not None:
            group.views[who] = replace(view, answered=group.view(who).answered)
        for _ in range(rounds):
            group.answer()
            group.views |= ghost
            group.step()
    group.settle()
