"""The quorum rule: a majority of the voters, and nothing else."""

from __future__ import annotations

from hypothesis import given, strategies as st

from p2praft.raft.quorum import has_quorum, quorum_size, quorum_value
from tests.raft.support import member

VOTERS = tuple(member(number) for number in range(1, 6))


def test_a_majority() -> None:
    assert [quorum_size(VOTERS[:n]) for n in range(1, 6)] == [1, 2, 2, 3, 3]
    assert has_quorum(VOTERS, VOTERS[:3])
    assert not has_quorum(VOTERS, VOTERS[:2])


def test_who_is_no_voter_does_not_count() -> None:
    assert not has_quorum(VOTERS[:3], {VOTERS[0], *VOTERS[3:]})


def test_nobody_is_no_quorum() -> None:
    assert not has_quorum((), ())
    assert not has_quorum(VOTERS[:1], ())


def test_another_incarnation_is_another_voter() -> None:
    back = [member(number, incarnation=1) for number in (1, 2, 3)]
    assert not has_quorum(VOTERS, back)


def test_the_value_that_a_quorum_has_reached() -> None:
    reached = dict(zip(VOTERS, [9, 7, 5, 3, 1], strict=True))
    assert quorum_value(VOTERS, reached.__getitem__) == 5
    assert quorum_value(VOTERS[:4], reached.__getitem__) == 5
    assert quorum_value(VOTERS[:1], reached.__getitem__) == 9
    assert quorum_value((), reached.__getitem__) == 0


subsets = st.sets(st.sampled_from(VOTERS))


@given(st.integers(1, 5), subsets, subsets)
def test_any_two_quorums_meet(size: int, one: set[object], other: set[object]) -> None:
    voters = VOTERS[:size]
    first = {voter for voter in voters if voter in one}
    second = {voter for voter in voters if voter in other}
    if has_quorum(voters, first) and has_quorum(voters, second):
        assert first & second
