"""The quorum rule: an ordinary majority while one can be had, else the unanimous survivors."""

from __future__ import annotations

from hypothesis import given, strategies as st

from p2praft.raft.quorum import has_quorum, quorum_size, quorum_value
from tests.raft.support import member

VOTERS = tuple(member(number) for number in range(1, 6))


def test_a_majority() -> None:
    assert [quorum_size(VOTERS[:n], ()) for n in range(1, 6)] == [1, 2, 2, 3, 3]
    assert has_quorum(VOTERS, VOTERS[:3])
    assert not has_quorum(VOTERS, VOTERS[:2])


def test_who_is_no_voter_does_not_count() -> None:
    assert not has_quorum(VOTERS[:3], {VOTERS[0], *VOTERS[3:]})


def test_all_survivors_once_most_are_gone() -> None:
    assert quorum_size(VOTERS, VOTERS[:1]) == 3
    assert quorum_size(VOTERS, VOTERS[:3]) == 2
    assert has_quorum(VOTERS, VOTERS[3:], VOTERS[:3])
    assert not has_quorum(VOTERS, VOTERS[4:], VOTERS[:3])


def test_what_is_gone_does_not_count_and_nobody_is_no_quorum() -> None:
    assert not has_quorum(VOTERS[:3], VOTERS[:2], VOTERS[:1])
    assert not has_quorum(VOTERS, VOTERS, VOTERS)
    assert not has_quorum((), ())


def test_the_value_that_a_quorum_has_reached() -> None:
    reached = dict(zip(VOTERS, [9, 7, 5, 3, 1], strict=True))
    assert quorum_value(VOTERS, reached.__getitem__) == 5
    assert quorum_value(VOTERS, reached.__getitem__, VOTERS[:1]) == 3
    assert quorum_value(VOTERS, reached.__getitem__, VOTERS[:4]) == 1
    assert quorum_value(VOTERS, reached.__getitem__, VOTERS) == 0


subsets = st.sets(st.sampled_from(VOTERS))


@given(st.integers(1, 5), subsets, subsets, subsets)
def test_any_two_quorums_meet(size: int, one: set[object], other: set[object], gone: set[object]) -> None:
    """In what has not lost its memory; and a quorum found while fewer were gone meets every later one there too."""
    voters = VOTERS[:size]
    lost = [voter for voter in voters if voter in gone]
    first = {voter for voter in voters if voter in one}
    second = {voter for voter in voters if voter in other}
    if has_quorum(voters, first, lost) and has_quorum(voters, second, lost):
        assert first & second - set(lost)
    earlier_survivors = first - set(lost)
    if has_quorum(voters, first) and has_quorum(voters, second, lost) and earlier_survivors:
        assert earlier_survivors & second
