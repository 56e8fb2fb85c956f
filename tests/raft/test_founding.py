"""How a group gets its one history: DESIGN, "Where we differ from mosaik", 3, rule by rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from p2praft import LeadershipPreference
from p2praft.raft.effects import HardState, Restored
from p2praft.raft.follower import Follower
from p2praft.raft.leader import Leader
from p2praft.raft.messages import (
    START,
    AppendEntries,
    AppendEntriesResponse,
    Base,
    Genesis,
    Index,
    InstallSnapshot,
    Member,
    Message,
    OpenSession,
    PreVote,
    RequestVote,
    Snapshot,
    Standing,
    Term,
    Vote,
)
from tests.raft.support import HISTORY, Bench, Lone, append, at, genesis, log, member, standing

OTHER = b"o" * 16


def writer(number: int = 1, others: Sequence[int] = (2, 3)) -> Lone:
    """An engine that has written its genesis, not yet committed."""
    birth = Lone(number)
    for other in others:
        birth.meet(member(other), standing())
    birth.wait(1.2)
    assert birth.held() is not None
    assert not birth.engine.ctx.founded
    return birth


def founder(number: int = 2, *, volatile: bool = False) -> tuple[Lone, Genesis, Member]:
    """An engine that holds the uncommitted genesis which member 1 wrote for 1, 2 and 3."""
    founders = [member(1, volatile=volatile), member(2, volatile=volatile), member(3, volatile=volatile)]
    entries = log(founders)
    first = entries[0].payload
    assert isinstance(first, Genesis)
    birth = Lone(number, volatile=volatile)
    birth.meet(founders[0], standing(first, attempt=1))
    birth.meet(founders[2 if number == 2 else 1], standing())
    birth.hear(append(1, START, *entries), founders[0], history=first.history)
    assert birth.held() == first
    return birth, first, founders[0]


def answers(messages: Sequence[Message]) -> list[AppendEntriesResponse]:
    """Those to a leader."""
    return [message for message in messages if isinstance(message, AppendEntriesResponse)]


# --- who writes, and when


def test_the_lowest_of_expect_bonded_members_writes_and_names_all_as_founders() -> None:
    birth = writer()
    written = birth.held()
    assert written is not None
    assert written.writer == birth.me
    assert written.founders == (member(1), member(2), member(3))
    assert isinstance(birth.engine.role, Leader)
    assert not birth.engine.is_leader, "nothing is led before the history is founded"


def test_who_may_not_found_writes_nothing_until_it_may() -> None:
    birth = Lone(1)
    birth.engine.may_found(False, birth.now)
    for other in (2, 3):
        birth.meet(member(other), standing())
    birth.wait(60)
    assert birth.held() is None
    birth.engine.may_found(True, birth.now)
    birth.wait(0.1)
    assert birth.held() is not None


def test_nobody_writes_before_the_bootstrap_delay() -> None:
    birth = Lone(1)
    for other in (2, 3):
        birth.meet(member(other), standing())
    birth.wait(0.9)
    assert birth.held() is None


def test_a_higher_member_waits_for_the_lowest() -> None:
    birth = Lone(2)
    for other in (1, 3):
        birth.meet(member(other), standing())
    birth.wait(30)
    assert birth.held() is None


def test_a_reluctant_member_leaves_the_writing_to_a_normal_one() -> None:
    birth = Lone(1, preference=LeadershipPreference.reluctant(3))
    for other in (2, 3):
        birth.meet(member(other), standing())
    birth.wait(30)
    assert birth.held() is None


def test_nobody_writes_below_expect_and_observers_do_not_count() -> None:
    birth = Lone(1)
    birth.meet(member(2), standing())
    birth.meet(member(3), standing(factor=0.0))
    birth.wait(30)
    assert birth.held() is None


def test_an_observer_never_writes() -> None:
    birth = Lone(1, expect=1, preference=LeadershipPreference.OBSERVER)
    birth.wait(30)
    assert birth.held() is None


def test_nobody_writes_beside_a_founded_history() -> None:
    birth = Lone(1)
    for other in (2, 3):
        birth.meet(member(other), standing())
    birth.meet(member(4), standing(genesis([member(4)], history=OTHER), founded=True, attempt=1))
    birth.wait(30)
    assert birth.held() is None


def test_the_genesis_leaves_only_once_its_writer_cannot_forget_it() -> None:
    birth = Lone(1)
    for other in (2, 3):
        birth.meet(member(other), standing())
    early = birth.wait(1.2, persist=False)
    assert birth.held() is not None
    assert not [message for message in early if isinstance(message, AppendEntries)]
    birth.engine.persisted(birth.writes[-1].serial, birth.now)
    assert [message for message in birth.wait(0.2) if isinstance(message, AppendEntries)]


# --- who commits, and when


def test_the_writer_commits_only_when_every_founder_holds_it() -> None:
    birth = writer()
    birth.hold(member(2))
    assert birth.engine.commit == 0, "a majority is not enough before there is a history"
    birth.hold(member(3))
    assert birth.engine.commit >= 1
    assert birth.engine.ctx.founded
    assert birth.engine.is_leader


def test_nobody_hears_of_the_commit_before_the_writer_cannot_forget_it() -> None:
    birth = writer()
    birth.hold(member(2))
    answer = AppendEntriesResponse(term=Term(1), vote=Vote.GRANTED, matched=True, last=birth.engine.last, round=1)
    messages = birth.hear(answer, member(3), persist=False) + birth.wait(0.3, persist=False)
    assert birth.engine.commit == 0
    assert not [m for m in messages if isinstance(m, AppendEntries) and m.leader_commit]
    assert not [m for m in messages if isinstance(m, Standing) and m.founded]


def test_who_is_no_founder_gets_nothing_uncommitted() -> None:
    birth = writer()
    birth.meet(member(4), standing())
    birth.wait(1)
    assert not [o for o in birth.sent if o.to == member(4) and isinstance(o.message, AppendEntries)]


def test_nothing_is_taken_before_the_commit_is_durable() -> None:
    birth = writer()
    birth.hold(member(2))
    birth.hear(
        AppendEntriesResponse(term=Term(1), vote=Vote.GRANTED, matched=True, last=birth.engine.last, round=1),
        member(3),
        persist=False,
    )
    assert birth.engine.ctx.founded
    birth.engine.propose(1, OpenSession(nonce=bytes(16)))
    assert birth.engine.last.index == 1, "an entry that only the others keep would make them deny us for ever"


def test_a_no_op_follows_the_genesis_and_who_is_no_founder_is_fed_once_that_is_committed() -> None:
    birth = writer()
    birth.meet(member(9), standing())
    birth.hold(member(2))
    birth.hold(member(3))
    assert (birth.engine.commit, birth.engine.last.index) == (1, 2)
    birth.wait(0.5)
    assert not [out for out in birth.sent if out.to == member(9) and isinstance(out.message, AppendEntries)]
    birth.hold(member(2))  # it holds the no-op, and so knows of the commit
    birth.wait(0.2)
    assert birth.engine.commit == 2
    assert [out for out in birth.sent if out.to == member(9) and isinstance(out.message, AppendEntries)]


def test_a_founder_learns_from_anybody_that_its_genesis_is_founded() -> None:
    birth, first, its_writer = founder()
    birth.engine.bond_down(its_writer, birth.now)
    assert not birth.engine.ctx.state.founded
    birth.meet(member(3), standing(first, founded=True, attempt=0))
    assert birth.engine.ctx.founded
    birth.wait(2.0)
    assert any(isinstance(out.message, PreVote) for out in birth.sent), "it may lead now"


def test_who_is_no_founder_does_not_take_an_uncommitted_genesis() -> None:
    entries = log([member(1), member(2), member(3)])
    first = entries[0].payload
    assert isinstance(first, Genesis)
    birth = Lone(4)
    birth.meet(member(1), standing(first, attempt=1))
    birth.hear(append(1, START, *entries), member(1), history=first.history)
    assert birth.held() is None
    birth.hear(append(1, START, *entries, commit=1), member(1), history=first.history)
    assert birth.held() == first
    assert birth.engine.commit == 1


def test_nobody_campaigns_in_an_uncommitted_genesis() -> None:
    birth, _, _ = founder()
    messages = birth.wait(30)
    assert not [m for m in messages if isinstance(m, PreVote | RequestVote)]
    assert birth.engine.commit == 0


# --- taking back and dropping


def test_the_writer_takes_back_when_a_founder_is_lost_and_says_so_once_that_is_durable() -> None:
    birth = writer()
    written = birth.held()
    assert written is not None
    birth.engine.bond_down(member(3), birth.now)
    early = birth.take(persist=False)
    assert birth.held() is None
    assert not [m for m in early if isinstance(m, Standing)]
    write = birth.writes[-1]
    assert write.clear
    assert write.state is not None
    assert write.state.attempt > written.attempt
    birth.engine.persisted(write.serial, birth.now)
    said = [m for m in birth.take() if isinstance(m, Standing)]
    assert said
    assert all(m.genesis is None and m.attempt > written.attempt for m in said)


def test_the_writer_takes_back_when_it_meets_a_lower_writer() -> None:
    birth = writer(2, (3, 4))
    birth.meet(member(1), standing(genesis([member(1), member(5), member(6)], history=OTHER), attempt=1))
    assert birth.held() is None


def test_the_writer_keeps_its_genesis_when_it_meets_a_higher_writer() -> None:
    birth = writer()
    kept = birth.held()
    birth.meet(member(4), standing(genesis([member(4), member(5), member(6)], history=OTHER), attempt=1))
    assert birth.held() == kept


def test_the_writer_takes_back_when_it_meets_a_founded_history() -> None:
    birth = writer()
    birth.meet(member(9), standing(genesis([member(9)], history=OTHER), founded=True, attempt=1))
    assert birth.held() is None


def test_a_founded_history_is_never_taken_back() -> None:
    birth = writer()
    birth.hold(member(2))
    birth.hold(member(3))
    kept = birth.held()
    birth.engine.bond_down(member(3), birth.now)
    birth.engine.bond_down(member(2), birth.now)
    birth.wait(10)
    assert birth.held() == kept


def test_a_founder_waits_for_a_writer_that_is_merely_away() -> None:
    birth, first, its_writer = founder()
    birth.engine.bond_down(its_writer, birth.now)
    birth.wait(100)
    assert birth.held() == first


def test_a_founder_drops_when_the_writer_shows_a_higher_attempt_without_it() -> None:
    birth, first, its_writer = founder()
    birth.hear(standing(None, attempt=1), its_writer)
    assert birth.held() == first, "an older word than the genesis itself says nothing"
    birth.hear(standing(None, attempt=2), its_writer)
    assert birth.held() is None
    assert isinstance(birth.engine.role, Follower)


def test_a_genesis_that_was_taken_back_is_not_taken_up_again_from_a_late_message() -> None:
    birth, first, its_writer = founder()
    birth.hear(standing(None, attempt=2), its_writer)
    birth.hear(append(1, START, *log(first.founders)), its_writer, history=first.history)
    assert birth.held() is None


def test_a_genesis_is_void_once_all_founders_know_that_its_writer_is_gone_and_none_of_a_commit() -> None:
    birth, first, its_writer = founder(volatile=True)
    third = member(3, volatile=True)
    birth.hear(standing(first, attempt=0), third)
    birth.meet(replace_incarnation(its_writer), standing())
    assert birth.held() == first, "the third may still hear of a commit from the writer"
    birth.hear(standing(first, gone=[its_writer]), third)
    assert birth.held() is None


def test_a_genesis_is_not_void_if_a_founder_knows_of_its_commit() -> None:
    birth, first, its_writer = founder(volatile=True)
    birth.hear(standing(first, founded=True, gone=[its_writer]), member(3, volatile=True))
    birth.meet(replace_incarnation(its_writer), standing())
    assert birth.held() == first


def test_a_genesis_of_a_durable_writer_is_never_void() -> None:
    birth, first, its_writer = founder()
    birth.hear(standing(first, gone=[its_writer]), member(3))
    birth.meet(replace_incarnation(its_writer), standing())
    assert birth.held() == first


def replace_incarnation(old: Member) -> Member:
    """The same peer, back without its memory."""
    return Member(old.peer_id, b"\xff" * 8, old.volatile)


# --- crashes of the writer


def test_a_sole_founder_that_crashed_before_its_commit_goes_on_where_it_was() -> None:
    state = HardState(term=Term(1), vote=member(1), attempt=1)
    entries = log([member(1)])
    birth = Lone(1, expect=1, restored=Restored(state=state, entries=entries))
    assert birth.held() == entries[0].payload
    assert birth.engine.is_leader
    assert birth.engine.commit >= 1


def test_a_writer_that_restarts_before_the_commit_takes_back_for_its_founders_are_not_bonded() -> None:
    founders = [member(1), member(2), member(3)]
    state = HardState(term=Term(1), vote=member(1), attempt=1)
    birth = Lone(1, restored=Restored(state=state, entries=log(founders)))
    birth.wait(5)
    assert birth.held() is None
    assert birth.writes[-1].state is not None
    assert birth.writes[-1].state.attempt == 2


def test_a_writer_that_restarts_founded_is_an_ordinary_member() -> None:
    founders = [member(1), member(2), member(3)]
    state = HardState(term=Term(1), vote=member(1), attempt=1, founded=True)
    birth = Lone(1, restored=Restored(state=state, entries=log(founders)))
    assert isinstance(birth.engine.role, Follower)
    birth.wait(5)
    assert birth.held() is not None


# --- two founded histories


def test_of_two_founded_histories_the_one_with_fewer_founders_yields_and_is_archived() -> None:
    bench = Bench(3, 1)
    bigger = genesis([member(number) for number in range(4, 9)], history=OTHER)
    bench.bond(member(4), first=bigger)
    effects = bench.take()
    assert bench.engine.ctx.genesis is None
    writes = [effect.write for effect in effects if effect.write is not None]
    assert writes
    assert writes[0].clear
    assert writes[0].archive


def test_a_founder_that_was_not_told_of_the_commit_yields_like_its_writer() -> None:
    birth, _, its_writer = founder()
    senior = genesis([member(number) for number in range(4, 9)], history=OTHER)
    birth.hear(
        standing(senior, founded=True, attempt=1), its_writer
    )  # it had founded ours, and yielded: no higher attempt
    assert birth.held() is None
    assert birth.writes[-1].clear
    assert birth.writes[-1].archive, "some of it may have been acknowledged"


def test_a_founder_does_not_yield_to_a_junior_history_but_waits_for_its_writer() -> None:
    birth, first, _ = founder()
    birth.meet(member(9), standing(genesis([member(9)], history=OTHER), founded=True, attempt=1))
    assert birth.held() == first


def test_a_history_that_was_yielded_is_never_taken_up_again() -> None:
    birth, first, its_writer = founder()
    entries = log([member(1), member(2), member(3)])
    senior = genesis([member(number) for number in range(4, 9)], history=OTHER)
    birth.meet(member(4), standing(senior, founded=True, attempt=1))
    assert birth.held() is None
    birth.hear(append(1, START, *entries, commit=1), its_writer, history=first.history)
    assert birth.held() is None, "it would acknowledge and vote anew, and has forgotten how it did before"
    theirs = log([member(number) for number in range(4, 9)], first=senior)
    birth.hear(append(1, START, *theirs, commit=1), member(4), history=OTHER)
    assert birth.held() == senior


def test_who_only_follows_a_history_buries_it_when_all_of_its_voters_have_lost_their_memory() -> None:
    voters = [member(1, volatile=True), member(2, volatile=True)]
    entries = log(voters)
    first = entries[0].payload
    assert isinstance(first, Genesis)
    birth = Lone(9, preference=LeadershipPreference.OBSERVER)
    birth.meet(voters[0], standing(first, founded=True, attempt=1))
    birth.hear(append(1, START, *entries, commit=1), voters[0], history=first.history)
    assert birth.held() == first
    birth.meet(member(1, volatile=True, incarnation=2), standing())
    assert birth.held() == first, "one voter is left"
    birth.meet(member(2, volatile=True, incarnation=2), standing())
    assert birth.held() is None
    assert birth.writes[-1].archive
    assert [out.message.genesis for out in birth.sent if isinstance(out.message, Standing)][-1] is None, (
        "they may found"
    )


def test_a_history_that_was_buried_and_goes_on_finds_the_promises_that_were_made_in_it() -> None:
    voters = [member(1, volatile=True), member(2, volatile=True)]
    entries = log(voters)
    first = entries[0].payload
    assert isinstance(first, Genesis)
    birth = Lone(9, volatile=True)
    birth.meet(voters[0], standing(first, founded=True, attempt=1))
    birth.hear(append(1, START, *entries, commit=1), voters[0], history=first.history)
    birth.hear(RequestVote(term=Term(7), last=at(1, 2)), voters[0])
    for number in (1, 2):
        birth.meet(member(number, volatile=True, incarnation=2), standing())
    assert birth.held() is None
    successor = member(3, volatile=True)
    birth.meet(successor, standing(first, founded=True))
    (refusal,) = answers(birth.hear(append(6, at(1, 1), commit=1), successor, history=first.history))
    assert refusal.term == 7, "it has a vote in term 7 to tell of"
    assert birth.held() is None
    birth.hear(append(7, START, *entries, commit=1), successor, history=first.history)
    assert birth.held() == first
    assert (birth.engine.term, birth.engine.ctx.state.vote) == (7, voters[0])


def test_who_has_just_taken_a_snapshot_of_old_voters_waits_for_the_leader_to_name_the_new_ones() -> None:
    """Seed 107164: it buried what it had fetched, fetched it again, and so on for ever."""
    old = [member(1, volatile=True), member(2, volatile=True)]
    first = genesis(old)
    birth = Lone(9, volatile=True)
    for number in (1, 2):
        birth.meet(member(number, volatile=True, incarnation=2), standing())
    leader = member(1, volatile=True, incarnation=2)
    base = Base(last=at(4, 40), time=0.0, genesis=first, voters=tuple(old), voters_index=Index(1))
    offer = Snapshot(base=base, chunks=1, digest=bytes(32))
    birth.hear(replace(standing(first, founded=True), snapshot=offer), leader)
    birth.hear(InstallSnapshot(term=Term(5), base=base.last, round=1), leader, history=first.history)
    assert birth.engine.install(offer, birth.now)
    birth.take()
    assert birth.held() == first


def test_a_genesis_is_void_if_one_of_its_founders_holds_a_junior_history() -> None:
    """Seed 100236: its writer had lost its disk, and its founder waited for it beside the group that the others had founded."""
    birth, first, its_writer = founder()
    birth.engine.bond_down(its_writer, birth.now)
    junior = genesis([member(3), member(4)], history=OTHER, created=1.0)
    birth.hear(standing(junior, founded=True), member(4))
    assert birth.held() == first, "who is no founder proves nothing"
    birth.hear(standing(junior, founded=True), member(3))
    assert birth.held() is None


def test_a_member_without_history_answers_a_leader_that_takes_it_to_have_the_beginning_under_way() -> None:
    """Seed 109491: its first entries were lost, and it never said so."""
    birth = Lone(9)
    leader = member(1)
    birth.meet(leader, standing(genesis([leader]), founded=True))
    (refusal,) = answers(birth.hear(append(3, START, commit=5), leader, history=HISTORY))
    assert not refusal.matched
    assert refusal.last == START


def test_the_senior_history_stays() -> None:
    bench = Bench(3, 1)
    bench.bond(member(4), first=genesis([member(4)], history=OTHER))
    bench.take()
    kept = bench.engine.ctx.genesis
    assert kept is not None
    assert kept.history != OTHER


def test_a_message_of_a_junior_history_cannot_bring_down_the_senior_one() -> None:
    bench = Bench(3, 1)
    bench.receive(append(99, START, commit=1), member(2), history=OTHER)
    assert bench.engine.term == 1
    assert bench.engine.last == at(1, 2)
