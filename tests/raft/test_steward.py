"""The steward's rules, one by one, and what they keep in every case."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from p2praft.raft.messages import Member
from p2praft.raft.quorum import quorum_size
from p2praft.raft.steward import MemberView, next_voters
from tests.raft.support import member

ME = member(1)
FIT = MemberView(live=True, caught_up=True, silent_for=0)
LAGGING = MemberView(live=True, caught_up=False, silent_for=0)
SILENT = MemberView(live=False, caught_up=True, silent_for=5)
OVERDUE = MemberView(live=False, caught_up=True, silent_for=60)
GONE = MemberView(live=False, caught_up=False, silent_for=1, gone=True)
LEAVING = MemberView(live=True, caught_up=True, silent_for=0, leaving=True)
OBSERVER = MemberView(live=True, caught_up=True, silent_for=0, factor=0)
RELUCTANT = MemberView(live=True, caught_up=True, silent_for=0, factor=3)


def decide(voters: list[int], views: dict[int, MemberView], *, max_voters: int = 5) -> list[int] | None:
    chosen = next_voters(
        me=ME,
        voters=tuple(map(member, voters)),
        views={member(number): view for number, view in views.items()},
        max_voters=max_voters,
        voter_grace=20,
    )
    return None if chosen is None else sorted(voter.peer_id.key[0] for voter in chosen)


def test_a_live_caught_up_member_is_added() -> None:
    assert decide([1], {2: FIT}) == [1, 2]
    assert decide([1, 2], {2: FIT, 3: FIT}) == [1, 2, 3]


def test_who_lags_is_silent_or_observes_is_not_added() -> None:
    for view in (LAGGING, SILENT, OBSERVER, LEAVING):
        assert decide([1], {2: view}) is None


def test_above_two_the_number_is_kept_odd() -> None:
    assert decide([1, 2, 3], {2: FIT, 3: FIT, 4: FIT}) is None
    assert decide([1, 2, 3], {2: FIT, 3: FIT, 4: FIT, 5: FIT}) == [1, 2, 3, 4]
    assert decide([1, 2, 3, 4], {2: FIT, 3: FIT, 4: FIT, 5: FIT}) == [1, 2, 3, 4, 5]
    assert decide([1, 2, 3, 4], {2: FIT, 3: FIT, 4: FIT}) == [1, 2, 3]


def test_no_more_than_max_voters() -> None:
    views = dict.fromkeys(range(2, 10), FIT)
    assert decide([1, 2, 3, 4, 5], views) is None
    assert decide([1, 2, 3], views, max_voters=4) is None


def test_a_silent_voter_is_replaced_after_its_grace_if_someone_stands_by() -> None:
    assert decide([1, 2, 3], {2: FIT, 3: SILENT, 4: FIT}) is None
    assert decide([1, 2, 3], {2: FIT, 3: OVERDUE, 4: FIT}) == [1, 2]
    assert decide([1, 2, 3], {2: FIT, 3: OVERDUE}) is None


def test_who_is_gone_leaves_or_turned_observer_is_removed_without_a_replacement() -> None:
    for view in (GONE, LEAVING, OBSERVER):
        assert decide([1, 2, 3], {2: FIT, 3: view}) == [1, 2]


def test_no_step_leaves_a_set_without_a_live_majority() -> None:
    assert decide([1, 2, 3], {2: SILENT, 3: LEAVING}) is None
    assert decide([1, 2], {2: SILENT, 3: FIT}) is None
    assert decide([1, 2, 3], {2: SILENT, 3: OVERDUE, 4: FIT}) is None


def test_a_sole_survivor_may_drop_those_that_are_provably_gone() -> None:
    assert decide([1, 2, 3], {2: GONE, 3: GONE}) == [1, 3]
    assert decide([1, 3], {3: GONE}) == [1]


def test_a_normal_member_is_preferred_to_a_reluctant_voter() -> None:
    assert decide([1, 2, 3], {2: FIT, 3: RELUCTANT, 4: FIT}) == [1, 2]
    assert decide([1, 2], {2: FIT, 3: RELUCTANT, 4: FIT}) == [1, 2, 4]
    assert decide([1, 2, 3], {2: FIT, 3: RELUCTANT, 4: RELUCTANT}) is None


live_views = st.builds(
    MemberView,
    live=st.just(True),
    caught_up=st.booleans(),
    silent_for=st.just(0.0),
    gone=st.just(False),
    factor=st.sampled_from([0.0, 1.0, 3.0]),
    leaving=st.booleans(),
)
silent_views = st.builds(
    MemberView,
    live=st.just(False),
    caught_up=st.booleans(),
    silent_for=st.sampled_from([5.0, 60.0]),
    gone=st.booleans(),
    factor=st.sampled_from([1.0, 3.0]),
)
views = st.one_of(live_views, silent_views)


@settings(max_examples=500, deadline=None)
@given(st.sets(st.integers(2, 9), max_size=6), st.dictionaries(st.integers(2, 9), views), st.integers(1, 7))
def test_every_step_is_single_safe_and_the_steps_come_to_an_end(
    others: set[int], known: dict[int, MemberView], max_voters: int
) -> None:
    """Whatever is known, following the steward changes one member at a time, keeps quorums live, and settles."""
    by_member: dict[Member, MemberView] = {member(number): view for number, view in known.items()}
    voters = (ME, *map(member, sorted(others)))
    for _ in range(40):
        chosen = next_voters(me=ME, voters=voters, views=by_member, max_voters=max_voters, voter_grace=20)
        if chosen is None:
            return
        assert len(set(chosen) ^ set(voters)) == 1
        assert ME in chosen
        assert len(chosen) <= max(max_voters, len(voters))
        fit = sum(voter == ME or (voter in by_member and by_member[voter].fit) for voter in chosen)
        gone = [voter for voter in chosen if voter in by_member and by_member[voter].gone]
        assert fit >= quorum_size(chosen, gone)
        voters = chosen
    raise AssertionError(f"the steward does not settle: {voters}")
