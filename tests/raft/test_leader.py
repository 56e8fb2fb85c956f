"""Leaders: replication, commits, reads, check-quorum, transfer, the voter set."""

from __future__ import annotations

from p2praft.raft.effects import Accepted, Readable
from p2praft.raft.entries import Commands, Configuration, OpenSession
from p2praft.raft.follower import Follower
from p2praft.raft.leader import COMMIT_DELAY, Leader
from p2praft.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Message,
    Propose,
    ProposeResponse,
    ReadIndex,
    ReadIndexResponse,
    RequestVoteResponse,
    TimeoutNow,
)
from p2praft.raft.progress import WINDOW_MESSAGES
from p2praft.raft.types import Index, Member, Term, Vote
from tests.raft.support import Bench, at, entry, member, only, standing


def response(
    bench: Bench,
    *,
    matched: bool,
    index: int,
    term: int | None = None,
    round_number: int = 0,
    vote: Vote = Vote.GRANTED,
) -> AppendEntriesResponse:
    entry_term = bench.engine.ctx.log.term_at(index) if term is None else term
    assert entry_term is not None
    return AppendEntriesResponse(
        term=bench.engine.term,
        vote=vote if matched else Vote.ABSTAINED,
        matched=matched,
        last=at(entry_term, index),
        round=round_number,
    )


def lead_without(bench: Bench, laggard: Member) -> None:
    """Lead by the votes of the others; nothing is known of the laggard's log."""
    bench.campaign()
    for voter in bench.voters[1:]:
        if voter != laggard:
            bench.receive(RequestVoteResponse(term=bench.engine.term, vote=Vote.GRANTED, supports=True), voter)
            bench.acknowledge(voter)


def propose(bench: Bench, request: int = 1) -> list[tuple[Member, Message]]:
    bench.engine.propose(request, OpenSession(nonce=bytes(16)))
    return bench.sent()


def answers(bench: Bench, kind: type) -> list[object]:
    return [answer for effects in bench.effects for answer in effects.answers if isinstance(answer, kind)]


# --- commits


def test_an_entry_commits_once_a_majority_holds_it() -> None:
    bench = Bench(5, 2)
    bench.lead()
    propose(bench)
    index = bench.engine.last.index
    bench.acknowledge(bench.voters[1])
    assert bench.engine.commit == index - 1
    bench.acknowledge(bench.voters[2])
    assert bench.engine.commit == index


def test_the_leaders_own_copy_counts_only_when_it_is_durable() -> None:
    bench = Bench(3, 2)
    bench.lead()
    bench.auto_persist = False
    propose(bench)
    index = bench.engine.last.index
    write = bench.effects[-1].write
    assert write is not None
    bench.acknowledge(bench.voters[1])
    assert bench.engine.commit == index - 1
    bench.engine.persisted(write.serial, bench.now)
    bench.take()
    assert bench.engine.commit == index


def test_the_leader_replicates_in_parallel_with_its_own_write() -> None:
    """Thesis, section 10.2.1."""
    bench = Bench(3, 2)
    bench.lead()
    bench.auto_persist = False
    assert len(only(propose(bench), AppendEntries)) == 2


def test_entries_of_earlier_terms_do_not_commit_by_counting() -> None:
    """Raft paper, section 5.4.2 and figure 8."""
    bench = Bench(3, 2, 2)
    bench.campaign()
    bench.receive(RequestVoteResponse(term=Term(3), vote=Vote.ABSTAINED, supports=True), bench.voters[1])
    bench.receive(response(bench, matched=True, index=3), bench.voters[1])
    assert bench.engine.commit == 0
    bench.receive(response(bench, matched=True, index=4), bench.voters[1])
    assert bench.engine.commit == 4


def test_an_abstention_does_not_count_for_commits() -> None:
    bench = Bench(3, 2)
    bench.lead()
    propose(bench)
    before = bench.engine.commit
    bench.acknowledge(*bench.voters[1:], vote=Vote.ABSTAINED)
    assert bench.engine.commit == before


