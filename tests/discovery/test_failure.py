"""How long a suspect has, by how many accuse it; and how a node comes to doubt itself."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from discovery import Version
from discovery.failure import LONGEST, MAX_AWARENESS, Awareness, Suspicions
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
    assert awareness.factor == 1 + MAX_AWARENESS
    for _ in range(50):
        awareness.trust()
    assert awareness.factor == 1
