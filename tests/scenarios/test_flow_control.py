"""How much a leader sends before it is answered."""

from __future__ import annotations

from p2praft.raft.context import MAX_APPEND
from p2praft.raft.entries import OpenSession
from p2praft.raft.leader import COMMIT_DELAY, MAX_UNCOMMITTED
from p2praft.raft.messages import AppendEntries
from p2praft.raft.progress import WINDOW_BYTES, WINDOW_MESSAGES
from tests.paper.cluster import Cluster
from tests.paper.support import Sent, accepted, holds, lacks, propose, sent_to, win
from tests.raft.support import Bench, at, pre_vote

MIB = 1024 * 1024


def filled(sent: Sent, bench: Bench, number: int) -> list[AppendEntries]:
    """The messages with entries to one voter."""
    return [message for message in sent_to(sent, bench.voters[number], AppendEntries) if message.entries]


def proposals(bench: Bench, count: int, *, size: int = 0) -> Sent:
    """Many proposals, each in its own batch; all that is sent because of them."""
    return [message for number in range(count) for message in propose(bench, number, size=size)]


# --- probing


def test_while_it_probes_it_sends_one_message_and_waits() -> None:
    bench = Bench(3, 2, 2)
    sent = win(bench, bench.voters[1])
    assert len(filled(sent, bench, 2)) == 1
    assert filled(proposals(bench, 20), bench, 2) == []


def test_a_heartbeat_tries_a_probe_again_once() -> None:
    bench = Bench(3, 2, 2)
    win(bench, bench.voters[1])
    for _ in range(3):
        bench.now = bench.leader.deadline
        bench.engine.tick(bench.now)
        sent = [*bench.sent(), *proposals(bench, 3)]
        [again] = filled(sent, bench, 2)
        assert again.prev == at(2, 3)


def test_an_answer_to_a_probe_opens_the_window() -> None:
    bench = Bench(3, 2, 2)
    [probe] = filled(win(bench, bench.voters[1]), bench, 2)
    proposals(bench, 5)
    caught_up = filled(bench.receive(holds(bench, probe.last), bench.voters[2]), bench, 2)
    assert [each.index for message in caught_up for each in message.entries] == [5, 6, 7, 8, 9]
    assert [len(filled(propose(bench), bench, 2)) for _ in range(3)] == [1, 1, 1]


def test_a_refusal_in_the_middle_of_the_flow_goes_back_to_probing() -> None:
    bench = Bench(3, 2)
    bench.lead()
    proposals(bench, 5)
    [again] = filled(bench.receive(lacks(bench, at(3, 4)), bench.voters[1]), bench, 1)
    assert [each.index for each in again.entries] == [5, 6, 7, 8]
    assert filled(proposals(bench, 5), bench, 1) == []