def test_who_proposed_hears_of_the_commit_at_once_and_the_others_a_moment_later() -> None:
    """Each of these messages costs a datagram; whoever waits for nothing is told with the next entries, or soon."""
    bench = Bench(3, 2)
    bench.lead()
    bench.advance(0.001)  # the first heartbeat
    bench.receive(Propose(request=1, payload=OpenSession(nonce=bytes(16))), bench.voters[2])
    sent = bench.acknowledge(bench.voters[1])
    told = [(to, m.leader_commit) for to, m in sent if isinstance(m, AppendEntries)]
    assert told == [(bench.voters[2], bench.engine.commit)]
    assert bench.engine.deadline <= bench.now + COMMIT_DELAY
    later = bench.advance(COMMIT_DELAY)
    assert [to for to, m in later if isinstance(m, AppendEntries)] == [bench.voters[1]]


def test_a_read_of_a_process_that_died_does_not_answer_its_successors() -> None:
    """Both number their requests from 1; the older one was asked before a write that the newer one must see."""
    bench = Bench(3, 2)
    bench.lead()
    two, three = bench.voters[1:]
    old_round = bench.leader.replication.round
    propose(bench)
    bench.receive(ReadIndex(request=1), two)
    written = AppendEntriesResponse(
        term=bench.engine.term, vote=Vote.GRANTED, matched=True, last=bench.engine.last, round=old_round
    )
    bench.receive(written, three)
    acknowledged = bench.engine.commit
    bench.engine.bond_down(two, bench.now)
    bench.bond(two)
    sent = bench.receive(ReadIndex(request=1), two) + bench.acknowledge(three)
    assert [m.index for to, m in sent if to == two and isinstance(m, ReadIndexResponse)] == [acknowledged]


def test_who_may_read_hears_of_the_commit_with_the_answer() -> None:
    bench = Bench(3, 2)
    bench.lead()
    propose(bench)
    bench.acknowledge(bench.voters[1])
    bench.receive(ReadIndex(request=1), bench.voters[2])
    sent = bench.acknowledge(bench.voters[1])
    kinds = [type(m) for to, m in sent if to == bench.voters[2]]
    assert ReadIndexResponse in kinds
    assert {m.leader_commit for to, m in bench.history() if to == bench.voters[2] and isinstance(m, AppendEntries)} >= {
        bench.engine.commit
    }


def test_a_leader_that_slept_looks_at_what_came_meanwhile_before_it_resigns() -> None:
    """A process that got no processor for a second must not give up a quorum whose answers wait in its socket."""
    bench = Bench(3, 2)
    bench.lead()
    bench.advance(0.01)
    bench.now += 5.0
    bench.engine.tick(bench.now)
    bench.sent()
    assert bench.engine.is_leader
    bench.acknowledge(bench.voters[1])
    bench.advance(bench.engine.ctx.config.election_timeout)
    assert bench.engine.is_leader


def test_a_leader_that_slept_and_hears_nobody_resigns_soon_after() -> None:
    bench = Bench(3, 2)
    bench.lead()
    bench.advance(0.01)
    bench.now += 5.0
    bench.engine.tick(bench.now)
    bench.advance(3 * bench.engine.ctx.config.heartbeat_interval)
    assert not bench.engine.is_leader


def test_a_burst_of_callers_between_two_readings_costs_no_leader() -> None:
    """Each caller's turn lets time pass, but nobody could be heard: heartbeats leave, and nobody's silence counts."""
    bench = Bench(3, 2)
    bench.lead()
    config = bench.engine.ctx.config
    sent = bench.advance(3 * config.election_timeout, deaf=True)
    assert bench.engine.is_leader
    assert len(only(sent, AppendEntries)) >= 2 * 3 * config.election_timeout / (2 * config.heartbeat_interval)
    bench.advance(0.01)
    assert bench.engine.is_leader, "what came meanwhile is to be read first"
    bench.acknowledge(bench.voters[1])
    bench.advance(config.election_timeout)
    assert bench.engine.is_leader


def test_a_leader_that_hears_nobody_between_bursts_of_callers_resigns() -> None:
    bench = Bench(3, 2)
    bench.lead()
    for _ in range(20):
        bench.advance(0.05, deaf=True)
        bench.advance(0.05)
    assert not bench.engine.is_leader


