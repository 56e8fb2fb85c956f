"""Target: the consensus engine, told anything by bonded members in any order, on a disk that is as slow as it likes."""

from __future__ import annotations

import hashlib
import random
from collections import deque
from dataclasses import replace
from typing import Annotated, Any, get_args

from p2praft import ConsensusConfig, LeadershipPreference
from p2praft.groups.bond import BOND, Envelope
from p2praft.raft.catchup import digest_of
from p2praft.raft.context import SafetyViolation
from p2praft.raft.effects import Effects, Restored, StoreChunk
from p2praft.raft.engine import Engine
from p2praft.raft.entries import MAX_CHUNK, Commands, LogEntry, OpenSession, Payload, Snapshot
from p2praft.raft.histories.entries import Branch, Genesis, HistoryId, Voters
from p2praft.raft.histories.messages import Standing
from p2praft.raft.messages import AppendEntries, AppendEntriesResponse, FetchedEntries, Message, RequestVoteResponse
from p2praft.raft.types import START, Cursor, Digest, Index, Member, Term, Vote
from tests.fuzz.source import Source
from tests.fuzz.values import Maker
from tests.raft.support import HISTORY, at, founded, genesis, log, member
from transport import PeerId
from transport.wire import Range, Size

STEPS = 200
MAX_TERM = Term(2**62)
"""A member that claims the very last term leaves no room for the campaign after it. Members are trusted so far."""
CONFIG = ConsensusConfig(snapshot_every=100)
MEMBERS = (*map(member, range(1, 6)), member(2, incarnation=1, volatile=True), member(3, volatile=True))
ME = MEMBERS[0]
HISTORIES = (HISTORY, HISTORY, b"g" * 16, b"e" * 16, bytes(16))
GENESES = (
    genesis(MEMBERS[:3]),
    genesis(MEMBERS[1:4], history=b"g" * 16),
    genesis(MEMBERS[1::-1], history=b"f" * 16, attempt=2),
    replace(genesis(MEMBERS[:1]), settings=None),
    genesis(MEMBERS[:2], history=b"e" * 16, ancestors=[Branch(history=HISTORY, at=at(2, 3), digest=bytes(16))]),
)
CHUNK = b"a whole snapshot"
DIGEST = digest_of([hashlib.sha256(CHUNK).digest()])
MAKER = Maker(
    {
        Member: MEMBERS,
        PeerId: [each.peer_id for each in MEMBERS],
        Genesis: GENESES,
        HistoryId: HISTORIES,
        Digest: [bytes(16)],
        Voters: [MEMBERS[:1], MEMBERS[:3], MEMBERS[1:4]],
        Term: [Term(value) for value in (0, 1, 1, 2, 2, 3, 4)],
        Index: [Index(value) for value in range(8)],
        Annotated[bytes, Size(32, 32)]: [DIGEST, DIGEST, bytes(32)],
        Annotated[bytes, Size(0, MAX_CHUNK)]: [CHUNK, CHUNK, b""],
        Annotated[int, Range(0, 1 << 24)]: [0, 0, 1],
        Annotated[int, Range(1, 1 << 24)]: [1, 1, 2],
    }
)
KINDS: tuple[type[Any], ...] = get_args(Message)
PREFERENCES = (LeadershipPreference.NORMAL, LeadershipPreference.NORMAL, LeadershipPreference.OBSERVER)


