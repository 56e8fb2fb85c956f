"""How long a suspect has, by how many accuse it; and how a node comes to doubt itself."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from discovery import Version
from discovery.failure import CONFIRMATIONS, GATHERING, LESSON, LONGEST, MAX_AWARENESS, Awareness, Suspicions, Tellings
from discovery.messages import Accusation
from tests.discovery.support import peer

SUSPECT, VERSION = peer(9), Version(1, 1)


def deadline(members: int, *accusers: int) -> float:
    suspicions = Suspicions(3.0)
    suspicions.open(SUSPECT, VERSION, peer(0), 100.0, members=members)
    for accuser in accusers:
        suspicions.confirm(SUSPECT, peer(accuser))
    return suspicions.deadline - 100.0


@pytest.mark.parametrize(("members", "shortest"), [(1, 3.0), (10, 3.5), (100, 4.0), (1000, 4.5)])
def test_times_grow_with_the_logarithm_of_the_network(members: int, shortest: float) -> None:
    assert deadline(members, 1, 2, 3) == pytest.approx(shortest)
    if members > 2:
        assert deadline(members) == pytest.approx(LONGEST * shortest)


def test_each_accuser_shortens_the_time_less_than_the_one_before() -> None:
    """Lifeguard, section IV-B."""
    times = [deadline(100, *range(1, count + 1)) for count in range(5)]
    saved = [a - b for a, b in pairwise(times)]
    assert saved[0] > saved[1] > saved[2] > 0
    assert saved[3] == 0


def test_an_accuser_counts_once() -> None:
    suspicions = Suspicions(3.0)
    suspicions.open(SUSPECT, VERSION, peer(0), 0.0, members=100)
    assert not suspicions.confirm(SUSPECT, peer(0))
    assert suspicions.confirm(SUSPECT, peer(1))
    assert not suspicions.confirm(SUSPECT, peer(1))
    assert not suspicions.confirm(peer(8), peer(1)), "nobody accuses that one"


@pytest.mark.parametrize("members", [1, 2])
def test_where_nobody_else_could_agree_nobody_is_waited_for(members: int) -> None:
    assert deadline(members) == pytest.approx(3.0 * (1 + math.log10(members) / 6))


def test_who_did_not_listen_gives_everybody_more_time() -> None:
    suspicions = Suspicions(3.0)
    suspicions.open(SUSPECT, VERSION, peer(0), 0.0, members=2)
    before = suspicions.deadline
    suspicions.grant(60.0)
    assert suspicions.deadline == before + 60.0
    assert suspicions.overdue(before) == []
    assert suspicions.overdue(before + 60.0) == [SUSPECT]
    suspicions.close(SUSPECT)
    assert suspicions.deadline == math.inf


def test_doubt_is_bounded_and_passes() -> None:
    awareness = Awareness()
    for _ in range(50):
        awareness.doubt()
    assert awareness.factor(0.0) == 1 + MAX_AWARENESS
    for _ in range(50):
        awareness.trust()
    assert awareness.factor(0.0) == 1


def test_each_suspect_that_was_there_doubles_patience_for_a_while() -> None:
    awareness = Awareness()
    factors = []
    for suspect in range(6):
        awareness.learn(peer(suspect), 100.0)
        factors.append(awareness.factor(100.0))
    assert factors == [2, 4, 8, 16, 16, 16]
    falling = [awareness.factor(100.0 + lessons * LESSON) for lessons in range(6)]
    assert falling == [16, 8, 4, 2, 1, 1]


def test_one_that_is_hard_to_reach_teaches_little_of_the_others() -> None:
    awareness = Awareness()
    factors = []
    for second in range(100):
        awareness.learn(SUSPECT, float(second))
        factors.append(awareness.factor(float(second)))
    assert max(factors) == 2
    assert factors.count(2) == 5, "it counts again when all would be forgotten"


def test_suspects_are_told_of_together_and_not_to_whom_they_are_no_news() -> None:
    tellings = Tellings()
    first, second, third = (Accusation(peer_id=peer(n), version=VERSION, accuser=peer(0)) for n in (1, 2, 3))
    tellings.add(first, None)
    assert tellings.deadline == -math.inf, "a lone one goes at once"
    assert tellings.take(10.0) == {first: set()}
    assert tellings.deadline == math.inf
    tellings.add(second, peer(4))
    tellings.heard(second, peer(5))
    tellings.heard(first, peer(5))
    tellings.add(third, None)
    assert tellings.deadline == 10.0 + GATHERING
    assert tellings.take(10.1) == {second: {peer(4), peer(5)}, third: set()}


def test_what_adds_nothing_to_a_case_is_told_apart() -> None:
    suspicions = Suspicions(3.0)
    suspicions.open(SUSPECT, VERSION, peer(0), 0.0, members=100)

    def settled(accuser: int, version: Version = VERSION) -> bool:
        return suspicions.settled(Accusation(peer_id=SUSPECT, version=version, accuser=peer(accuser)))

    assert settled(0)
    assert not settled(1)
    assert not settled(0, Version(1, 2)), "an answer may have come between"
    for accuser in range(1, CONFIRMATIONS + 1):
        suspicions.confirm(SUSPECT, peer(accuser))
    assert settled(8), "no more are needed"
    suspicions.close(SUSPECT)
    assert not settled(0)
