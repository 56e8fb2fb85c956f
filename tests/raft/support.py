"""One engine on a bench: bonded with members that say only what a test has them say."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from p2praft import ConsensusConfig, LeadershipPreference, PeerId
from p2praft.raft.candidate import Candidate
from p2praft.raft.effects import Effects, HardState, Outgoing, Restored, Write
from p2praft.raft.engine import Engine
from p2praft.raft.entries import Base, Commands, LogEntry, NoOp, Payload
from p2praft.raft.follower import Follower
from p2praft.raft.histories.entries import Branch, Genesis, Measure, Past
from p2praft.raft.histories.messages import Standing
from p2praft.raft.histories.record import Record
from p2praft.raft.histories.settings import settings_of
from p2praft.raft.histories.states import State
from p2praft.raft.leader import Leader
from p2praft.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Message,
    PreVote,
    PreVoteResponse,
    RequestVote,
    RequestVoteResponse,
)
from p2praft.raft.types import NO_DIGEST, START, Cursor, Index, Member, Term, Vote

M = TypeVar("M")
P = TypeVar("P")

CONFIG = ConsensusConfig(
    heartbeat_interval=0.1, election_timeout=1.0, election_timeout_jitter=0.5, bootstrap_delay=1.0, voter_grace=20.0
)
HISTORY = b"h" * 16


def member(number: int, *, incarnation: int = 0, volatile: bool = False) -> Member:
    """The member with this number; numbers order PeerIds."""
    return Member(PeerId(bytes([number]) * 32), bytes([incarnation]) * 8, volatile)


def standing(first: Genesis | None = None, **says: Any) -> Standing:
    """What a member says of itself; if it holds a history, its founders' breadth and nothing more, unless ``says`` says so.

    Args:
        first: The genesis that it holds, or None.
        says: Other fields of the standing.
    """
    if first is None:
        return Standing(**{"factor": 1.0, **says})
    durable = sum(not founder.volatile for founder in first.founders)
    breadth = len(first.founders)
    measure = Measure(quorum=min(3, breadth), durable=durable, breadth=breadth, history=first.history)
    known = tuple(branch.history for branch in first.ancestors)
    held: dict[str, Any] = {"factor": 1.0, "attempt": 1, "measure": measure, "known": known}
    return Standing(**{**held, "history": first.history, "genesis": first, **says})


def genesis(
    founders: Sequence[Member],
    *,
    history: bytes = HISTORY,
    attempt: int = 1,
    ancestors: Sequence[Branch] = (),
    config: ConsensusConfig = CONFIG,
) -> Genesis:
    """A genesis written by the first founder; the group's settings stand in it, so that no leader adds them to the log."""
    return Genesis(
        history=history,
        writer=founders[0],
        attempt=attempt,
        founders=tuple(founders),
        reluctant=False,
        created=0.0,
        ancestors=tuple(ancestors),
        settings=settings_of(config, 1),
    )


def log(founders: Sequence[Member], *terms: int, first: Genesis | None = None) -> tuple[LogEntry, ...]:
    """A log: the genesis in term 1, then a no-op in each of ``terms``."""
    payloads: list[Payload] = [first or genesis(founders), *(NoOp() for _ in terms)]
    return tuple(
        LogEntry(term=Term(term), index=Index(index), time=0.0, proposer=founders[0].peer_id, payload=payload)
        for index, (term, payload) in enumerate(zip((1, *terms), payloads, strict=True), start=1)
    )


def founded(entries: Sequence[LogEntry], *, term: int | None = None, vote: Member | None = None) -> Restored:
    """What a storage holds of a founded history; in the last entry's term if ``term`` is None."""
    first = entries[0].payload
    assert isinstance(first, Genesis)
    return Restored(
        state=HardState(term=Term(entries[-1].term if term is None else term), vote=vote),
        record=Record(history=first.history, founded=True, attempt=first.attempt),
        entries=tuple(entries),
    )


def entry(term: int, index: int, payload: Payload | None = None) -> LogEntry:
    """One entry."""
    return LogEntry(
        term=Term(term), index=Index(index), time=0.0, proposer=member(1).peer_id, payload=payload or NoOp()
    )


def command(term: int, index: int) -> LogEntry:
    """An entry with an application's command: something to lose."""
    return entry(term, index, Commands(session=1, first=index, settled=0, commands=(b"x",)))


def base(last: Cursor, first: Genesis, *, digest: bytes = NO_DIGEST, commands: int = 0) -> Base:
    """What stands for a compacted log with no more in it than its genesis and commands."""
    breadth = len(first.founders)
    past = Past(
        genesis=first, begins=Index(1), commands=commands, durable=breadth, breadth=breadth, settings=first.settings
    )
    return Base(last=last, time=0.0, digest=digest, voters=first.founders, voters_index=Index(1), past=past)


def at(term: int, index: int) -> Cursor:
    """A position."""
    return Cursor(Term(term), Index(index))