class Harness:
    """An engine, a shell that performs its effects late or early, and what must hold after every step."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.now = 0.0
        restored: Restored | None = None
        if source.byte() & 1:
            entries = log(MEMBERS[:3], *[1] * source.below(4), *[2] * source.below(2))
            restored = founded(entries)
        self.engine = Engine(
            me=ME,
            config=CONFIG,
            preference=source.pick(PREFERENCES),
            rng=random.Random(source.byte()),
            now=0.0,
            restored=restored,
        )
        self.writes: deque[int] = deque()
        self.stores: deque[StoreChunk] = deque()
        self.restore: Snapshot | None = None
        self.committed: list[LogEntry] = []
        self.applied = Index(0)
        self.history = self.engine.ctx.history
        self.term = self.engine.term
        self.votes: dict[tuple[Member, bytes, Term], Member] = {}

    # --- inputs

    def step(self) -> None:
        """One input, of any kind."""
        source, engine = self.source, self.engine
        other = source.pick(MEMBERS[1:])
        match source.byte() % 16:
            case 0 | 1:
                self.now += source.pick((0.0, 0.05, 0.2, 0.7, 1.5, 30.0))
                engine.tick(self.now)
            case 2:
                engine.bond_up(other, self.now)
                if source.byte() % 4:
                    standing = replace(MAKER.message(Standing, source), lost=())
                    engine.receive(standing, other, self.now, history=source.pick(HISTORIES))
            case 3 if source.chance(4):
                engine.bond_down(other, self.now)
            case 3 | 4:
                if self.writes:
                    engine.persisted(self.writes.popleft(), self.now)
            case 5:
                payload = OpenSession(nonce=bytes(16)) if source.byte() & 1 else MAKER.message(Commands, source)
                engine.propose(source.below(100), payload)
                engine.read(source.below(100))
            case 6 if source.chance(4):
                engine.transfer_leadership(source.pick((None, *MEMBERS)), self.now)
            case 6 if source.chance(16):
                engine.leave()
            case 6 if source.chance(16):
                engine.recover([source.pick(MEMBERS[1:])], self.now)
            case 6 if source.chance(16):
                engine.abandon(self.now)
            case 6 | 7:
                self.snapshots()
            case _:
                engine.receive(self.message(), other, self.now, history=source.pick(HISTORIES))

    def message(self) -> Message:
        """Any message; those with entries are often such that they could be taken."""
        source = self.source
        kind = source.pick((*KINDS, AppendEntries, AppendEntries, FetchedEntries))
        message: Message = MAKER.message(kind, source)
        if message.term is not None and message.term > MAX_TERM:
            message = replace(message, term=MAX_TERM)
        if isinstance(message, AppendEntries | FetchedEntries) and source.byte() % 4:
            ours = self.engine.ctx.log
            prev = ours.cursor_at(source.below(ours.last.index + 1)) if source.byte() % 4 else START
            entries = self.entries(prev)
            if isinstance(message, AppendEntries):
                term = Term(max(message.term, entries[-1].term if entries else prev.term))
                return replace(message, term=term, prev=prev, entries=entries)
            return replace(message, prev=prev, first=Index(prev.index + 1), entries=entries)
        return message

    def entries(self, prev: Cursor) -> tuple[LogEntry, ...]:
        """Entries that follow ``prev`` as they should."""
        source, term = self.source, prev.term
        entries = []
        for index in range(prev.index + 1, prev.index + 1 + source.below(4)):
            term = Term(max(term, source.below(4), 1))
            payload: Payload = MAKER.make(Payload, source)
            if index == 1 and source.byte() % 8:
                payload = source.pick(GENESES)
            entry = LogEntry(term=term, index=Index(index), time=0.0, proposer=ME.peer_id, payload=payload)
            entries.append(entry)
        return tuple(entries)

    def snapshots(self) -> None:
        """Chunks that were stored, a snapshot that was decoded, one of our own."""
        engine = self.engine
        if self.stores:
            chunk = self.stores.popleft()
            engine.chunk_stored(chunk.fetch, chunk.number, self.now)
        elif self.restore is not None:
            snapshot, self.restore = self.restore, None
            if engine.install(snapshot, self.now):
                self.applied = snapshot.base.last.index
                self.committed.clear()
        elif self.applied > engine.ctx.log.base.index and engine.ctx.history == self.history:
            base = engine.base_at(self.applied)
            engine.compact(Snapshot(base=base, chunks=1, digest=digest_of([bytes(32)])), self.now)

    # --- what must hold

    def perform(self) -> None:
        """Take the effects, as a shell does, and check them."""
        effects = self.engine.take_effects()
        if effects.write is not None:
            self.writes.append(effects.write.serial)
        self.stores.extend(chunk for chunk in effects.chunks if isinstance(chunk, StoreChunk))
        self.restore = effects.restore or self.restore
        self.check_committed(effects)
        self.check_state()
        self.check_messages(effects)

    def check_committed(self, effects: Effects) -> None:
        """Committed entries come in order, once, and stay."""
        if effects.reset:
            self.applied, self.restore = Index(0), None
            self.committed.clear()
        for entry in effects.committed:
            assert entry.index == self.applied + 1, "committed entries come in order"
            self.applied = entry.index
            self.committed.append(entry)
        ours = self.engine.ctx.log
        for entry in self.committed:
            if entry.index > ours.base.index:
                assert ours.between(entry.index, entry.index) == (entry,), "what is committed stays"

    def check_state(self) -> None:
        """Terms and commits grow, a vote stays, the log has no gap."""
        ctx = self.engine.ctx
        if ctx.history != self.history:
            self.history, self.term = ctx.history, Term(0)
        assert self.term <= ctx.term
        self.term = ctx.term
        assert ctx.log.base.index <= ctx.commit <= ctx.log.last.index
        assert self.applied == ctx.commit
        entries = ctx.log.between(ctx.log.base.index + 1, ctx.log.last.index)
        previous = ctx.log.base
        for entry in entries:
            assert entry.index == previous.index + 1
            assert entry.term >= previous.term
            previous = entry.cursor
        assert previous.term <= ctx.term
        assert (ctx.log.past_at(ctx.log.last.index) is None) == (ctx.log.last.index == 0)
        if ctx.state.vote is not None:
            one = (ctx.me, ctx.history, ctx.term)
            assert self.votes.setdefault(one, ctx.state.vote) == ctx.state.vote, "one vote a term"

    def check_messages(self, effects: Effects) -> None:
        """What leaves goes to bonded members, fits the wire, and promises nothing that is not durable."""
        ctx = self.engine.ctx
        for outgoing in effects.messages:
            assert outgoing.to in ctx.roster.bonded
            message = outgoing.message
            envelope = Envelope(history=outgoing.history, message=message)
            assert BOND.decode(BOND.encode(envelope)[4:]) == envelope
            if isinstance(message, RequestVoteResponse) and message.supports and message.term == ctx.term:
                assert ctx.state.vote == outgoing.to
                assert not ctx.preference.is_observer
            elif isinstance(message, AppendEntriesResponse) and message.matched and outgoing.history == ctx.history:
                assert message.vote is not Vote.GRANTED or not ctx.preference.is_observer


def raft(data: bytes) -> None:
    """Any well-typed input in any order: no exception but the one by which a member stops, and no rule is broken."""
    source = Source(data)
    harness = Harness(source)
    try:
        for _ in range(STEPS):
            if source.exhausted:
                break
            harness.step()
            harness.perform()
    except SafetyViolation:
        return
