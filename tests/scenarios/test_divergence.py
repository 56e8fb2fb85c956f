"""Logs that differ are made one: figure 7's followers, and how few round trips it takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2praft.raft.messages import AppendEntries, AppendEntriesResponse, Message
from tests.paper.cluster import Cluster
from tests.raft.support import CONFIG, Bench, append, at, entry, only

LEADER = (1, 1, 4, 4, 5, 5, 6, 6, 6)
"""Figure 7's leader for term 8, behind the first entry."""
FOLLOWERS = {
    "a": (1, 1, 4, 4, 5, 5, 6, 6),
    "b": (1, 1, 4),
    "c": (1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
    "d": (1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
    "e": (1, 1, 4, 4, 4, 4),
    "f": (1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
}


def spy_refusals(cluster: Cluster, number: int) -> list[AppendEntriesResponse]:
    """The refusals that one member will send."""
    seen: list[AppendEntriesResponse] = []

    def lost(sender: int, _to: int, message: Message) -> bool:
        if sender == number and isinstance(message, AppendEntriesResponse) and not message.matched:
            seen.append(message)
        return False

    cluster.lost = lost
    return seen


@pytest.mark.parametrize("name", FOLLOWERS)
def test_each_of_figure_7s_followers_ends_with_the_leaders_log(name: str) -> None:
    """Raft paper, figure 7; the other voter holds what the leader holds."""
    cluster = Cluster({1: LEADER, 2: LEADER, 3: FOLLOWERS[name]}, term=7)
    cluster.elect(1)
    cluster.run(0.3)
    assert cluster.terms(3) == cluster.terms(1) == [*LEADER, 8]
    assert cluster.applied[3] == cluster.applied[1]


def test_all_of_figure_7s_followers_at_once() -> None:
    """Raft paper, figure 7: a, b, e and f vote for the leader, c and d hold better logs and do not."""
    cluster = Cluster(
        {1: LEADER, **dict(enumerate(FOLLOWERS.values(), start=2))}, term=7, config=replace(CONFIG, max_voters=7)
    )
    cluster.elect(1)
    cluster.run(0.3)
    assert {tuple(cluster.terms(number)) for number in range(1, 8)} == {(*LEADER, 8)}


@pytest.mark.parametrize(("name", "refusals"), [("a", 1), ("b", 1), ("c", 0), ("d", 0), ("e", 1), ("f", 2)])
def test_a_round_trip_skips_a_term_not_an_entry(name: str, refusals: int) -> None:
    """Raft paper, end of section 5.3."""
    cluster = Cluster({1: LEADER, 2: LEADER, 3: FOLLOWERS[name]}, term=7)
    seen = spy_refusals(cluster, 3)
    cluster.elect(1)
    cluster.run(0.3)
    assert cluster.terms(3) == [*LEADER, 8]
    assert len(seen) <= refusals


@pytest.mark.parametrize(
    ("leader", "follower", "refusals"),
    [
        ((2,) * 3 + (4,) * 4, (2,) * 3 + (3,) * 8, 1),
        ((2,) * 3 + (3,) * 5 + (6,), (2,) * 3 + (4,) * 4, 2),
        ((2,) * 9, (2,), 1),
        ((3,) * 9, (2,) * 9, 1),
        ((2, 4, 6, 8), (3, 5, 7), 4),
        ((2,) * 500, (), 1),
        ((5,) * 100, (2,) * 50 + (3,) * 50 + (4,) * 50, 1),
    ],
    ids=["longer old tail", "newer tail", "short", "nothing in common", "interleaved", "empty", "three old terms"],
)
def test_few_refusals_find_where_two_logs_part(
    leader: tuple[int, ...], follower: tuple[int, ...], refusals: int
) -> None:
    cluster = Cluster({1: leader, 2: leader, 3: follower}, term=9)
    seen = spy_refusals(cluster, 3)
    cluster.elect(1)
    cluster.run(0.3)
    assert cluster.terms(3) == cluster.terms(1) == [*leader, 10]
    assert len(seen) <= refusals


def test_entries_of_a_dead_leader_go_when_another_lacks_them() -> None:
    cluster = Cluster(5)
    cluster.elect(1)
    cluster.split(1, 2)
    for _ in range(20):
        cluster.propose(1)
    cluster.deliver()
    assert len(cluster.terms(2)) == 21
    cluster.crash(1)
    cluster.elect(3)
    cluster.heal()
    cluster.run(0.3)
    assert cluster.terms(2) == [2, 3]


def test_a_refusal_names_a_position_that_both_may_hold() -> None:
    """Its index is not beyond the follower's end, its term not beyond the leader's."""
    for ours, prev, hint in (
        ((2, 2), at(3, 9), at(2, 3)),
        ((2, 5, 5), at(3, 9), at(2, 2)),
        ((5, 5, 5), at(3, 3), at(1, 1)),
        ((2, 2, 2, 2), at(3, 3), at(2, 3)),
    ):
        bench = Bench(3, *ours)
        [answer] = only(
            bench.receive(append(6, prev, entry(6, prev.index + 1)), bench.voters[1]), AppendEntriesResponse
        )
        assert (answer.matched, answer.last) == (False, hint)


def test_what_agrees_is_not_written_again() -> None:
    bench = Bench(3, 2, 2, 2)
    bench.receive(append(3, at(1, 1), entry(2, 2), entry(2, 3), entry(3, 4)), bench.voters[1])
    [write] = [effects.write for effects in bench.effects if effects.write is not None]
    assert write.replace_from == 4
    assert [each.index for each in write.entries] == [4]


def test_messages_that_overtake_each_other_do_no_harm() -> None:
    """The second is refused, the first taken, the second comes again."""
    bench = Bench(3, 2)
    first, second = append(2, at(2, 2), entry(2, 3)), append(2, at(2, 3), entry(2, 4))
    answers = [only(bench.receive(m, bench.voters[1]), AppendEntriesResponse)[0] for m in (second, first, second)]
    assert [answer.matched for answer in answers] == [False, True, True]
    assert bench.engine.last == at(2, 4)


def test_an_old_message_of_the_same_leader_does_not_shorten_the_log() -> None:
    bench = Bench(3, 2)
    old: AppendEntries = append(2, at(2, 2), entry(2, 3))
    bench.receive(append(2, at(2, 2), entry(2, 3), entry(2, 4), entry(2, 5)), bench.voters[1])
    [answer] = only(bench.receive(old, bench.voters[1]), AppendEntriesResponse)
    assert (answer.last, bench.engine.last) == (at(2, 3), at(2, 5))
