"""The steward's rules, one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2praft.raft.steward import Council, LeaveRefusal, MemberView, Steward, Wish, next_voters
from tests.raft.support import member

ME = member(1)
FIT = MemberView(live=True, caught_up=True, silent_for=0)
LAGGING = MemberView(live=True, caught_up=False, silent_for=0)
SILENT = MemberView(live=False, caught_up=True, silent_for=5)
OVERDUE = MemberView(live=False, caught_up=True, silent_for=60)
DEAD = MemberView(live=False, caught_up=True, silent_for=200)
OVER = MemberView(live=False, caught_up=False, silent_for=1, over=True)
LEAVING = MemberView(live=True, caught_up=True, silent_for=0, leaving=True)
OBSERVER = MemberView(live=True, caught_up=True, silent_for=0, factor=0)
RELUCTANT = MemberView(live=True, caught_up=True, silent_for=0, factor=3)
HUNG = MemberView(live=True, caught_up=True, silent_for=60)

Views = dict[int, MemberView]


def council(voters: list[int], views: Views) -> Council:
    return Council(
        me=ME, voters=tuple(map(member, voters)), views={member(number): view for number, view in views.items()}
    )


def decide(voters: list[int], views: Views, *, max_voters: int = 5) -> list[int] | None:
    chosen = next_voters(council(voters, views), max_voters=max_voters, voter_grace=20, shrink_after=200)
    return None if chosen is None else [voter.peer_id.key[0] for voter in chosen]


def follow(voters: list[int], views: Views, *, max_voters: int = 5) -> list[list[int]]:
    """The sets that come after one another while nothing else changes."""
    sets = [voters]
    while (chosen := decide(sets[-1], views, max_voters=max_voters)) is not None:
        sets.append(chosen)
        assert len(sets) < 30, f"no end: {sets}"
    return sets[1:]


# --- growth


def test_a_live_caught_up_member_is_added() -> None:
    assert decide([1], {2: FIT}) == [1, 2]
    assert decide([1, 2], {2: FIT, 3: FIT}) == [1, 2, 3]


@pytest.mark.parametrize("view", [LAGGING, SILENT, OBSERVER, LEAVING, OVER, HUNG])
def test_who_lags_is_silent_observes_or_has_ended_is_not_added(view: MemberView) -> None:
    assert decide([1], {2: view}) is None


def test_above_two_the_number_is_kept_odd() -> None:
    assert decide([1, 2, 3], {2: FIT, 3: FIT, 4: FIT}) is None
    assert follow([1, 2, 3], {2: FIT, 3: FIT, 4: FIT, 5: FIT}) == [[1, 2, 3, 4], [1, 2, 3, 4, 5]]
    assert follow([1, 2, 3, 4], {2: FIT, 3: FIT, 4: FIT}) == [[1, 2, 3]]


def test_no_more_than_max_voters() -> None:
    views = dict.fromkeys(range(2, 10), FIT)
    assert decide([1, 2, 3, 4, 5], views) is None
    assert decide([1, 2, 3], views, max_voters=4) is None
    assert follow([1, 2, 3, 4, 5], views, max_voters=3) == [[1, 2, 3, 4], [1, 2, 3]]


# --- replacement: the new before the old


def test_an_ended_voter_goes_after_its_replacement_came() -> None:
    assert follow([1, 2, 3], {2: FIT, 3: OVER, 4: FIT}) == [[1, 2, 3, 4], [1, 2, 4]]


def test_a_full_set_has_one_more_for_the_moment_of_a_replacement() -> None:
    views = {2: FIT, 3: FIT, 4: OVER, 5: OVER, 6: FIT, 7: FIT}
    assert follow([1, 2, 3, 4, 5], views) == [
        [1, 2, 3, 4, 5, 6],
        [1, 2, 3, 5, 6],
        [1, 2, 3, 5, 6, 7],
        [1, 2, 3, 6, 7],
    ]
    assert follow([1, 2, 3], {2: FIT, 3: OVER, 4: FIT}, max_voters=3) == [[1, 2, 3, 4], [1, 2, 4]]


def test_of_two_voters_one_is_replaced_without_passing_through_one() -> None:
    assert follow([1, 2], {2: LEAVING, 3: FIT}) == [[1, 2, 3], [1, 3]]
    assert follow([1, 2], {2: OVER, 3: FIT}, max_voters=2) == [[1, 2, 3], [1, 3]]


def test_an_ended_voter_without_replacement_is_removed_if_the_rest_is_safe() -> None:
    assert decide([1, 2, 3], {2: FIT, 3: OVER}) == [1, 2]
    assert decide([1, 2, 3], {2: SILENT, 3: OVER}) is None
    assert decide([1, 2, 3], {2: OVER, 3: OVER}) is None, "the majority is gone: no voter is spared"


def test_an_ended_voter_waits_for_the_incarnation_that_still_catches_up() -> None:
    views = {2: FIT, 3: FIT, 4: OVER, 5: OVER, 6: LAGGING, 7: LAGGING}
    assert decide([1, 2, 3, 4, 5], views) is None
    assert decide([1, 2, 3, 4, 5], views | {6: FIT}) == [1, 2, 3, 4, 5, 6]
    assert decide([1, 2, 3, 5, 6], views | {6: FIT}) is None
    assert decide([1, 2, 3, 5, 6], views | {6: FIT, 7: FIT}) == [1, 2, 3, 5, 6, 7]


def test_it_does_not_wait_for_ever_nor_for_what_the_set_does_not_need() -> None:
    late = replace(OVER, silent_for=20)
    assert decide([1, 2, 3], {2: FIT, 3: late, 4: LAGGING}) == [1, 2]
    assert decide([1, 2, 3, 4], {2: FIT, 3: FIT, 4: OVER, 5: LAGGING}) == [1, 2, 3], "it stays three in any case"


def test_a_silent_voter_is_replaced_after_its_grace_if_someone_stands_by() -> None:
    assert decide([1, 2, 3], {2: FIT, 3: SILENT, 4: FIT}) is None
    assert follow([1, 2, 3], {2: FIT, 3: OVERDUE, 4: FIT}) == [[1, 2, 3, 4], [1, 2, 4]]
    assert decide([1, 2, 3], {2: FIT, 3: OVERDUE}) is None
    assert follow([1, 2, 3, 4, 5], {2: FIT, 3: FIT, 4: OVERDUE, 5: OVERDUE, 6: FIT}) == [
        [1, 2, 3, 4, 5, 6],
        [1, 2, 3, 5, 6],
    ]


def test_whose_disk_hangs_is_silent_whatever_its_packets_say() -> None:
    assert follow([1, 2, 3], {2: FIT, 3: HUNG, 4: FIT}) == [[1, 2, 3, 4], [1, 2, 4]]
    assert decide([1, 2, 3], {2: FIT, 3: HUNG}) is None, "nobody takes its place"


def test_the_longest_silent_is_replaced_first() -> None:
    assert decide([1, 2, 3, 4], {2: replace(OVERDUE, silent_for=90), 3: OVERDUE, 4: FIT}) == [1, 3, 4]
    views = {2: FIT, 3: OVERDUE, 4: replace(OVERDUE, silent_for=90), 5: FIT, 6: FIT}
    assert decide([1, 2, 3, 4, 5, 6], views) == [1, 2, 3, 5, 6]


def test_a_normal_member_is_preferred_to_a_reluctant_voter() -> None:
    assert follow([1, 2, 3], {2: FIT, 3: RELUCTANT, 4: FIT}) == [[1, 2, 3, 4], [1, 2, 4]]
    assert decide([1, 2], {2: FIT, 3: RELUCTANT, 4: FIT}) == [1, 2, 4]
    assert decide([1, 2, 3], {2: FIT, 3: RELUCTANT, 4: RELUCTANT}) is None
    assert follow([1, 2], {2: RELUCTANT, 3: FIT}, max_voters=2) == [[1, 2, 3], [1, 3]]


# --- leaving, and turning observer


@pytest.mark.parametrize("view", [LEAVING, OBSERVER])
def test_who_leaves_or_observes_goes_at_once_if_nobody_stands_by(view: MemberView) -> None:
    assert decide([1, 2, 3], {2: FIT, 3: view}) == [1, 2]
    assert decide([1, 2, 3], {2: FIT, 3: view, 4: LAGGING}) == [1, 2], "it does not wait for who lags"
    assert decide([1, 2], {2: LEAVING}) == [1]


def test_two_that_leave_together_both_leave() -> None:
    """Each still answers while it waits: the second would otherwise be refused, and die as a voter."""
    assert follow([1, 2, 3], {2: LEAVING, 3: LEAVING}) == [[1, 3], [1]]
    assert follow([1, 2, 3], {2: LEAVING, 3: LEAVING, 4: FIT}) == [[1, 2, 3, 4], [1, 3, 4], [1, 4]]


def test_whose_answers_do_not_count_goes_before_who_leaves() -> None:
    assert follow([1, 2, 3], {2: LEAVING, 3: OBSERVER}) == [[1, 2], [1]]
    assert follow([1, 2, 3, 4, 5], {2: LEAVING, 3: OVER, 4: OVER, 5: FIT}) == [[1, 2, 4, 5], [1, 2, 5], [1, 5]]


def test_no_step_leaves_a_set_without_a_live_majority() -> None:
    assert decide([1, 2, 3], {2: SILENT, 3: LEAVING}) is None
    assert decide([1, 2], {2: SILENT, 3: FIT}) is None
    assert decide([1, 2, 3], {2: SILENT, 3: OVERDUE, 4: FIT}) is None
    assert decide([1, 2, 3], {2: LAGGING, 3: LEAVING}) is None
    assert decide([1, 2, 3], {2: OBSERVER, 3: SILENT}) is None, "an observer's answer does not count"


# --- shrinking


def test_two_lost_of_five_leave_three() -> None:
    assert decide([1, 2, 3, 4, 5], {2: FIT, 3: FIT, 4: DEAD, 5: OVERDUE}) == [1, 2, 3, 5]
    assert decide([1, 2, 3, 5], {2: FIT, 3: FIT, 5: OVERDUE}) == [1, 2, 3]
    assert decide([1, 2, 3, 4, 5], {2: FIT, 3: FIT, 4: OVERDUE, 5: OVERDUE}) is None, "not yet"


def test_one_lost_of_five_leaves_three_and_one_that_stands_by() -> None:
    assert follow([1, 2, 3, 4, 5], {2: FIT, 3: FIT, 4: FIT, 5: DEAD}) == [[1, 2, 3, 4], [1, 2, 3]]


def test_five_lost_one_by_one_leave_three() -> None:
    """The group works, one at a time is lost, and the next only when the set is settled again."""
    voters, views = [1, 2, 3, 4, 5], dict.fromkeys(range(2, 6), FIT)
    for lost in (3, 5):
        views[lost] = DEAD
        voters = [voters, *follow(voters, views)][-1]
    assert voters == [1, 2, 4]
    views[2] = DEAD
    assert follow(voters, views) == []


@pytest.mark.parametrize("voters", [[1, 2, 3], [1, 2]])
def test_silence_never_shrinks_a_set_below_three(voters: list[int]) -> None:
    assert decide(voters, {2: FIT, 3: DEAD}) is None


def test_a_dead_voter_that_can_be_replaced_is_replaced() -> None:
    views = {2: FIT, 3: FIT, 4: FIT, 5: DEAD, 6: FIT}
    assert follow([1, 2, 3, 4, 5], views) == [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 6]]


# --- the wish, and its proof


def steward(*, max_voters: int = 5) -> Steward:
    return Steward(max_voters=max_voters, voter_grace=20, shrink_after=200)


def answered(view: MemberView, round_number: int) -> MemberView:
    return replace(view, answered=round_number)


def test_a_step_waits_for_a_round_begun_after_the_wish() -> None:
    """Member 2 has just died, and looks alive: without 3, which leaves, nobody would be left to commit anything."""
    it = steward()
    views = {2: answered(FIT, 7), 3: answered(LEAVING, 7)}
    assert it.consider(council([1, 2, 3], views), round_now=7) is None
    assert it.wish == Wish((ME, member(2)), 7)
    views[3] = answered(LEAVING, 8)
    assert it.consider(council([1, 2, 3], views), round_now=8) is None, "its own answer is none of the new set"
    views[2] = answered(FIT, 8)
    assert it.consider(council([1, 2, 3], views), round_now=9) == (ME, member(2))
    assert it.wish is None


def test_an_answer_to_a_round_that_was_already_begun_proves_nothing() -> None:
    it = steward()
    it.consider(council([1, 2, 3], {2: answered(FIT, 6), 3: LEAVING}), round_now=7)
    assert it.consider(council([1, 2, 3], {2: answered(FIT, 7), 3: LEAVING}), round_now=8) is None


def test_a_new_member_answers_too_before_its_vote_is_needed() -> None:
    it = steward()
    it.consider(council([1], {2: answered(FIT, 7)}), round_now=7)
    assert it.consider(council([1], {2: answered(FIT, 7)}), round_now=8) is None
    assert it.consider(council([1], {2: answered(FIT, 8)}), round_now=8) == (ME, member(2))


def test_a_wish_that_is_no_longer_wanted_is_dropped_and_starts_anew() -> None:
    it = steward()
    away, back = {2: answered(FIT, 7), 3: LEAVING}, {2: answered(FIT, 7), 3: FIT}
    it.consider(council([1, 2, 3], away), round_now=7)
    it.consider(council([1, 2, 3], back), round_now=8)
    assert it.wish is None
    later = {2: answered(FIT, 8), 3: LEAVING}
    assert it.consider(council([1, 2, 3], later), round_now=8) is None
    assert it.consider(council([1, 2, 3], {2: answered(FIT, 9), 3: LEAVING}), round_now=9) == (ME, member(2))


def test_another_wish_needs_a_proof_of_its_own() -> None:
    it = steward()
    it.consider(council([1, 2, 3], {2: FIT, 3: LEAVING}), round_now=7)
    turned = {2: answered(LEAVING, 8), 3: answered(FIT, 8)}
    assert it.consider(council([1, 2, 3], turned), round_now=8) is None
    assert it.wish == Wish((ME, member(3)), 8)


def test_the_same_step_taken_again_later_needs_a_proof_of_its_own() -> None:
    it = steward()
    leaving = {2: answered(FIT, 8), 3: LEAVING}
    it.consider(council([1, 2, 3], leaving), round_now=7)
    assert it.consider(council([1, 2, 3], leaving), round_now=8) is not None
    assert it.consider(council([1, 2, 3], leaving), round_now=8) is None


# --- why one cannot leave


def test_a_refusal_says_why() -> None:
    it = steward()
    assert it.leave_refusal(council([1], {}), ME) is LeaveRefusal.ALONE
    stuck = council([1, 2, 3], {2: SILENT, 3: LEAVING})
    assert it.consider(stuck, round_now=1) is None
    assert it.leave_refusal(stuck, member(3)) is LeaveRefusal.NO_MAJORITY_WITHOUT
    assert it.leave_refusal(stuck, ME) is LeaveRefusal.NO_MAJORITY_WITHOUT
    assert LeaveRefusal("no majority without") is LeaveRefusal.NO_MAJORITY_WITHOUT, "it travels as text"


def test_who_may_go_is_no_voter_or_waits_for_a_step_is_not_refused() -> None:
    it = steward()
    assert it.leave_refusal(council([1, 2, 3], {2: FIT, 3: FIT}), ME) is None
    assert it.leave_refusal(council([1], {2: LEAVING}), member(2)) is None
    first = council([1, 2, 3], {2: LEAVING, 3: SILENT, 4: FIT})
    it.consider(first, round_now=1)
    assert it.wish == Wish((*first.voters, member(4)), 1)
    assert it.leave_refusal(first, member(2)) is None, "with 4 in the set, the rest will have a majority"