def test_a_message_that_was_lost_is_found_by_the_next_and_sent_again() -> None:
    """No heartbeat is needed: what comes after it is refused."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.propose(1)
    cluster.wire.popleft()  # to 2
    cluster.wire.popleft()  # to 3
    cluster.propose(1)
    cluster.deliver()
    assert cluster.terms(2) == cluster.terms(3) == [2, 2, 2]


def test_a_message_that_was_lost_is_found_by_a_heartbeat_if_nothing_else_comes() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.lost = lambda _sender, to, message: to == 3 and isinstance(message, AppendEntries)
    cluster.propose(1)
    cluster.deliver()
    cluster.lost = None
    cluster.run(0.15)
    assert cluster.terms(3) == [2, 2]


def test_a_bond_that_is_new_is_probed() -> None:
    """Whatever was on its way over the old one may be lost."""
    bench = Bench(3, 2)
    bench.lead()
    proposals(bench, 3)
    bench.engine.bond_down(bench.voters[1], bench.now)
    bench.bond(bench.voters[1])
    progress = bench.leader.replication.progress[bench.voters[1]]
    assert (progress.probing, progress.match) == (True, 3)


# --- the window


def test_no_more_messages_than_the_window_are_unanswered() -> None:
    bench = Bench(3, 2)
    bench.lead()
    sent = proposals(bench, WINDOW_MESSAGES + 20)
    assert len(filled(sent, bench, 1)) == WINDOW_MESSAGES


def test_no_more_bytes_than_the_window_are_unanswered() -> None:
    bench = Bench(3, 2)
    bench.lead()
    sent = filled(proposals(bench, 12, size=MIB), bench, 1)
    assert len(sent) == WINDOW_BYTES // MIB
    more = filled(bench.receive(holds(bench, sent[0].last), bench.voters[1]), bench, 1)
    assert len(more) == 1


def test_what_waited_for_the_window_leaves_together() -> None:
    """One answer frees one place, and the next message holds all that has gathered, up to its bound."""
    bench = Bench(3, 2)
    bench.lead()
    sent = filled(proposals(bench, WINDOW_MESSAGES + 20), bench, 1)
    more = filled(bench.receive(holds(bench, sent[0].last), bench.voters[1]), bench, 1)
    assert [len(message.entries) for message in more] == [20]


def test_an_answer_that_was_given_before_frees_nothing() -> None:
    bench = Bench(3, 2)
    bench.lead()
    sent = filled(proposals(bench, WINDOW_MESSAGES + 20), bench, 1)
    for index in (1, 2, 3):
        assert (
            filled(bench.receive(holds(bench, bench.engine.ctx.log.cursor_at(index)), bench.voters[1]), bench, 1) == []
        )
    assert filled(bench.receive(holds(bench, sent[-1].last), bench.voters[1]), bench, 1) != []


def test_with_a_full_window_heartbeats_still_go_but_carry_nothing() -> None:
    bench = Bench(3, 2)
    bench.lead()
    proposals(bench, WINDOW_MESSAGES + 20)
    beats = sent_to(bench.advance(0.3), bench.voters[1], AppendEntries)
    assert len(beats) >= 2
    assert [message for message in beats if message.entries] == []


def test_with_a_full_window_the_news_of_a_commit_still_goes() -> None:
    bench = Bench(3, 2)
    bench.lead()
    proposals(bench, WINDOW_MESSAGES + 20)
    sent = bench.acknowledge(bench.voters[1]) + bench.advance(COMMIT_DELAY)
    told = sent_to(sent, bench.voters[2], AppendEntries)
    assert {message.leader_commit for message in told} == {bench.engine.last.index}


def test_a_message_is_bounded_but_holds_at_least_one_entry() -> None:
    bench = Bench(3, 2)
    win(bench, bench.voters[1])
    proposals(bench, 20, size=MAX_APPEND // 4)
    propose(bench, 99, size=MIB)
    bench.receive(holds(bench, at(2, 2)), bench.voters[2])
    for message in [m for _, m in bench.history() if isinstance(m, AppendEntries)]:
        size = sum(each.size for each in message.entries)
        assert size <= MAX_APPEND or len(message.entries) == 1


def test_a_slow_follower_holds_up_neither_commits_nor_others() -> None:
    bench = Bench(3, 2)
    bench.lead()
    for number in range(WINDOW_MESSAGES * 4):
        assert len(filled(propose(bench, number), bench, 1)) == 1
        bench.acknowledge(bench.voters[1])
    assert bench.engine.commit == bench.engine.last.index


def test_a_slow_follower_gets_everything_in_the_end() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.slow.add(3)
    for _ in range(WINDOW_MESSAGES * 4):
        cluster.propose(1)
        cluster.deliver()
    assert len(cluster.terms(3)) <= WINDOW_MESSAGES + 1
    cluster.slow.clear()
    for _ in range(5):
        cluster.finish_writes(3)
        cluster.run(0.2)
    assert cluster.terms(3) == cluster.terms(1)


# --- what is uncommitted


def test_proposals_are_refused_while_too_much_is_uncommitted() -> None:
    bench = Bench(3, 2)
    bench.lead()
    proposals(bench, 40, size=MIB)
    taken = [index for index in accepted(bench).values() if index]
    assert len(taken) == (MAX_UNCOMMITTED - 64) // (MIB + 64)
    assert list(accepted(bench).values())[-1] == 0


def test_commits_make_room_for_proposals() -> None:
    bench = Bench(3, 2)
    bench.lead()
    for batch in range(3):
        proposals(bench, 31, size=MIB)
        assert 0 not in accepted(bench).values(), f"batch {batch}"
        bench.acknowledge(bench.voters[1])


def test_what_is_applied_later_counts_to_the_byte() -> None:
    """Many small entries come and go; in the end there is as much room as in the beginning."""
    bench = Bench(3, 2)
    bench.lead()
    for _ in range(10):
        for number in range(200):
            bench.engine.propose(number, OpenSession(nonce=bytes(16)))
        bench.take()
        bench.acknowledge(bench.voters[1])
    assert bench.leader._uncommitted == 0


def test_a_new_leader_has_all_the_room() -> None:
    """What it inherits is not its own proposals; its first entry is always taken."""
    bench = Bench(3, 2)
    bench.lead()
    proposals(bench, 40, size=MIB)
    bench.receive(pre_vote(9, at(1, 1)), bench.voters[1])
    last = bench.engine.last.index
    win(bench, bench.voters[1])
    assert bench.engine.last.index == last + 1
    propose(bench, 1000, size=MIB)
    assert accepted(bench)[1000] == last + 2