# --- replication


def test_a_follower_that_lacks_entries_is_met_where_the_logs_agree() -> None:
    """Raft paper, figure 7, (a) and (b): missing entries."""
    bench = Bench(3, 2, 2, 2)
    lead_without(bench, bench.voters[1])
    (message,) = only(bench.receive(response(bench, matched=False, index=2), bench.voters[1]), AppendEntries)
    assert message.prev == at(2, 2)
    assert [entry.index for entry in message.entries] == [3, 4, 5]


def test_a_follower_with_other_entries_is_met_below_their_term() -> None:
    """Raft paper, figure 7, (e) and (f): entries of terms that never committed."""
    bench = Bench(3, 2, 4, 4)
    lead_without(bench, bench.voters[1])
    (message,) = only(bench.receive(response(bench, matched=False, index=4, term=3), bench.voters[1]), AppendEntries)
    assert message.prev == at(2, 2)


def test_what_is_known_to_match_is_never_sent_again() -> None:
    bench = Bench(3, 2, 2)
    bench.lead()
    bench.receive(response(bench, matched=False, index=0, term=0), bench.voters[1])
    assert bench.leader.replication.progress[bench.voters[1]].next == bench.engine.last.index + 1


def test_replication_is_pipelined_up_to_a_window() -> None:
    bench = Bench(3, 2)
    bench.lead()
    sent = [message for number in range(WINDOW_MESSAGES + 10) for message in propose(bench, number)]
    to_one = [message for to, message in sent if to == bench.voters[1] and isinstance(message, AppendEntries)]
    assert len(to_one) == WINDOW_MESSAGES
    assert bench.leader.replication.progress[bench.voters[1]].next == to_one[-1].last.index + 1
    caught = bench.receive(response(bench, matched=True, index=to_one[-1].last.index), bench.voters[1])
    assert sum(len(m.entries) for to, m in caught if to == bench.voters[1] and isinstance(m, AppendEntries)) == 10


def test_a_stopped_follower_holds_nobody_up() -> None:
    bench = Bench(3, 2)
    bench.lead()
    for number in range(WINDOW_MESSAGES * 3):
        propose(bench, number)
        bench.acknowledge(bench.voters[1])
    assert bench.engine.commit == bench.engine.last.index


def test_a_heartbeat_repeats_what_a_probe_lost() -> None:
    bench = Bench(3, 2)
    lead_without(bench, bench.voters[1])
    bench.receive(response(bench, matched=False, index=1), bench.voters[1])
    again = [m for to, m in bench.advance(0.15) if to == bench.voters[1] and isinstance(m, AppendEntries)]
    assert again
    assert again[0].prev == at(1, 1)


def test_too_much_that_is_uncommitted_is_refused() -> None:
    bench = Bench(3, 2)
    bench.lead()
    big = Commands(session=1, first=1, settled=0, commands=(bytes(1024 * 1024),) * 2)
    for number in range(30):
        bench.engine.propose(number, big)
    bench.take()
    indices = [answer.index for answer in answers(bench, Accepted) if isinstance(answer, Accepted)]
    assert 0 in indices
    assert indices[0] > 0


def test_proposals_of_others_are_answered_with_their_index() -> None:
    bench = Bench(3, 2)
    bench.lead()
    sent = bench.receive(Propose(request=7, payload=OpenSession(nonce=bytes(16))), bench.voters[1])
    assert only(sent, ProposeResponse) == [ProposeResponse(request=7, index=bench.engine.last.index)]


def test_a_follower_refuses_proposals_and_reads() -> None:
    bench = Bench(3, 2)
    sent = bench.receive(Propose(request=7, payload=OpenSession(nonce=bytes(16))), bench.voters[1])
    assert sent == [(bench.voters[1], ProposeResponse(request=7, index=Index(0)))]
    sent = bench.receive(ReadIndex(request=8), bench.voters[1])
    assert sent == [(bench.voters[1], ReadIndexResponse(request=8, index=Index(0)))]


# --- reads (thesis, section 6.4)