class Bench:
    """An engine, member 1 of ``voters``, in a founded history, with everybody bonded.

    Args:
        voters: How many voters; members 1 to n.
        terms: Of the entries behind the genesis.
        term: The hard state's term; the last entry's if None.
        preference: The engine's.
        observers: Bonded members that are no voters, numbered on.
        auto_persist: Whether writes are durable at once.
        tail: More entries, behind those of ``terms``.
        ask_operator: Whether it waits for a word before its history ends in favour of a higher one.
    """

    def __init__(
        self,
        voters: int = 3,
        *terms: int,
        term: int | None = None,
        preference: LeadershipPreference = LeadershipPreference.NORMAL,
        observers: int = 0,
        vote: Member | None = None,
        auto_persist: bool = True,
        config: ConsensusConfig = CONFIG,
        tail: Sequence[LogEntry] = (),
        ask_operator: bool = False,
    ) -> None:
        self.members = [member(number) for number in range(1, voters + observers + 1)]
        self.me = self.members[0]
        self.voters = self.members[:voters]
        self.auto_persist = auto_persist
        self.now = 0.0
        self.genesis = genesis(self.voters, config=config)
        entries = (*log(self.voters, *terms, first=self.genesis), *tail)
        self.engine = Engine(
            me=self.me,
            config=config,
            preference=preference,
            rng=random.Random(1),
            now=0.0,
            restored=founded(entries, term=term, vote=vote),
            ask_operator=ask_operator,
        )
        self.effects: list[Effects] = []
        for number, other in enumerate(self.members[1:], start=2):
            self.bond(other, factor=1.0 if number <= voters else 0.0)
        self.take()

    def bond(self, other: Member, first: Genesis | None = None, **says: Any) -> None:
        """Bond with a member that holds the same history, founded, unless told otherwise."""
        self.engine.bond_up(other, self.now)
        self.receive(standing(first or self.genesis, **{"founded": True, **says}), other)

    # --- driving

    def take(self) -> list[Effects]:
        """Take effects until there are no more; with ``auto_persist``, writes are durable at once."""
        taken: list[Effects] = []
        while True:
            effects = self.engine.take_effects()
            taken.append(effects)
            if effects.write is None or not self.auto_persist:
                break
            self.engine.persisted(effects.write.serial, self.now)
        self.effects.extend(taken)
        return taken

    def receive(self, message: Message, sender: Member, *, history: bytes = HISTORY) -> list[tuple[Member, Message]]:
        """Have a message handled; what is sent because of it."""
        self.engine.receive(message, sender, self.now, history=history)
        return self.sent()

    def sent(self) -> list[tuple[Member, Message]]:
        """What is sent now, but for the standing that every member repeats."""
        return [
            (outgoing.to, outgoing.message)
            for effects in self.take()
            for outgoing in effects.messages
            if not isinstance(outgoing.message, Standing)
        ]

    def advance(self, seconds: float, *, deaf: bool = False) -> list[tuple[Member, Message]]:
        """Let time pass in small steps, ``deaf`` for what comes; what is sent meanwhile."""
        sent: list[tuple[Member, Message]] = []
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(end, self.now + 0.05)
            self.engine.tick(self.now, deaf=deaf)
            sent.extend(self.sent())
        return sent

    def time_out(self) -> list[tuple[Member, Message]]:
        """Let the role's own timer run out; what is sent because of it."""
        self.now = self.engine.role.deadline
        self.engine.tick(self.now)
        return self.sent()

    def campaign(self) -> None:
        """Become a candidate for real."""
        self.time_out()
        for voter in self.voters[1:]:
            self.receive(PreVoteResponse(term=self.engine.term, vote=Vote.GRANTED, supports=True), voter)
            if not self.candidate.pre:
                return

    def lead(self) -> None:
        """Become the leader, granted by everybody, with the no-op committed."""
        self.campaign()
        for voter in self.voters[1:]:
            if isinstance(self.engine.role, Candidate):
                self.receive(RequestVoteResponse(term=self.engine.term, vote=Vote.GRANTED, supports=True), voter)
        if isinstance(self.engine.role, Candidate):
            raise AssertionError("not elected")
        self.acknowledge(*self.voters[1:])

    def acknowledge(self, *members: Member, vote: Vote = Vote.GRANTED) -> list[tuple[Member, Message]]:
        """Have members acknowledge the whole log, in the newest round that they were sent."""
        sent: list[tuple[Member, Message]] = []
        rounds = {to: message.round for to, message in self.history() if isinstance(message, AppendEntries)}
        for other in members:
            response = AppendEntriesResponse(
                term=self.engine.term, vote=vote, matched=True, last=self.engine.last, round=rounds.get(other, 0)
            )
            sent.extend(self.receive(response, other))
        return sent

    def beat(self, *members: Member, rounds: int = 3) -> None:
        """Let heartbeats pass that members acknowledge, with the whole log: a change of the voter set takes two."""
        for _ in range(rounds):
            self.advance(0.15)
            self.acknowledge(*members)

    def history(self) -> list[tuple[Member, Message]]:
        """All that was ever sent."""
        return [(outgoing.to, outgoing.message) for effects in self.effects for outgoing in effects.messages]

    # --- looking

    @property
    def follower(self) -> Follower:
        """The role, which must be follower."""
        assert isinstance(self.engine.role, Follower)
        return self.engine.role

    @property
    def candidate(self) -> Candidate:
        """The role, which must be candidate."""
        assert isinstance(self.engine.role, Candidate)
        return self.engine.role

    @property
    def leader(self) -> Leader:
        """The role, which must be leader."""
        assert isinstance(self.engine.role, Leader)
        return self.engine.role


