"""Histories written by hand: entries, branches, ends, and the archives that they leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from p2praft import ApplyContext, PeerId, StateMachine, replay
from p2praft.groups.applier import Applier, CarriedOver
from p2praft.groups.carrying import Outcome, Plan, finish, plan, prepare
from p2praft.groups.lineage import Loaded
from p2praft.groups.machine import pack
from p2praft.groups.snapshots import cut, encode
from p2praft.raft.catchup import digest_of
from p2praft.raft.effects import Restored
from p2praft.raft.entries import Carried, Commands, LogEntry, OpenSession, Payload, Snapshot
from p2praft.raft.histories.entries import NO_HISTORY, Branch, Genesis, Past
from p2praft.raft.histories.messages import End, Ended
from p2praft.raft.log import Log
from p2praft.raft.types import Index, Member, Term
from p2praft.storage.base import Archived

PEER = PeerId(b"p" * 32)
MEMBER = Member(PEER, b"i" * 8, False)


class Counter(StateMachine):
    """Carries the difference."""

    signature = "counter/1"

    def __init__(self) -> None:
        self.value = 0

    def apply(self, command: Any, ctx: ApplyContext) -> Any:
        if command == 0:
            raise ValueError("nothing to add")
        self.value += command
        return self.value

    def query(self, query: Any) -> Any:
        return self.value

    def snapshot(self) -> Any:
        return self.value

    def restore(self, snapshot: Any) -> None:
        self.value = snapshot

    def reconcile(self, sealed: int, base: int | None) -> list[int]:
        difference = sealed - (base or 0)
        return [difference] if difference else []


class Words(StateMachine):
    """A set that only grows."""

    signature = "words/1"

    def __init__(self) -> None:
        self.words: list[str] = []

    def apply(self, command: Any, ctx: ApplyContext) -> Any:
        if command in self.words:
            return False
        self.words = sorted([*self.words, command])
        return True

    def query(self, query: Any) -> Any:
        return self.words

    def snapshot(self) -> Any:
        return self.words

    def restore(self, snapshot: Any) -> None:
        self.words = snapshot

    def reconcile(self, sealed: list[str], base: list[str] | None) -> list[str]:
        return [word for word in sealed if word not in (base or ())]


class Journal(StateMachine):
    """Remembers all that it was told, in order: what is done twice shows."""

    signature = "journal/1"
    reconcile = replay

    def __init__(self) -> None:
        self.lines: list[str] = []

    def apply(self, command: Any, ctx: ApplyContext) -> Any:
        if command == "bad":
            raise ValueError("refused")
        self.lines = [*self.lines, command]
        return len(self.lines)

    def query(self, query: Any) -> Any:
        return self.lines

    def snapshot(self) -> Any:
        return self.lines

    def restore(self, snapshot: Any) -> None:
        self.lines = snapshot


class Line:
    """One history and its state, as one member has it.

    Args:
        name: Of which its id is made.
        machine: A fresh one.
    """

    def __init__(self, name: str, machine: StateMachine) -> None:
        self.name = name
        self.history = name.encode().ljust(16, b".")
        self.applier = Applier(machine)
        self.entries: list[LogEntry] = []
        self.term = 1
        self.seen: list[CarriedOver] = []
        self.compacted: Snapshot | None = None
        self.chunks: tuple[bytes, ...] = ()
        self.begin(())

    @property
    def machine(self) -> Any:
        return self.applier.machine

    @property
    def log(self) -> Log:
        return Log(self.entries)

    @property
    def genesis(self) -> Genesis:
        assert self.applier.tables.genesis is not None
        return self.applier.tables.genesis

    @property
    def past(self) -> Past:
        past = self.log.past_at(len(self.entries))
        assert past is not None
        return past

    @property
    def here(self) -> Branch:
        """The last position."""
        log = self.log
        return Branch(history=self.history, at=log.last, digest=log.digest_at(log.last.index))

    def begin(self, ancestors: tuple[Branch, ...]) -> None:
        self.add(
            Genesis(
                history=self.history,
                writer=MEMBER,
                attempt=1,
                founders=(MEMBER,),
                reluctant=False,
                created=0.0,
                ancestors=ancestors,
                settings=None,
            )
        )

    def add(self, payload: Payload) -> Any:
        index = len(self.entries) + 1
        entry = LogEntry(term=Term(self.term), index=Index(index), time=float(index), proposer=PEER, payload=payload)
        self.entries.append(entry)
        applied = self.applier.apply(entry)
        if isinstance(applied, CarriedOver):
            self.seen.append(applied)
        return applied

    def session(self) -> int:
        """Open one; its id."""
        self.add(OpenSession(nonce=b"n" * 16))
        return len(self.entries)

    def do(self, session: int, first: int, *commands: Any) -> Any:
        """Commit commands of a session."""
        return self.add(Commands(session=session, first=first, settled=0, commands=tuple(map(pack, commands))))

    def write(self, *commands: Any) -> None:
        """Commit commands of a session of their own."""
        self.do(self.session(), 1, *commands)

    def take(self, *parts: Carried) -> list[CarriedOver]:
        """Commit parts of lists."""
        return [self.add(part) for part in parts]

    def child(self, name: str, machine: StateMachine) -> Line:
        """The history that goes on from here, by another member."""
        born = Line.__new__(Line)
        born.name, born.history = name, name.encode().ljust(16, b".")
        born.applier, born.entries, born.seen = Applier(machine), [], []
        born.term, born.compacted, born.chunks = self.term, None, ()
        for entry in self.entries:
            born.term = entry.term
            born.add(entry.payload)
        born.term = self.term + 1
        born.begin((*self.genesis.ancestors, self.here))
        return born

    def snapshot(self) -> None:
        """Compact here: what comes behind is all that the log keeps."""
        self.chunks = tuple(cut(encode(self.applier)))
        base = self.log.base_at(len(self.entries))
        self.compacted = Snapshot(base=base, chunks=len(self.chunks), digest=digest_of([b"d" * 32]))

    def archive(
        self,
        how: End = End.SEALED,
        into: Line | None = None,
        *,
        whole: bool = True,
        upto: int | None = None,
        number: int = 1,
    ) -> Loaded:
        """What a member keeps of it."""
        upto = upto or len(self.entries)
        log = Log(self.entries[:upto])
        end = Branch(history=self.history, at=log.last, digest=log.digest_at(upto))
        ended = Ended(branch=end, into=into.history if into else NO_HISTORY, how=how, incarnation=MEMBER.incarnation)
        after = self.compacted.base.last.index if self.compacted else 0
        restored = Restored(
            entries=tuple(self.entries[after:upto]),
            base=self.compacted.base if self.compacted else None,
            snapshot=self.compacted,
        )
        return Loaded(Archived(number=number, ended=ended, whole=whole), restored, self.chunks)


def outcome(source: Loaded, living: Line, machine: StateMachine, others: Sequence[Loaded] = ()) -> Outcome:
    """What comes of an archive, on a member whose machine is fresh."""
    planned = plan(source, living.genesis, machine, others)
    if isinstance(planned, Outcome):
        return planned
    assert isinstance(planned, Plan)
    pristine = b"".join(machine.chunks(machine.snapshot()))
    return finish(prepare(machine, pristine, planned))


def parts(source: Loaded, living: Line, machine: StateMachine, others: Sequence[Loaded] = ()) -> tuple[Carried, ...]:
    """The entries that carry an archive."""
    carries = outcome(source, living, machine, others).carries
    assert carries is not None
    return tuple(carries.parts())


def renumbered(loaded: Loaded, number: int) -> Loaded:
    """The same archive under another number."""
    return replace(loaded, archived=replace(loaded.archived, number=number))
