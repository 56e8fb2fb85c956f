"""A proposer's side of exactly-once: order, repeats, withdrawal."""

from __future__ import annotations

import pytest

from p2praft.errors import HistoryEnded, OutcomeUnknown
from p2praft.groups.applier import Applied
from p2praft.groups.proposals import MAX_PENDING, RETRY_DELAY, Proposals
from p2praft.raft.entries import Commands, OpenSession
from p2praft.raft.sessions import SessionTable, Verdict
from p2praft.raft.types import Index

NONCE = b"n" * 16


@pytest.fixture
def proposals() -> Proposals:
    return Proposals(nonce=NONCE, forward_timeout=1.0)


def open_session(proposals: Proposals, session: int = 7) -> None:
    proposal = proposals.next_proposal(0.0)
    assert proposal is not None
    assert proposal[1] == OpenSession(nonce=NONCE)
    proposals.on_applied(Applied(session=session, nonce=NONCE), 0.0)


def take(proposals: Proposals, now: float = 0.0) -> tuple[int, Commands]:
    proposal = proposals.next_proposal(now)
    assert proposal is not None
    assert isinstance(proposal[1], Commands)
    return proposal[0], proposal[1]


def applied(session: int, first: int, *values: bytes) -> Applied:
    return Applied(session=session, outcomes=tuple((first + at, True, value) for at, value in enumerate(values)))


def test_the_first_call_opens_a_session(proposals: Proposals) -> None:
    assert proposals.next_proposal(0.0) is None
    proposals.add((b"a",))
    open_session(proposals)
    assert take(proposals)[1] == Commands(session=7, first=1, settled=0, commands=(b"a",))


def test_calls_travel_in_order_in_one_entry(proposals: Proposals) -> None:
    first, second = proposals.add((b"a", b"b")), proposals.add((b"c",))
    open_session(proposals)
    _, batch = take(proposals)
    assert batch.commands == (b"a", b"b", b"c")
    assert proposals.next_proposal(0.0) is None
    proposals.on_applied(applied(7, 1, b"A", b"B", b"C"), 0.0)
    assert first.results == [(True, b"A"), (True, b"B")]
    assert second.results == [(True, b"C")]
    assert first.is_set()
    assert second.is_set()
    assert proposals.idle


def test_an_index_comes_before_the_commit(proposals: Proposals) -> None:
    call = proposals.add((b"a",))
    open_session(proposals)
    request, _ = take(proposals)
    proposals.on_answer(request, Index(12), 0.0)
    assert call.wait_index().is_set()
    assert call.index == 12
    assert not call.is_set()


def test_a_refusal_is_repeated_after_a_moment_with_the_same_numbers(proposals: Proposals) -> None:
    proposals.add((b"a",))
    open_session(proposals)
    request, sent = take(proposals)
    proposals.on_answer(request, Index(0), 5.0)
    assert proposals.next_proposal(5.0) is None
    assert take(proposals, 5.0 + RETRY_DELAY)[1] == sent


def test_after_a_change_of_leader_all_is_sent_again_in_order(proposals: Proposals) -> None:
    proposals.add((b"a",))
    open_session(proposals)
    take(proposals)
    proposals.add((b"b",))
    take(proposals)
    proposals.rewind(1.0)
    assert take(proposals, 1.0)[1] == Commands(session=7, first=1, settled=0, commands=(b"a", b"b"))


def test_a_result_that_comes_after_a_rewind_still_settles(proposals: Proposals) -> None:
    call = proposals.add((b"a",))
    open_session(proposals)
    take(proposals)
    proposals.rewind(1.0)
    proposals.on_applied(applied(7, 1, b"A"), 1.0)
    assert call.results == [(True, b"A")]
    assert proposals.idle
    assert proposals.next_proposal(2.0) is None


def test_silence_is_answered_by_sending_again(proposals: Proposals) -> None:
    proposals.add((b"a",))
    open_session(proposals)
    _, sent = take(proposals)
    assert proposals.resend_at == 1.0
    proposals.on_time(0.9)
    assert proposals.next_proposal(0.9) is None
    proposals.on_time(1.0)
    assert take(proposals, 1.0)[1] == sent


def test_what_is_overdue_is_not_put_off_by_what_is_sent_beside_it(proposals: Proposals) -> None:
    """Between two readings of the network nothing counts as overdue, but more may be sent."""
    proposals.add((b"a",))
    open_session(proposals)
    take(proposals)
    proposals.add((b"b",))
    take(proposals, 1.5)
    assert proposals.resend_at == 1.0


def test_only_what_was_never_sent_can_be_withdrawn(proposals: Proposals) -> None:
    call = proposals.add((b"a",))
    assert proposals.withdraw(call)
    assert proposals.idle
    call = proposals.add((b"b",))
    open_session(proposals)
    take(proposals)
    assert not proposals.withdraw(call)
    proposals.rewind(0.0)
    assert not proposals.withdraw(call)


def test_an_expired_session_is_replaced_and_the_calls_are_renumbered(proposals: Proposals) -> None:
    proposals.add((b"a",))
    open_session(proposals)
    take(proposals)
    proposals.on_applied(applied(7, 1, b"A"), 0.0)
    call = proposals.add((b"b",))
    assert take(proposals)[1].first == 2
    proposals.on_applied(Applied(session=7, verdict=Verdict.EXPIRED), 0.0)
    open_session(proposals, session=20)
    assert take(proposals)[1] == Commands(session=20, first=1, settled=0, commands=(b"b",))
    proposals.on_applied(applied(20, 1, b"B"), 0.0)
    assert call.results == [(True, b"B")]