def test_a_read_is_answered_once_a_quorum_confirmed_a_round_that_began_after_it() -> None:
    bench = Bench(3, 2)
    bench.lead()
    before = bench.engine.commit
    bench.engine.read(5)
    bench.take()
    assert answers(bench, Readable) == []
    bench.acknowledge(bench.voters[1])
    assert answers(bench, Readable) == [Readable(request=5, index=before)]


def test_a_confirmation_of_an_earlier_round_does_not_serve_a_read() -> None:
    bench = Bench(3, 2)
    bench.lead()
    old = bench.leader.replication.round
    bench.engine.read(5)
    bench.take()
    bench.receive(response(bench, matched=True, index=bench.engine.last.index, round_number=old), bench.voters[1])
    assert answers(bench, Readable) == []


def test_observers_do_not_confirm_reads() -> None:
    bench = Bench(3, 2, observers=3)
    bench.lead()
    bench.engine.read(5)
    bench.take()
    bench.acknowledge(*bench.members[3:], vote=Vote.ABSTAINED)
    bench.acknowledge(*bench.members[3:], vote=Vote.GRANTED)
    assert answers(bench, Readable) == []


def test_a_read_waits_for_the_first_commit_of_the_leaders_term() -> None:
    bench = Bench(3, 2)
    bench.campaign()
    bench.receive(RequestVoteResponse(term=Term(3), vote=Vote.GRANTED, supports=True), bench.voters[1])
    bench.engine.read(5)
    bench.take()
    bench.receive(response(bench, matched=True, index=2, round_number=99), bench.voters[1])
    assert answers(bench, Readable) == []
    bench.acknowledge(bench.voters[1])
    bench.acknowledge(bench.voters[1])
    assert answers(bench, Readable) == [Readable(request=5, index=bench.engine.commit)]


def test_reads_are_told_to_ask_again_when_the_leader_steps_down() -> None:
    bench = Bench(3, 2)
    bench.lead()
    bench.engine.read(5)
    bench.receive(ReadIndex(request=6), bench.voters[1])
    from tests.raft.support import append

    sent = bench.receive(append(9, at(2, 2)), bench.voters[2])
    assert only(sent, ReadIndexResponse) == [ReadIndexResponse(request=6, index=Index(0))]
    assert answers(bench, Readable) == [Readable(request=5, index=Index(0))]


# --- check-quorum and transfer


def test_a_leader_that_hears_no_majority_resigns() -> None:
    """Thesis, section 6.2."""
    bench = Bench(3, 2)
    bench.lead()
    bench.advance(1.3)
    assert isinstance(bench.engine.role, Follower)
    assert bench.engine.leader is None


def test_a_leader_that_hears_a_majority_stays() -> None:
    bench = Bench(3, 2)
    bench.lead()
    for _ in range(10):
        bench.advance(0.5)
        bench.acknowledge(bench.voters[1])
    assert bench.engine.is_leader


def test_a_transfer_waits_until_the_target_has_everything() -> None:
    bench = Bench(3, 2)
    bench.lead()
    propose(bench)
    assert bench.engine.transfer_leadership(bench.voters[1], bench.now)
    assert only(bench.sent(), TimeoutNow) == []
    assert only(bench.acknowledge(bench.voters[1]), TimeoutNow) == [TimeoutNow(term=bench.engine.term)]


def test_during_a_transfer_nothing_is_taken_and_it_is_given_up_after_an_election_timeout() -> None:
    bench = Bench(3, 2)
    bench.lead()
    bench.engine.transfer_leadership(None, bench.now)
    propose(bench, 9)
    assert answers(bench, Accepted)[-1] == Accepted(request=9, index=Index(0))
    for _ in range(8):
        bench.advance(0.2)
        bench.acknowledge(*bench.voters[1:])
    propose(bench, 10)
    assert answers(bench, Accepted)[-1] != Accepted(request=10, index=Index(0))


# --- the voter set (thesis, section 4.1)


def joined(bench: Bench, number: int) -> Member:
    newcomer = member(number)
    bench.engine.bond_up(newcomer, bench.now)
    says = standing(bench.genesis, founded=True)
    bench.receive(says, newcomer)
    return newcomer


