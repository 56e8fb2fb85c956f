"""One engine on a bench: bonded with members that say only what a test has them say."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from p2praft import ConsensusConfig, LeadershipPreference, PeerId
from p2praft.raft.candidate import Candidate
from p2praft.raft.effects import Effects, HardState, Outgoing, Restored, Write
from p2praft.raft.engine import Engine
from p2praft.raft.follower import Follower
from p2praft.raft.leader import Leader
from p2praft.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Configuration,
    Cursor,
    Genesis,
    Index,
    LogEntry,
    Member,
    Message,
    NoOp,
    Payload,
    PreVote,
    PreVoteResponse,
    RequestVote,
    RequestVoteResponse,
    Standing,
    Term,
    Vote,
)

M = TypeVar("M")

CONFIG = ConsensusConfig(
    heartbeat_interval=0.1, election_timeout=1.0, election_timeout_jitter=0.5, bootstrap_delay=1.0, voter_grace=20.0
)
HISTORY = b"h" * 16


def member(number: int, *, incarnation: int = 0, volatile: bool = False) -> Member:
    """The member with this number; numbers order PeerIds."""
    return Member(PeerId(bytes([number]) * 32), bytes([incarnation]) * 8, volatile)


def standing(
    first: Genesis | None = None,
    *,
    founded: bool = False,
    attempt: int = 0,
    factor: float = 1.0,
    gone: Sequence[Member] = (),
    voters_index: int = 0,
    heard_index: int = 0,
) -> Standing:
    """What a member says of itself."""
    return Standing(
        factor=factor,
        genesis=first,
        founded=founded,
        attempt=attempt,
        gone=tuple(gone),
        leaving=False,
        voters_index=Index(voters_index),
        heard_index=Index(heard_index),
    )


def genesis(founders: Sequence[Member], *, history: bytes = HISTORY, created: float = 0.0, attempt: int = 1) -> Genesis:
    """A genesis written by the first founder."""
    return Genesis(
        history=history,
        writer=founders[0],
        attempt=attempt,
        founders=tuple(founders),
        reluctant=False,
        created=created,
    )


def log(founders: Sequence[Member], *terms: int, first: Genesis | None = None) -> tuple[LogEntry, ...]:
    """A log: the genesis in term 1, then a no-op in each of ``terms``."""
    payloads: list[Payload] = [first or genesis(founders), *(NoOp() for _ in terms)]
    return tuple(
        LogEntry(term=Term(term), index=Index(index), time=0.0, proposer=founders[0].peer_id, payload=payload)
        for index, (term, payload) in enumerate(zip((1, *terms), payloads, strict=True), start=1)
    )


def entry(term: int, index: int, payload: Configuration | NoOp | None = None) -> LogEntry:
    """One entry."""
    return LogEntry(
        term=Term(term), index=Index(index), time=0.0, proposer=member(1).peer_id, payload=payload or NoOp()
    )


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
    ) -> None:
        self.members = [member(number) for number in range(1, voters + observers + 1)]
        self.me = self.members[0]
        self.voters = self.members[:voters]
        self.auto_persist = auto_persist
        self.now = 0.0
        entries = log(self.voters, *terms)
        state = HardState(term=Term(term if term is not None else entries[-1].term), vote=vote, founded=True)
        self.engine = Engine(
            me=self.me,
            config=config,
            preference=preference,
            rng=random.Random(1),
            now=0.0,
            restored=Restored(state=state, entries=entries),
        )
        self.effects: list[Effects] = []
        for number, other in enumerate(self.members[1:], start=2):
            self.bond(other, factor=1.0 if number <= voters else 0.0)
        self.take()

    def bond(self, other: Member, *, factor: float = 1.0, founded: bool = True, first: Genesis | None = None) -> None:
        """Bond with a member that holds the same history, unless told otherwise."""
        self.engine.bond_up(other, self.now)
        standing = Standing(
            factor=factor, genesis=first or genesis(self.voters), founded=founded, attempt=1, gone=(), leaving=False
        )
        self.engine.receive(standing, other, self.now, history=HISTORY)

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
    """One engine, with or without history, and hand-made neighbours."""

    def __init__(
        self,
        number: int = 1,
        *,
        expect: int = 3,
        volatile: bool = False,
        preference: LeadershipPreference = LeadershipPreference.NORMAL,
        restored: Restored | None = None,
    ) -> None:
        self.me = member(number, volatile=volatile)
        self.now = 0.0
        self.engine = Engine(
            me=self.me,
            config=replace(CONFIG, expect=expect),
            preference=preference,
            rng=random.Random(number),
            now=0.0,
            restored=restored,
        )
        self.sent: list[Outgoing] = []
        self.writes: list[Write] = []
        self.take()

    def take(self, *, persist: bool = True) -> list[Message]:
        """What leaves now; with ``persist``, writes are durable at once."""
        new: list[Outgoing] = []
        while True:
            effects = self.engine.take_effects()
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
        if other not in self.engine.ctx.bonded:
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

    def hold(self, founder: Member) -> list[Message]:
        """A founder says that it holds the genesis."""
        answer = AppendEntriesResponse(term=Term(1), vote=Vote.GRANTED, matched=True, last=self.engine.last, round=1)
        return self.hear(answer, founder)

    def held(self) -> Genesis | None:
        """Of the engine's history."""
        return self.engine.ctx.genesis


def only(sent: Sequence[tuple[Member, Message]], kind: type[M]) -> list[M]:
    """The messages of one kind."""
    return [message for _, message in sent if isinstance(message, kind)]


def request_vote(term: int, last: Cursor) -> RequestVote:
    """A candidate's request."""
    return RequestVote(term=Term(term), last=last)


def pre_vote(term: int, last: Cursor) -> PreVote:
    """A pre-candidate's request."""
    return PreVote(term=Term(term), last=last)


def append(term: int, prev: Cursor, *entries: LogEntry, commit: int = 0, round_number: int = 1) -> AppendEntries:
    """A leader's message."""
    return AppendEntries(term=Term(term), prev=prev, entries=entries, leader_commit=Index(commit), round=round_number)