def test_failing_tells_every_caller(proposals: Proposals) -> None:
    call = proposals.add((b"a",))
    error = RuntimeError("closed")
    proposals.fail(error)
    assert call.failure is error
    assert call.is_set()
    assert call.wait_index().is_set()


def test_large_queues_are_sent_in_bounded_entries(proposals: Proposals) -> None:
    for _ in range(MAX_PENDING):
        proposals.add((b"x",))
    open_session(proposals)
    first = 1
    while (proposal := proposals.next_proposal(0.0)) is not None:
        assert isinstance(proposal[1], Commands)
        assert proposal[1].first == first
        assert len(proposal[1].commands) <= 4096
        first += len(proposal[1].commands)
    assert first == MAX_PENDING + 1


def test_what_is_slow_to_arrive_is_sent_again_ever_more_rarely_until_something_comes(proposals: Proposals) -> None:
    proposals.add((b"a",))
    open_session(proposals)
    take(proposals)
    pauses = []
    now = 0.0
    for _ in range(6):
        pauses.append(proposals.resend_at - now)
        now = proposals.resend_at
        proposals.on_time(now)
        take(proposals, now)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 16.0]
    proposals.add((b"b",))
    take(proposals, now)
    proposals.on_applied(applied(7, 1, b"A"), now)
    assert proposals.resend_at == now + 1.0


def test_a_gap_is_answered_once_not_once_for_everything_behind_it(proposals: Proposals) -> None:
    proposals.add((b"a",))
    open_session(proposals)
    take(proposals)  # this one is lost
    for command in (b"b", b"c", b"d"):
        proposals.add((command,))
        take(proposals)
    gap = Applied(session=7, verdict=Verdict.GAP)
    proposals.on_applied(gap, 0.1)
    assert take(proposals, 0.1)[1].commands == (b"a", b"b", b"c", b"d")
    for _ in range(2):  # what was under way behind it
        proposals.on_applied(gap, 0.2)
        assert proposals.next_proposal(0.2) is None
    proposals.on_applied(applied(7, 1, b"A", b"B"), 0.3)
    proposals.on_applied(Applied(session=7, verdict=Verdict.GAP, last=2), 0.4)
    assert take(proposals, 0.4)[1].commands == (b"c", b"d"), "another gap"


def test_silence_behind_a_gap_is_answered_by_sending_again(proposals: Proposals) -> None:
    proposals.add((b"a",))
    open_session(proposals)
    take(proposals)
    proposals.on_applied(Applied(session=7, verdict=Verdict.GAP), 0.1)
    take(proposals, 0.1)  # lost as well
    assert proposals.resend_at < float("inf")
    proposals.on_time(proposals.resend_at)
    assert take(proposals, proposals.resend_at)[1].commands == (b"a",)


def test_a_session_that_expired_out_of_sight_leaves_what_was_sent_unknown(proposals: Proposals) -> None:
    sent = proposals.add((b"a",))
    open_session(proposals)
    take(proposals)
    kept = proposals.add((b"b",))
    proposals.on_restored(SessionTable(), 5.0)
    assert isinstance(sent.failure, OutcomeUnknown)
    assert sent.is_set()
    assert not kept.is_set()
    assert proposals.pending == 1
    open_again = proposals.next_proposal(5.0)
    assert open_again is not None
    assert isinstance(open_again[1], OpenSession)
    proposals.on_applied(Applied(session=9, nonce=NONCE), 5.0)
    assert take(proposals, 5.0)[1] == Commands(session=9, first=1, settled=0, commands=(b"b",))


@pytest.mark.parametrize("archived", [True, False])
def test_what_was_sent_in_a_history_that_is_given_up_fails_and_the_rest_is_proposed_anew(
    proposals: Proposals, archived: bool
) -> None:
    sent = proposals.add((b"a",))
    open_session(proposals)
    take(proposals)
    unsent = proposals.add((b"b",))
    proposals.on_history_left(b"\xab" * 16, 1.0, archived=archived)
    assert isinstance(sent.failure, HistoryEnded)
    assert isinstance(sent.failure, OutcomeUnknown)
    assert sent.failure.history == "ab" * 16
    assert ("archive abababab" in str(sent.failure)) is archived
    assert not unsent.is_set()
    proposal = proposals.next_proposal(1.0)
    assert proposal is not None
    assert proposal[1] == OpenSession(nonce=NONCE)
    proposals.on_applied(Applied(session=3, nonce=NONCE), 1.0)
    assert take(proposals, 1.0)[1] == Commands(session=3, first=1, settled=0, commands=(b"b",))


def test_a_session_that_was_born_again_without_what_it_had_acknowledged_is_replaced(proposals: Proposals) -> None:
    first = proposals.add((b"a",))
    open_session(proposals)
    take(proposals)
    proposals.on_applied(applied(7, 1, b"A"), 0.0)
    assert first.is_set()
    second = proposals.add((b"b",))
    take(proposals)
    proposals.on_applied(Applied(session=7, verdict=Verdict.GAP, last=0), 1.0)
    proposals.on_applied(Applied(session=7, verdict=Verdict.GAP, last=0), 1.0)
    proposal = proposals.next_proposal(1.0)
    assert proposal is not None
    assert proposal[1] == OpenSession(nonce=NONCE)
    proposals.on_applied(Applied(session=9, nonce=NONCE), 1.0)
    assert take(proposals, 1.0)[1] == Commands(session=9, first=1, settled=0, commands=(b"b",))
    proposals.on_applied(applied(9, 1, b"B"), 1.0)
    assert second.results == [(True, b"B")]
