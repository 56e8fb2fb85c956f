"""Compaction, snapshots and catching up from several members, on one engine (Raft paper, section 7)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from p2praft import LeadershipPreference
from p2praft.raft.catchup import FAR_BEHIND, MAX_HELD, PATIENCE, RANGE, WINDOW, digest_of
from p2praft.raft.effects import SendChunk, StoreChunk
from p2praft.raft.entries import LogEntry, Snapshot
from p2praft.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    FetchChunk,
    FetchedChunk,
    FetchedEntries,
    FetchEntries,
    InstallSnapshot,
)
from p2praft.raft.types import NO_DIGEST, Index, Member, Term, Vote
from tests.raft.support import HISTORY, Bench, append, at, base, entry, only, standing

CHUNKS = [b"first", b"second", b"third"]


def snapshot_at(bench: Bench, term: int, index: int, chunks: list[bytes] = CHUNKS) -> Snapshot:
    stands_for = base(at(term, index), bench.genesis)
    return Snapshot(base=stands_for, chunks=len(chunks), digest=digest_of(hashlib.sha256(c).digest() for c in chunks))


def offer(bench: Bench, member: Member, snapshot: Snapshot | None) -> None:
    says = standing(bench.genesis, founded=True, snapshot=snapshot)
    bench.engine.receive(says, member, bench.now, history=HISTORY)


def install(index: int) -> InstallSnapshot:
    return InstallSnapshot(term=Term(2), base=at(2, index), round=1)


def asked(sent: Sequence[tuple[Member, object]]) -> dict[Member, list[int]]:
    """Which chunks were asked of whom."""
    found: dict[Member, list[int]] = {}
    for to, message in sent:
        if isinstance(message, FetchChunk):
            found.setdefault(to, []).append(message.number)
    return found


def give(bench: Bench, snapshot: Snapshot, number: int, sender: Member, data: bytes | None) -> list[StoreChunk]:
    """Have a chunk arrive; what is to be stored."""
    message = FetchedChunk(digest=snapshot.digest, number=number, data=data)
    seen = len(bench.effects)
    bench.receive(message, sender)
    return [chunk for e in bench.effects[seen:] for chunk in e.chunks if isinstance(chunk, StoreChunk)]


def fetch_all(bench: Bench, snapshot: Snapshot, requests: dict[Member, list[int]]) -> None:
    for sender, numbers in requests.items():
        for number in numbers:
            for chunk in give(bench, snapshot, number, sender, CHUNKS[number]):
                bench.engine.chunk_stored(chunk.fetch, chunk.number, bench.now)
    bench.take()


def take_snapshot(bench: Bench, snapshot: Snapshot) -> bool:
    """Have the last voter give a snapshot, and install it; whether it was of use."""
    leader, giver = bench.voters[1], bench.voters[-1]
    offer(bench, giver, snapshot)
    message = InstallSnapshot(term=Term(max(bench.engine.term, snapshot.base.last.term)), base=at(2, 4), round=1)
    fetch_all(bench, snapshot, asked(bench.receive(message, leader)))
    return bench.engine.install(snapshot, bench.now)


# --- the leader's side


def compacted_leader(entries: int = 20) -> Bench:
    bench = Bench(3, *[2] * entries, observers=1)
    bench.lead()
    bench.engine.ctx.compact(snapshot_at(bench, 2, entries), 0)
    bench.take()
    assert bench.engine.ctx.log.base == at(2, entries)
    return bench


def test_a_follower_that_needs_what_was_compacted_is_told_to_install_a_snapshot() -> None:
    bench = compacted_leader()
    refusal = AppendEntriesResponse(term=bench.engine.term, vote=Vote.ABSTAINED, matched=False, last=at(2, 5), round=0)
    sent = bench.receive(refusal, bench.members[3])
    assert only(sent, InstallSnapshot) == [InstallSnapshot(term=bench.engine.term, base=at(2, 20), round=0)]
    assert only(bench.receive(refusal, bench.members[3]), InstallSnapshot) == [], "once a heartbeat"
    assert len(only(bench.advance(bench.engine.ctx.config.heartbeat_interval), InstallSnapshot)) == 1


def test_a_follower_whose_log_differs_where_the_leaders_begins_needs_a_snapshot_too() -> None:
    bench = compacted_leader()
    refusal = AppendEntriesResponse(term=bench.engine.term, vote=Vote.ABSTAINED, matched=False, last=at(1, 20), round=0)
    sent = bench.receive(refusal, bench.members[3])
    assert len(only(sent, InstallSnapshot)) == 1
    assert only(sent, AppendEntries) == []


def test_after_the_snapshot_the_leader_goes_on_behind_it() -> None:
    bench = compacted_leader()
    refusal = AppendEntriesResponse(term=bench.engine.term, vote=Vote.ABSTAINED, matched=False, last=at(2, 5), round=0)
    bench.receive(refusal, bench.members[3])
    done = AppendEntriesResponse(term=bench.engine.term, vote=Vote.GRANTED, matched=True, last=at(2, 20), round=0)
    [message] = only(bench.receive(done, bench.members[3]), AppendEntries)
    assert message.prev == at(2, 20)


def test_a_follower_that_is_fetching_gets_heartbeats_only() -> None:
    bench = Bench(3, *[2] * 20, observers=1)
    bench.lead()
    answer = AppendEntriesResponse(
        term=bench.engine.term, vote=Vote.ABSTAINED, matched=False, last=at(2, 5), round=0, fetching=True
    )
    assert only(bench.receive(answer, bench.members[3]), AppendEntries) == []
    beats = [m for to, m in bench.advance(0.2) if to == bench.members[3] and isinstance(m, AppendEntries)]
    assert beats
    assert all(beat.entries == () for beat in beats)


# --- the follower's side


def test_chunks_are_asked_of_followers_and_not_of_the_leader() -> None:
    bench = Bench(4, 2, 2)
    leader, *followers = bench.voters[1:]
    snapshot = snapshot_at(bench, 2, 50)
    for member in bench.voters[1:]:
        offer(bench, member, snapshot)
    requests = asked(bench.receive(install(40), leader))
    assert set(requests) == set(followers)
    assert sorted(number for numbers in requests.values() for number in numbers) == [0, 1, 2]


def test_the_leader_gives_if_nobody_else_can() -> None:
    bench = Bench(3, 2, 2)
    leader = bench.voters[1]
    offer(bench, leader, snapshot_at(bench, 2, 50))
    assert asked(bench.receive(install(40), leader)) == {leader: [0, 1, 2]}


def test_a_snapshot_that_ends_before_the_leaders_log_begins_is_of_no_use() -> None:
    bench = Bench(3, 2, 2)
    offer(bench, bench.voters[2], snapshot_at(bench, 2, 30))
    sent = bench.receive(install(40), bench.voters[1])
    assert asked(sent) == {}
    [answer] = only(sent, AppendEntriesResponse)
    assert not answer.fetching


def test_all_chunks_stored_the_snapshot_replaces_the_log() -> None:
    bench = Bench(3, 2, 2)
    leader, giver = bench.voters[1:]
    snapshot = snapshot_at(bench, 2, 50)
    offer(bench, giver, snapshot)
    fetch_all(bench, snapshot, asked(bench.receive(install(40), leader)))
    assert bench.effects[-1].restore == snapshot
    assert bench.engine.install(snapshot, bench.now)
    [answer] = only(bench.sent(), AppendEntriesResponse)
    assert (answer.matched, answer.last, answer.vote) == (True, at(2, 50), Vote.GRANTED)
    assert bench.engine.commit == 50
    assert bench.engine.last == at(2, 50)
    write = next(e.write for e in reversed(bench.effects) if e.write is not None)
    assert write.snapshot == snapshot
    assert write.base == snapshot.base
    assert write.replace_from == 51


@pytest.mark.parametrize("how", ["silence", "refusal", "bond"])
def test_a_giver_that_fails_is_replaced(how: str) -> None:
    bench = Bench(4, 2, 2)
    leader, one, other = bench.voters[1:]
    snapshot = snapshot_at(bench, 2, 50)
    offer(bench, one, snapshot)
    offer(bench, other, snapshot)
    requests = asked(bench.receive(install(40), leader))
    owed = requests[one]
    if how == "refusal":
        seen = len(bench.history())
        give(bench, snapshot, owed[0], one, None)
        sent = bench.history()[seen:]
    elif how == "bond":
        bench.engine.bond_down(one, bench.now)
        sent = bench.sent()
    else:
        bench.advance(0.2)
        give(bench, snapshot, requests[other][0], other, CHUNKS[requests[other][0]])
        sent = bench.advance(PATIENCE * bench.engine.ctx.config.election_timeout + 0.1)
    assert set(owed) <= set(asked(sent)[other])


def test_a_giver_that_is_only_slow_is_waited_for() -> None:
    """A chunk every other second on a bad link is progress, and must not be thrown away."""
    bench = Bench(3, 2, 2)
    leader, giver = bench.voters[1:]
    chunks = [bytes([at]) for at in range(8)]
    snapshot = snapshot_at(bench, 2, 50, chunks)
    offer(bench, giver, snapshot)
    bench.receive(install(40), leader)
    for number, data in enumerate(chunks):
        bench.advance((PATIENCE - 1) * bench.engine.ctx.config.election_timeout)
        [chunk] = give(bench, snapshot, number, giver, data)
        bench.engine.chunk_stored(chunk.fetch, number, bench.now)
        bench.take()
    assert bench.effects[-1].restore == snapshot


def test_ranges_that_wait_for_one_before_them_are_bounded() -> None:
    bench = Bench(4, 2, 2)
    sent = bench.receive(append(2, at(2, 100 * RANGE)), bench.voters[1])
    queue = [(to, m) for to, m in sent if isinstance(m, FetchEntries)]
    asked_for = [m.first for _, m in queue]
    while queue:
        to, request = queue.pop(0)
        if request.first == 4:
            continue  # the first of all is not answered
        entries = numbered(request.first, request.last)
        more = bench.receive(
            FetchedEntries(first=request.first, prev=at(2, request.first - 1), digest=NO_DIGEST, entries=entries), to
        )
        queue += [(to, m) for to, m in more if isinstance(m, FetchEntries)]
        asked_for += [m.first for _, m in more if isinstance(m, FetchEntries)]
    assert len(asked_for) <= MAX_HELD + 2 * WINDOW


def test_a_snapshot_with_a_wrong_digest_is_dropped() -> None:
    bench = Bench(3, 2, 2)
    leader, giver = bench.voters[1:]
    snapshot = snapshot_at(bench, 2, 50)
    offer(bench, giver, snapshot)
    bench.receive(install(40), leader)
    for number in range(3):
        for chunk in give(bench, snapshot, number, giver, b"garbage"):
            bench.engine.chunk_stored(chunk.fetch, chunk.number, bench.now)
    assert all(effects.restore is None for effects in bench.take())
    assert not bench.engine.catch_up.fetching


def test_no_more_than_a_window_is_asked_of_one_member() -> None:
    bench = Bench(3, 2, 2)
    leader, giver = bench.voters[1:]
    chunks = [bytes([at]) for at in range(50)]
    snapshot = snapshot_at(bench, 2, 50, chunks)
    offer(bench, giver, snapshot)
    assert asked(bench.receive(install(40), leader)) == {giver: list(range(WINDOW))}
    [chunk] = give(bench, snapshot, 0, giver, chunks[0])
    seen = len(bench.history())
    bench.engine.chunk_stored(chunk.fetch, 0, bench.now)
    bench.take()
    assert asked(bench.history()[seen:]) == {giver: [WINDOW]}, "the disk's pace bounds what is under way"


def test_an_observer_does_not_count_with_its_snapshot() -> None:
    bench = Bench(3, 2, 2, preference=LeadershipPreference.OBSERVER)
    bench.receive(append(2, at(2, 3)), bench.voters[1])
    assert take_snapshot(bench, snapshot_at(bench, 2, 50))
    [answer] = only(bench.sent(), AppendEntriesResponse)
    assert answer.vote is Vote.ABSTAINED


# --- entries from others


def far_behind() -> tuple[Bench, Member, list[tuple[Member, object]]]:
    """A member that has just heard that it is 5,000 entries behind its leader."""
    bench = Bench(4, 2, 2)
    leader = bench.voters[1]
    sent = bench.receive(append(2, at(2, 3 + FAR_BEHIND + 1000)), leader)
    return bench, leader, list(sent)


def test_a_member_far_behind_asks_followers_for_entries_and_the_leader_for_none() -> None:
    bench, _, sent = far_behind()
    ranges = [(to, m.first, m.last) for to, m in sent if isinstance(m, FetchEntries)]
    assert {to for to, _, _ in ranges} == set(bench.voters[2:])
    assert [first for _, first, _ in ranges][:2] == [4, 1028]
    [answer] = only(sent, AppendEntriesResponse)  # type: ignore[arg-type]
    assert answer.fetching


def numbered(first: int, last: int) -> tuple[LogEntry, ...]:
    return tuple(entry(2, index) for index in range(first, last + 1))


def test_ranges_are_appended_in_order_whoever_answers_first() -> None:
    bench, _, sent = far_behind()
    owner = {m.first: to for to, m in sent if isinstance(m, FetchEntries)}
    late = FetchedEntries(first=Index(1028), prev=at(2, 1027), digest=NO_DIGEST, entries=numbered(1028, 2051))
    bench.receive(late, owner[Index(1028)])
    assert bench.engine.last == at(2, 3)
    early = FetchedEntries(first=Index(4), prev=at(2, 3), digest=NO_DIGEST, entries=numbered(4, 1027))
    bench.receive(early, owner[Index(4)])
    assert bench.engine.last == at(2, 2051)
    assert bench.engine.commit == 2051, "what others give is committed"


def test_an_answer_cut_short_is_asked_to_its_end() -> None:
    bench, _, sent = far_behind()
    owner = {m.first: to for to, m in sent if isinstance(m, FetchEntries)}
    short = FetchedEntries(first=Index(4), prev=at(2, 3), digest=NO_DIGEST, entries=numbered(4, 10))
    again = [m for _, m in bench.receive(short, owner[Index(4)]) if isinstance(m, FetchEntries)]
    assert (11, 1027) in [(m.first, m.last) for m in again]


def test_if_nobody_can_give_entries_the_leader_goes_on_as_usual() -> None:
    bench, leader, sent = far_behind()
    answers: list[AppendEntriesResponse] = []
    queue = [(to, m) for to, m in sent if isinstance(m, FetchEntries)]
    while queue:
        to, message = queue.pop(0)
        more = bench.receive(FetchedEntries(first=message.first, prev=at(0, 0), digest=NO_DIGEST, entries=()), to)
        queue += [(to, m) for to, m in more if isinstance(m, FetchEntries)]
        answers += [m for to, m in more if isinstance(m, AppendEntriesResponse) and to == leader]
    assert not bench.engine.catch_up.fetching
    [answer] = answers
    assert (answer.matched, answer.fetching, answer.last) == (False, False, at(2, 3))


def test_only_committed_entries_are_given() -> None:
    bench = Bench(3, *[2] * 9)
    bench.receive(append(2, at(2, 10), commit=6), bench.voters[1])
    [answer] = only(bench.receive(FetchEntries(first=Index(3), last=Index(10)), bench.voters[2]), FetchedEntries)
    assert [e.index for e in answer.entries] == [3, 4, 5, 6]
    assert answer.prev == at(2, 2)


def test_our_own_tail_that_was_never_committed_is_not_built_upon() -> None:
    bench = Bench(4, 1, 1, term=2)
    leader = bench.voters[1]
    sent = bench.receive(append(2, at(2, 3 + FAR_BEHIND + 1000)), leader)
    to, request = next((to, m) for to, m in sent if isinstance(m, FetchEntries))
    bench.receive(FetchedEntries(first=request.first, prev=at(2, 3), digest=NO_DIGEST, entries=numbered(4, 9)), to)
    assert bench.engine.last == at(1, 3)
    assert not bench.engine.catch_up.fetching, "the leader finds where the logs part"


def test_a_chunk_is_read_for_whoever_asks_for_the_newest_snapshot() -> None:
    bench = Bench(3, *[2] * 9)
    bench.engine.ctx.commit_up_to(8)
    snapshot = snapshot_at(bench, 2, 8)
    bench.engine.ctx.compact(snapshot, 0)
    bench.take()
    bench.receive(FetchChunk(digest=snapshot.digest, number=1), bench.voters[2])
    assert [chunk for effects in bench.effects for chunk in effects.chunks] == [
        SendChunk(to=bench.voters[2], digest=snapshot.digest, number=1)
    ]
    [refusal] = only(bench.receive(FetchChunk(digest=bytes(32), number=1), bench.voters[2]), FetchedChunk)
    assert refusal.data is None