class Lone:
    """One engine, with or without history, and hand-made neighbours.

    Args:
        number: Which member it is.
        expect: As in its own configuration.
        volatile: Whether its memory dies with its process.
        preference: Its leadership preference.
        restored: What its storage holds.
        start: Which start of its storage this is.
    """

    def __init__(
        self,
        number: int = 1,
        *,
        expect: int = 3,
        volatile: bool = False,
        preference: LeadershipPreference = LeadershipPreference.NORMAL,
        restored: Restored | None = None,
        start: int = 0,
    ) -> None:
        self.first = member(number, volatile=volatile)
        self.now = 0.0
        self.engine = Engine(
            me=self.first,
            config=replace(CONFIG, expect=expect),
            preference=preference,
            rng=random.Random(number),
            now=0.0,
            restored=restored,
            start=start,
        )
        self.sent: list[Outgoing] = []
        self.effects: list[Effects] = []
        self.writes: list[Write] = []
        self.take()

    def take(self, *, persist: bool = True) -> list[Message]:
        """What leaves now; with ``persist``, writes are durable at once."""
        new: list[Outgoing] = []
        while True:
            effects = self.engine.take_effects()
            self.effects.append(effects)
            new.extend(effects.messages)
            if effects.write is None:
                break
            self.writes.append(effects.write)
            if not persist:
                break
            self.engine.persisted(effects.write.serial, self.now)
        self.sent.extend(new)
        return [outgoing.message for outgoing in new]

    def meet(self, other: Member, says: Standing, *, persist: bool = True) -> list[Message]:
        """Bond, unless bonded, and hear what the other says of itself."""
        if other not in self.engine.ctx.roster.bonded:
            self.engine.bond_up(other, self.now)
        return self.hear(says, other, persist=persist)

    def hear(
        self, message: Message, sender: Member, *, history: bytes | None = None, persist: bool = True
    ) -> list[Message]:
        """Handle a message, by default of the engine's own history."""
        self.engine.receive(message, sender, self.now, history=history or self.engine.ctx.history)
        return self.take(persist=persist)

    def wait(self, seconds: float, *, persist: bool = True) -> list[Message]:
        """Let time pass."""
        messages: list[Message] = []
        end = self.now + seconds
        while self.now < end:
            self.now += 0.05
            self.engine.tick(self.now)
            messages += self.take(persist=persist)
        return messages

    def hold(self, founder: Member, *, persist: bool = True) -> list[Message]:
        """A founder says that it holds the whole log."""
        last = self.engine.last
        answer = AppendEntriesResponse(term=self.engine.term, vote=Vote.GRANTED, matched=True, last=last, round=1)
        return self.hear(answer, founder, persist=persist)

    def state(self) -> State:
        """What it holds."""
        return self.engine.histories.state

    @property
    def history(self) -> bytes:
        """Which history it holds; 16 zero bytes for none."""
        return self.engine.ctx.history

    def held(self) -> Genesis | None:
        """Of the engine's history."""
        return self.engine.histories.genesis

    def said(self) -> Standing:
        """The newest that it told of itself."""
        return [out.message for out in self.sent if isinstance(out.message, Standing)][-1]

    @property
    def is_another(self) -> bool:
        """Whether it has become another member."""
        return self.engine.me.is_later_than(self.first)


def only(sent: Sequence[tuple[Member, Message]], kind: type[M]) -> list[M]:
    """The messages of one kind."""
    return [message for _, message in sent if isinstance(message, kind)]


def payloads(bench: Bench, kind: type[P]) -> list[P]:
    """The payloads of one kind in a bench's log."""
    held = bench.engine.ctx.log
    entries = held.between(held.base.index + 1, held.last.index)
    return [entry.payload for entry in entries if isinstance(entry.payload, kind)]


def request_vote(term: int, last: Cursor) -> RequestVote:
    """A candidate's request."""
    return RequestVote(term=Term(term), last=last)


def pre_vote(term: int, last: Cursor) -> PreVote:
    """A pre-candidate's request."""
    return PreVote(term=Term(term), last=last)


def append(
    term: int,
    prev: Cursor,
    *entries: LogEntry,
    commit: int = 0,
    round_number: int = 1,
    digest: bytes = NO_DIGEST,
    stable: Cursor = START,
) -> AppendEntries:
    """A leader's message; of the content before ``entries`` it says nothing, unless a digest is given."""
    return AppendEntries(
        term=Term(term),
        prev=prev,
        digest=digest,
        entries=entries,
        leader_commit=Index(commit),
        stable=stable,
        round=round_number,
    )
