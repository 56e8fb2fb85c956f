"""Who is asked for what: each entry of one neighbour at a time, and nothing without bound."""

from __future__ import annotations

import random

import pytest

from discovery.messages import MAX_WANTED
from discovery.spread import ANSWER_TIMEOUT, ANSWER_TRIPS, COALESCE, MAX_OFFERED, MAX_WAITS, Spread
from tests.discovery.support import peer


def name(number: int) -> bytes:
    return number.to_bytes(8, "big")


def spread(*neighbours: int) -> Spread:
    made = Spread()
    for number in neighbours:
        made.link(peer(number))
    return made


def test_each_entry_is_asked_of_the_first_that_offers_it() -> None:
    made = spread(1, 2)
    for number in (1, 2):
        made.offer(peer(number), name(7), 0.0)
    assert made.take_asks() == [(peer(1), [name(7)])]
    assert made.take_asks() == []


def test_one_neighbour_is_asked_for_so_much_at_a_time_and_for_more_as_it_gives() -> None:
    made = spread(1)
    for number in range(2 * MAX_WANTED):
        made.offer(peer(1), name(number), 0.0)
    [(_, asked)] = made.take_asks()
    assert len(asked) == MAX_WANTED
    given = 0
    while asked:
        for entry in asked:
            assert made.arrive(peer(1), entry, 0.1)[0]
            given += 1
        asked = [entry for _, ids in made.take_asks() for entry in ids]
    assert given == 2 * MAX_WANTED
    assert made.deadline() == float("inf")


def test_offers_are_bounded() -> None:
    made = spread(1)
    for number in range(2 * MAX_OFFERED):
        made.offer(peer(1), name(number), 0.0)
    assert len(made._holders) == MAX_OFFERED


def test_who_does_not_answer_is_replaced_and_who_goes_as_well() -> None:
    made = spread(1, 2, 3)
    for number in (1, 2, 3):
        made.offer(peer(number), name(7), 0.0)
    made.take_asks()
    assert made.deadline() == ANSWER_TIMEOUT
    made.hurry(ANSWER_TIMEOUT)
    assert made.take_asks() == [(peer(2), [name(7)])]
    made.unlink(peer(2), 0.6)
    assert made.take_asks() == [(peer(3), [name(7)])]
    made.unlink(peer(3), 0.7)
    assert made.take_asks() == []
    assert made.deadline() < 1.0, "the first was asked, is still there, and may give it yet"
    made.unlink(peer(1), 0.8)
    assert made.deadline() == float("inf"), "nobody is left to wait for"


def test_who_comes_back_is_asked_anew() -> None:
    made = spread(1, 2)
    for number in (1, 2):
        made.offer(peer(number), name(7), 0.0)
    made.take_asks()
    made.unlink(peer(1), 0.1)
    assert made.take_asks() == [(peer(2), [name(7)])]
    made.link(peer(1))
    made.offer(peer(1), name(7), 0.2)
    made.hurry(0.2 + ANSWER_TIMEOUT)
    assert made.take_asks() == [(peer(1), [name(7)])]


def test_an_entry_that_nobody_gives_is_forgotten_at_last() -> None:
    made = spread(1, 2)
    for number in (1, 2):
        made.offer(peer(number), name(7), 0.0)
    made.take_asks()
    now, asked = 0.0, []
    while (due := made.deadline()) < float("inf"):
        now = due
        made.hurry(now)
        asked += made.take_asks()
    assert asked == [(peer(2), [name(7)])], "nobody is asked twice: a link loses nothing"
    assert now == pytest.approx((2 + MAX_WAITS) * ANSWER_TIMEOUT)
    assert not made._holders


def test_whoever_offers_late_is_asked_when_the_others_are_silent() -> None:
    made = spread(1, 2)
    made.offer(peer(1), name(7), 0.0)
    made.hurry(ANSWER_TIMEOUT)
    made.offer(peer(2), name(7), 0.3)
    made.take_asks()
    made.hurry(0.3 + ANSWER_TIMEOUT)
    assert made.take_asks() == [(peer(2), [name(7)])]


def test_a_far_neighbour_has_more_time_to_answer() -> None:
    made = Spread({peer(1): 0.4, peer(2): None}.get)
    for number in (1, 2):
        made.link(peer(number))
        made.offer(peer(number), name(number), 0.0)
    made.offer(peer(2), name(1), 0.0)
    made.take_asks()
    assert made.deadline() == ANSWER_TIMEOUT
    made.hurry(ANSWER_TIMEOUT)
    made.hurry(3 * ANSWER_TIMEOUT)
    assert made.take_asks() == []
    made.hurry(ANSWER_TRIPS * 0.4)
    assert made.take_asks() == [(peer(2), [name(1)])]


def test_announcements_wait_for_company_but_the_first_does_not() -> None:
    made = spread(1)
    made.announce(name(1), ())
    assert made.take_announcements(10.0) == [(peer(1), {name(1): False})]
    made.announce(name(2), ())
    made.announce(name(3), (), whole=True)
    assert made.take_announcements(10.01) == []
    assert made.deadline() == 10.0 + COALESCE
    assert made.take_announcements(10.06) == [(peer(1), {name(2): False, name(3): True})]


def test_who_says_that_it_has_an_entry_is_not_told_of_it() -> None:
    made = spread(1, 2)
    made.announce(name(1), ())
    made.has(peer(1), name(1))
    assert made.take_announcements(0.0) == [(peer(2), {name(1): False})]


def test_whatever_happens_what_somebody_offers_is_asked_for_or_forgotten() -> None:
    """Random neighbours come, go, offer, give and keep silent; then all is quiet, and nothing hangs."""
    for seed in range(30):
        dice = random.Random(seed)
        made, linked, now = Spread(), set[int](), 0.0
        for _ in range(400):
            now += dice.uniform(0, 0.2)
            number = dice.randrange(5)
            match dice.choice(("link", "unlink", "offer", "offer", "give", "hurry")):
                case "link" if number not in linked:
                    made.link(peer(number))
                    linked.add(number)
                case "unlink" if number in linked:
                    made.unlink(peer(number), now)
                    linked.discard(number)
                case "offer" if number in linked:
                    made.offer(peer(number), name(dice.randrange(50)), now)
                case "give" if number in linked:
                    made.arrive(peer(number), name(dice.randrange(50)), now)
                case "hurry":
                    made.hurry(now)
            for who, _ in made.take_asks():
                assert who in {peer(number) for number in linked}
        for _ in range(100):
            now += 1.0
            made.hurry(now)
            made.take_asks()
        assert made.deadline() == float("inf")
        assert not made._holders
        assert not made._asked
