"""Section 5.4: the election restriction, commits of earlier terms (figure 8), and the properties of figure 3."""

from __future__ import annotations

import pytest

from p2praft.raft.messages import AppendEntries, Message, RequestVoteResponse
from p2praft.raft.types import Cursor
from tests.paper.cluster import Cluster
from tests.paper.support import holds, win
from tests.raft.support import Bench, append, at, entry, only, request_vote

# --- 5.4.1 election restriction


@pytest.mark.parametrize(
    ("ours", "theirs", "supported"),
    [
        ((2, 2), at(2, 3), True),
        ((2, 2), at(2, 2), False),
        ((2, 2), at(2, 9), True),
        ((2, 2, 2, 2), at(3, 2), True),
        ((2, 3), at(2, 9), False),
        ((), at(1, 1), True),
    ],
    ids=["equal", "shorter", "longer", "newer but shorter", "older but longer", "both empty"],
)
def test_of_two_logs_the_later_term_or_else_the_longer_is_more_up_to_date(
    ours: tuple[int, ...], theirs: Cursor, supported: bool
) -> None:
    """Section 5.4.1: compare the terms of the last entries; if they are equal, the indices."""
    bench = Bench(3, *ours)
    [answer] = only(bench.receive(request_vote(7, theirs), bench.voters[1]), RequestVoteResponse)
    assert answer.supports is supported


def test_a_candidate_without_all_committed_entries_is_not_elected() -> None:
    """Section 5.4.1: at least one voter of any majority holds each committed entry, and denies."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.propose(1)
    cluster.deliver()
    cluster.crash(1)
    cluster.heal()
    cluster.campaign(3)
    assert cluster.leaders == []
    cluster.elect(2)


# --- 5.4.2 committing entries from previous terms

FIGURE_8 = {1: (2,), 2: (2,), 3: (), 4: (), 5: (3,)}
"""Figure 8 (b): S1 led term 2 and reached S2; then S5 led term 3 and reached nobody. Its index 2 is at 2 here too."""


def test_figure_8_c_a_majority_with_an_old_entry_commits_nothing() -> None:
    """Section 5.4.2: a leader never commits entries of previous terms by counting replicas."""
    bench = Bench(5, 2, term=3)
    win(bench, *bench.voters[1:3])
    for voter in bench.voters[1:3]:
        bench.receive(holds(bench, at(2, 2)), voter)
    assert (bench.engine.term, bench.engine.commit) == (4, 0)


def test_figure_8_d_a_majority_with_an_old_entry_may_be_overwritten() -> None:
    """Section 5.4.2: S1 spreads its old entry in term 4 and crashes; S5 leads and overwrites it; nobody applied it."""
    cluster = Cluster(FIGURE_8, term=3)
    cluster.lost = lambda _sender, _to, message: isinstance(message, AppendEntries)
    cluster.elect(1)
    cluster.hear(3, append(4, at(1, 1), entry(2, 2)), sender=1)
    cluster.deliver()
    assert [cluster.terms(number) for number in (1, 2, 3, 4, 5)] == [[2, 4], [2], [2], [], [3]]
    assert cluster.applied[1] == []
    cluster.crash(1)
    cluster.heal()
    cluster.elect(5)
    cluster.run(0.3)
    assert {tuple(cluster.terms(number)) for number in (2, 3, 4, 5)} == {(3, 5)}
    cluster.restart(1)
    cluster.run(0.3)
    assert cluster.terms(1) == [3, 5]


def test_figure_8_e_an_entry_of_the_leaders_own_term_protects_all_before_it() -> None:
    """Section 5.4.2: once S1 has an entry of term 4 on a majority, S5 cannot win, and the old entry is committed."""
    cluster = Cluster(FIGURE_8, term=3)
    cluster.isolate(4, 5)
    cluster.elect(1)
    assert cluster.engines[1].commit == 3
    cluster.crash(1)
    cluster.heal()
    cluster.campaign(5)
    assert cluster.leaders == []
    cluster.elect(2)
    assert cluster.terms(5) == [2, 4, 5]


# --- 5.4.3 and figure 3: the properties


def test_an_entry_that_was_committed_is_in_the_log_of_every_later_leader() -> None:
    """Figure 3, Leader Completeness: through a chain of leaders, each elected without its predecessor."""
    cluster = Cluster(5)
    cluster.elect(1)
    cluster.propose(1)
    cluster.deliver()
    committed = cluster.applied[1][-1]
    for number in (2, 3, 4, 5, 1):
        cluster.isolate(*cluster.leaders)
        cluster.elect(number)
        assert committed in cluster.engines[number].ctx.log.between(1, cluster.engines[number].last.index)
        cluster.heal()
        cluster.run(0.3)


def test_two_leaders_at_once_never_commit_different_entries() -> None:
    """Figure 3, State Machine Safety: a leader that was cut off cannot commit; its entries are overwritten."""
    cluster = Cluster(5)
    cluster.elect(1)
    cluster.split(1, 2)
    cluster.elect(3)
    for number in (1, 3):
        cluster.propose(number)
    cluster.deliver()
    assert cluster.leaders == [1, 3]
    assert [entry.term for entry in cluster.applied[1]] == [1, 2]
    assert [entry.term for entry in cluster.applied[3]] == [1, 2, 3, 3]
    cluster.heal()
    cluster.run(0.5)
    assert {tuple(cluster.terms(number)) for number in range(1, 6)} == {(2, 3, 3)}


def test_a_member_that_is_told_to_overwrite_what_is_committed_takes_nothing_and_says_so() -> None:
    """Figure 3, State Machine Safety: it can only mean that a memory was lost; ours promises this leader nothing."""
    bench = Bench(3, 2, 2)
    bench.receive(append(2, at(2, 3), commit=3), bench.voters[1])
    message: Message = append(5, at(2, 2), entry(5, 3))
    assert bench.receive(message, bench.voters[2]) == []
    assert bench.engine.last == at(2, 3)
    assert bench.engine.status().differs
