"""The log: truncation, agreement, voter sets, and what is durable."""

from __future__ import annotations

from p2praft.raft.entries import Configuration
from p2praft.raft.log import Log
from tests.raft.support import at, entry, log, member

FOUNDERS = [member(1), member(2), member(3)]


def test_an_empty_log_ends_before_the_first_entry() -> None:
    assert Log().last == at(0, 0)
    assert Log().matches(at(0, 0))
    assert Log().voters == ()


def test_positions() -> None:
    held = Log(log(FOUNDERS, 2, 2))
    assert held.last == at(2, 3)
    assert held.matches(at(2, 2))
    assert not held.matches(at(1, 2))
    assert held.term_at(4) is None


def test_what_is_missing_begins_at_the_first_difference() -> None:
    """Raft paper, figure 2: "If an existing entry conflicts with a new one, delete it and all that follow it"."""
    held = Log(log(FOUNDERS, 2, 2))
    assert held.missing_from((entry(2, 2), entry(2, 3))) == ()
    assert held.missing_from((entry(2, 2), entry(3, 3), entry(3, 4))) == (entry(3, 3), entry(3, 4))
    held.append((entry(3, 3),))
    assert held.last == at(3, 3)


def test_agreement_skips_a_whole_conflicting_term() -> None:
    """Raft paper, end of section 5.3."""
    held = Log(log(FOUNDERS, 2, 4, 4, 4))
    assert held.agreement(at(3, 9)) == at(2, 2)
    assert held.agreement(at(4, 3)) == at(4, 3)
    assert held.agreement(at(9, 2)) == at(2, 2)


def test_a_voter_set_holds_from_where_it_stands_and_goes_with_its_entry() -> None:
    held = Log(log(FOUNDERS, 2))
    held.append((entry(2, 3, Configuration(voters=(member(1), member(2)))),))
    assert held.voters == (member(1), member(2))
    assert held.voters_index == 3
    held.append((entry(3, 3),))
    assert held.voters == tuple(FOUNDERS)
    assert held.voters_index == 1


def test_slices_are_bounded_but_never_empty() -> None:
    held = Log(log(FOUNDERS, 2, 2, 2))
    assert len(held.slice(1, 4, 1)) == 1
    assert len(held.slice(1, 4, 700)) == 2
    assert len(held.slice(1, 4, 1 << 30)) == 4
    assert held.slice(5, 4, 1) == ()


def test_what_was_read_at_the_start_is_durable() -> None:
    assert Log(log(FOUNDERS, 2)).stable == 2


def test_a_write_makes_durable_what_it_held() -> None:
    held = Log()
    held.append(log(FOUNDERS, 2))
    assert held.take_unwritten(1) == (1, log(FOUNDERS, 2))
    held.append((entry(2, 3),))
    held.take_unwritten(2)
    assert held.stable == 0
    held.persisted(1)
    assert held.stable == 2
    held.persisted(2)
    assert held.stable == 3


def test_a_write_that_a_truncation_overtook_vouches_for_no_more_than_is_left() -> None:
    """The A-B-A race of asynchronous appends: entry 3 was replaced by another while its write was under way."""
    held = Log(log(FOUNDERS, 2))
    held.append((entry(2, 3),))
    held.take_unwritten(1)
    held.append((entry(3, 3),))
    held.take_unwritten(2)
    held.append((entry(2, 3),))  # the first entry again, from a third leader: its new write is not done
    held.take_unwritten(3)
    held.persisted(1)
    assert held.stable == 2
    held.persisted(3)
    assert held.stable == 3
