"""Strong reads on their way to the leader and back."""

from __future__ import annotations

import pytest

from p2praft.groups.queries import Queries
from p2praft.raft.types import Index


@pytest.fixture
def queries() -> Queries:
    return Queries(forward_timeout=2.0)


def test_reads_of_one_turn_share_a_request(queries: Queries) -> None:
    reads = [queries.add() for _ in range(3)]
    assert queries.next_request(0.0) == 1
    assert queries.next_request(0.0) is None
    queries.on_answer(1, Index(7), 0.1, retry_delay=0.05)
    queries.serve(Index(6))
    assert not reads[0].ready.is_set()
    queries.serve(Index(7))
    assert all(read.ready.is_set() for read in reads)


def test_a_read_that_comes_later_needs_a_request_of_its_own(queries: Queries) -> None:
    queries.add()
    assert queries.next_request(0.0) == 1
    late = queries.add()
    assert queries.next_request(0.0) == 2
    queries.on_answer(1, Index(1), 0.1, retry_delay=0.05)
    queries.serve(Index(9))
    assert not late.ready.is_set()


def test_a_refusal_is_asked_again_after_a_moment(queries: Queries) -> None:
    queries.add()
    assert queries.next_request(0.0) == 1
    queries.on_answer(1, Index(0), 1.0, retry_delay=0.05)
    assert queries.next_request(1.0) is None
    assert queries.resend_at == 1.05
    assert queries.next_request(1.05) == 2


def test_after_a_change_of_leader_the_next_request_waits_its_whole_time(queries: Queries) -> None:
    """A deadline left in the past would have the worker ask again without end."""
    queries.add()
    assert queries.next_request(0.0) == 1
    queries.rewind(5.0)
    assert queries.next_request(5.0) == 2
    assert queries.resend_at == 7.0


def test_silence_is_asked_again(queries: Queries) -> None:
    queries.add()
    queries.next_request(0.0)
    assert queries.resend_at == 2.0
    queries.rewind(2.0)
    assert queries.next_request(2.0) == 2


def test_what_is_overdue_is_not_put_off_by_what_is_asked_beside_it(queries: Queries) -> None:
    """Between two readings of the network nothing counts as overdue, but more may be asked."""
    queries.add()
    queries.next_request(0.0)
    queries.add()
    assert queries.next_request(2.5) == 2
    assert queries.resend_at == 2.0


def test_a_caller_that_gave_up_is_forgotten_everywhere(queries: Queries) -> None:
    waiting, asked, indexed = queries.add(), queries.add(), queries.add()
    queries.withdraw(waiting)
    assert queries.next_request(0.0) == 1
    queries.withdraw(asked)
    queries.on_answer(1, Index(3), 0.0, retry_delay=0.05)
    queries.withdraw(indexed)
    queries.serve(Index(3))
    assert not indexed.ready.is_set()


def test_failing_tells_every_reader(queries: Queries) -> None:
    one = queries.add()
    queries.next_request(0.0)
    other = queries.add()
    error = RuntimeError("closed")
    queries.fail(error)
    assert one.failure is other.failure is error


def test_another_history_says_nothing_about_the_indices_of_the_old(queries: Queries) -> None:
    indexed, asked = queries.add(), None
    assert queries.next_request(0.0) == 1
    queries.on_answer(1, Index(50), 0.1, retry_delay=0.05)
    asked = queries.add()
    assert queries.next_request(0.1) == 2
    queries.restart(0.2)
    queries.on_answer(2, Index(50), 0.2, retry_delay=0.05)  # of the old history, late
    queries.serve(Index(60))
    assert not indexed.ready.is_set()
    assert not asked.ready.is_set()
    assert queries.next_request(0.2) == 3
    queries.on_answer(3, Index(2), 0.3, retry_delay=0.05)
    queries.serve(Index(60))
    assert indexed.ready.is_set()
    assert asked.ready.is_set()
