"""RFC 6298, section 2, by the numbers."""

from __future__ import annotations

import pytest

from discovery.rtt import RoundTrip


def test_the_first_sample_is_taken_as_it_is() -> None:
    measured = RoundTrip()
    measured.add(0.2)
    assert (measured.srtt, measured.rttvar) == (0.2, 0.1)
    assert measured.timeout(0.0) == pytest.approx(0.2 + 4 * 0.1)


def test_later_samples_move_the_variation_before_the_time() -> None:
    measured = RoundTrip(srtt=0.2, rttvar=0.1)
    measured.add(0.4)
    assert measured.rttvar == pytest.approx(0.75 * 0.1 + 0.25 * 0.2)
    assert measured.srtt == pytest.approx(7 / 8 * 0.2 + 0.4 / 8)


def test_an_answer_is_never_late_before_the_clock_can_tell() -> None:
    measured = RoundTrip()
    assert measured.timeout(1.0) == 1.0
    for _ in range(200):
        measured.add(0.1)
    assert measured.timeout(0.0) == pytest.approx(0.101, abs=0.0005)
    assert measured.timeout(0.5) == 0.5