def configurations(bench: Bench) -> list[Configuration]:
    entries = bench.engine.ctx.log.slice(1, bench.engine.last.index, 1 << 30)
    return [entry.payload for entry in entries if isinstance(entry.payload, Configuration)]


def test_a_member_is_added_only_once_it_has_caught_up() -> None:
    bench = Bench(2, 2)
    bench.lead()
    newcomer = joined(bench, 9)
    bench.beat(*bench.voters[1:])
    assert configurations(bench) == []
    bench.acknowledge(newcomer)
    bench.beat(*bench.voters[1:], newcomer, rounds=2)
    assert configurations(bench) == [Configuration(voters=(*bench.voters, newcomer))]


def test_one_change_at_a_time() -> None:
    bench = Bench(1, 2)
    bench.lead()
    newcomers = [joined(bench, 8), joined(bench, 9)]
    bench.beat(*newcomers, rounds=2)
    bench.advance(0.15)
    for _ in range(3):
        bench.acknowledge(newcomers[1])
        bench.advance(0.15)
    assert len(configurations(bench)) == 1, "the first newcomer must hold the change, too"
    bench.beat(*newcomers)
    assert len(configurations(bench)) == 2


def test_a_new_voter_counts_as_soon_as_it_stands_in_the_log() -> None:
    bench = Bench(1, 2)
    bench.lead()
    newcomer = joined(bench, 9)
    bench.beat(newcomer, rounds=2)
    bench.advance(0.15)
    assert newcomer in bench.engine.voters
    before = bench.engine.commit
    propose(bench)
    assert bench.engine.commit == before, "two voters: both must hold it"
    bench.acknowledge(newcomer)
    assert bench.engine.commit == bench.engine.last.index


def test_no_change_before_the_leader_has_committed_in_its_own_term() -> None:
    bench = Bench(3, 2)
    bench.campaign()
    bench.receive(RequestVoteResponse(term=Term(3), vote=Vote.GRANTED, supports=True), bench.voters[1])
    leaving = standing(bench.genesis, founded=True, leaving=True)
    bench.receive(leaving, bench.voters[2])
    bench.advance(0.3)
    assert configurations(bench) == []


def test_a_leader_that_is_no_voter_any_more_resigns_once_that_is_committed() -> None:
    bench = Bench(3, 2)
    bench.lead()
    bench.leader.append(Configuration(voters=tuple(bench.voters[1:])), bench.me.peer_id, bench.engine.ctx)
    bench.take()
    assert bench.engine.is_leader
    bench.acknowledge(*bench.voters[1:])
    assert isinstance(bench.engine.role, Follower)


def test_a_voter_that_is_away_does_not_keep_an_idle_leader_awake() -> None:
    bench = Bench(3, 2)
    bench.lead()
    bench.engine.bond_down(bench.voters[2], bench.now)
    bench.engine.propose(1, OpenSession(nonce=bytes(16)))
    bench.take()
    answer = AppendEntriesResponse(
        term=bench.engine.term, vote=Vote.GRANTED, matched=True, last=bench.engine.last, round=9
    )
    bench.receive(answer, bench.voters[1])
    assert bench.engine.commit == bench.engine.last.index
    ticks = 0
    end = bench.now + 0.14  # less than to the next heartbeat but one
    while bench.engine.deadline < end:
        bench.now = bench.engine.deadline
        bench.engine.tick(bench.now)
        bench.take()
        ticks += 1
    assert ticks <= 3


def test_a_voter_that_was_replaced_is_forgotten() -> None:
    bench = Bench(3, 2)
    bench.lead()
    leader = bench.engine.role
    assert isinstance(leader, Leader)
    gone = bench.voters[2]
    bench.engine.bond_down(gone, bench.now)
    left = Configuration(voters=tuple(bench.voters[:2]))
    bench.engine.ctx.persist((entry(bench.engine.term, bench.engine.last.index + 1, left),))
    bench.take()
    bench.now = bench.engine.deadline
    bench.engine.tick(bench.now)
    assert gone not in leader.replication.progress
