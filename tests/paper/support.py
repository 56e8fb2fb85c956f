"""Short ways to say what a leader on a bench hears and says."""

from __future__ import annotations

from collections.abc import Sequence

from p2praft.raft.effects import Accepted, Readable
from p2praft.raft.entries import Commands, LogEntry, OpenSession
from p2praft.raft.messages import AppendEntriesResponse, Message, RequestVoteResponse
from p2praft.raft.types import Cursor, Member, Vote
from tests.raft.support import Bench, M, only

Sent = list[tuple[Member, Message]]

SESSION = OpenSession(nonce=bytes(16))


def win(bench: Bench, *voters: Member, vote: Vote = Vote.GRANTED) -> Sent:
    """Become the leader by the answers of ``voters`` alone; what is sent upon the election."""
    bench.campaign()
    sent: Sent = []
    for voter in voters:
        sent.extend(bench.receive(RequestVoteResponse(term=bench.engine.term, vote=vote, supports=True), voter))
    assert bench.engine.role.name == "leader"
    return sent


def holds(bench: Bench, last: Cursor, *, vote: Vote = Vote.GRANTED, round_number: int = 0) -> AppendEntriesResponse:
    """A follower's word that its log agrees with ours up to ``last``."""
    return AppendEntriesResponse(term=bench.engine.term, vote=vote, matched=True, last=last, round=round_number)


def lacks(bench: Bench, hint: Cursor) -> AppendEntriesResponse:
    """A follower's word that it lacks what we sent, and that the logs agree up to ``hint`` at the latest."""
    return AppendEntriesResponse(
        term=bench.engine.term, vote=Vote.ABSTAINED, matched=False, last=hint, round=bench.leader.replication.round
    )


def propose(bench: Bench, request: int = 1, *, size: int = 0) -> Sent:
    """Have the engine take a small payload, or one of ``size`` bytes; what is sent because of it."""
    payload = Commands(session=1, first=1, settled=0, commands=(bytes(size),)) if size else SESSION
    bench.engine.propose(request, payload)
    return bench.sent()


def sent_to(sent: Sequence[tuple[Member, Message]], to: Member, kind: type[M]) -> list[M]:
    """The messages of one kind to one member."""
    return only([(member, message) for member, message in sent if member == to], kind)


def entries_of(bench: Bench) -> tuple[LogEntry, ...]:
    """The whole log."""
    return bench.engine.ctx.log.between(1, bench.engine.last.index)


def committed(bench: Bench) -> list[LogEntry]:
    """All that was handed out to be applied, in the order in which it was."""
    return [entry for effects in bench.effects for entry in effects.committed]


def accepted(bench: Bench) -> dict[int, int]:
    """Where each of this member's proposals was put; 0 for those that were refused."""
    return {a.request: a.index for effects in bench.effects for a in effects.answers if isinstance(a, Accepted)}


def readable(bench: Bench) -> dict[int, int]:
    """At which index each of this member's reads may be served; 0 for those that must be asked again."""
    return {a.request: a.index for effects in bench.effects for a in effects.answers if isinstance(a, Readable)}
