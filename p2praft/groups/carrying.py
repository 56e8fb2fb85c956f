"""What a history that ended has to bring to the living one: the list of commands, and the entries that carry it. Pure.

It goes in three steps. :func:`plan` decides by the two histories whether anything is to be carried, and from which state on.
:func:`prepare` rebuilds the states from the archive, asks the machine's ``reconcile``, and makes the list. A
:class:`~p2praft.groups.carrier.Carrier` then proposes it, part by part. The list depends on the archived history alone, so every
member that holds the whole of it makes the same one, and any of them can go on where another stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, TypeVar

from p2praft.groups.applier import Applied, Applier, CarriedOver, Tables
from p2praft.groups.lineage import Loaded, meeting
from p2praft.groups.machine import StateMachine, pack, replay
from p2praft.groups.snapshots import decode
from p2praft.raft.entries import MAX_COMMAND, Carried, CarriedList, Commands, LogEntry, Origin
from p2praft.raft.histories.entries import Branch, Genesis, source_of
from p2praft.raft.histories.messages import End, Ended
from p2praft.raft.sessions import Verdict

MAX_COMMANDS = 1_000_000
"""Commands of one list at most."""
MAX_BYTES = 256 * 1024 * 1024
"""Their bytes at most."""
PART_PLACES = 4096
"""Places of one entry at most."""
PART_BYTES = 512 * 1024
"""Bytes of the commands of one entry at most, unless its only command is larger."""
SLICE = 256
"""Entries that are applied, or commands that are made, between two chances to do something else."""

T = TypeVar("T")


class Code(StrEnum):
    """What came of carrying one history over."""

    CARRIED = "carried"
    NOTHING = "nothing"
    """The living history has it all."""
    NO_RECONCILE = "no reconcile"
    """The state machine carries nothing over."""
    FAILED = "failed"
    """``reconcile`` raised, gave nonsense, or gave too much; or the states could not be rebuilt."""
    BASE_MISSING = "base missing"
    """The state where the two branched was compacted away, or cannot be told."""
    NOT_WHOLE = "not whole"
    """This member does not hold all of it; another may."""
    OTHER_LIST = "another list"
    """Another list of the same history was begun before."""


@dataclass(frozen=True, slots=True, eq=False)
class CarryList:
    """A list of what is to be carried over.

    Attributes:
        end: The end that it carries over.
        digest: SHA-256 of all that is in it.
        lists: Lists that the ended history had taken.
        seen: Replayed sessions that it had taken.
        origins: One a command.
        commands: As the machine encoded them.
        replayed: Whether the commands are the history's own.
    """

    end: Branch
    digest: bytes
    lists: tuple[CarriedList, ...]
    seen: tuple[Origin, ...]
    origins: Sequence[Origin]
    commands: Sequence[bytes]
    replayed: bool

    @property
    def total(self) -> int:
        """How many places it has."""
        return len(self.lists) + len(self.seen) + len(self.commands)

    def part(self, first: int) -> Carried:
        """The entry that carries it on from place ``first``, which is from 1 to ``total``; or 1 if it is empty."""
        at = first - 1
        lists = self.lists[at : at + PART_PLACES]
        at = max(0, at - len(self.lists))
        seen = self.seen[at : at + PART_PLACES - len(lists)]
        at = max(0, at - len(self.seen))
        size, last = 0, at
        most = min(len(self.commands), at + PART_PLACES - len(lists) - len(seen))
        while last < most and (last == at or size + len(self.commands[last]) <= PART_BYTES):
            size += len(self.commands[last])
            last += 1
        return Carried(
            end=self.end,
            digest=self.digest,
            first=first,
            total=self.total,
            lists=lists,
            seen=seen,
            origins=tuple(self.origins[at:last]),
            commands=tuple(self.commands[at:last]),
            replayed=self.replayed,
        )

    def parts(self) -> Iterable[Carried]:
        """All entries, in their order."""
        first = 1
        while True:
            part = self.part(first)
            yield part
            first += part.places
            if first > self.total:
                return


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What came of one archive.

    Attributes:
        code: What.
        number: The archive's.
        ended: Which history, and how it ended; None if the archive does not say.
        carries: The list, if there is one.
        branch: Where the two histories branched; None if they are unrelated.
        left_out: Entries with commands that no list has: they are in the archive only.
        detail: For people: why not.
    """

    code: Code
    number: int
    ended: Ended | None
    carries: CarryList | None = None
    branch: Branch | None = None
    left_out: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """What :func:`prepare` is to do with an archive.

    Attributes:
        source: The archive.
        branch: The position from which on it is carried; None: all of it.
        base: The archive that holds the state at the branch.
    """

    source: Loaded
    branch: Branch | None
    base: Loaded | None


def is_replayed(machine: StateMachine) -> bool:
    """Whether a machine's class says ``reconcile = replay``."""
    return getattr(machine.reconcile, "__func__", machine.reconcile) is replay


def plan(source: Loaded, living: Genesis, machine: StateMachine, others: Sequence[Loaded] = ()) -> Plan | Outcome:
    """Whether and from where on an archive is to be carried into a living history.

    Args:
        source: The archive.
        living: The living history's genesis.
        machine: The group's.
        others: Further archives of this member: one of a reborn history's parent holds the state at the branch.
    """
    ended, number = source.archived.ended, source.archived.number

    def without(code: Code, left_out: int = 0, detail: str = "") -> Outcome:
        return Outcome(code=code, number=number, ended=ended, left_out=left_out, detail=detail)

    if ended is None:
        return without(Code.NOT_WHOLE, _entries_behind(source, None), "the archive does not say of which history it is")
    if ended.how is End.REBORN:
        return without(Code.NOTHING)
    met = meeting(source, living, others)
    if met.contained:
        return without(Code.NOTHING)
    at_stake = _entries_behind(source, met.at)
    if machine.reconcile is None:
        return without(Code.NO_RECONCILE, at_stake, "the state machine has no `reconcile`")
    if ended.how is End.SEALED and not source.archived.whole:
        return without(
            Code.NOT_WHOLE, at_stake, "the log here ends before the seal; a member that has it all carries it"
        )
    if not met.related:
        return Plan(source=source, branch=None, base=None)
    base = None if met.at is None else _holder(met.at, source, () if is_replayed(machine) else others)
    if met.at is None or base is None:
        where = "cannot be told" if met.at is None else f"was at entry {met.at.at.index}, which was compacted away"
        return without(Code.BASE_MISSING, at_stake, f"the position where the two histories branched {where}")
    return Plan(source=source, branch=met.at, base=base)


def _holder(branch: Branch, source: Loaded, others: Sequence[Loaded]) -> Loaded | None:
    """The archive from which the state at a position can be rebuilt."""
    for archive in (source, *others):
        end = archive.end
        if end is not None and archive.begins <= branch.at.index <= end.at.index and archive.holds(branch):
            return archive
    return None


def _entries_behind(source: Loaded, branch: Branch | None) -> int:
    """Entries with commands behind a position, as far as can be told; all that there ever were without one."""
    after = branch.at.index if branch else 0
    entries = source.entries
    held = sum(isinstance(entry.payload, Commands | Carried) for entry in entries if entry.index > after)
    return held + (_compacted(source) if branch is None else 0)


def _entries_upto_snapshot(source: Loaded) -> int:
    held = (isinstance(entry.payload, Commands | Carried) for entry in source.entries if entry.index <= source.begins)
    return _compacted(source) + sum(held)


def _compacted(source: Loaded) -> int:
    base = source.restored.base
    return base.past.commands if base else 0


# --- making the list ----------------------------------------------------------------------------------------------


def prepare(machine: StateMachine, pristine: bytes, planned: Plan) -> Generator[None, None, Outcome]:
    """Make the list; yields where the caller may do something else. Whatever the machine's code does, it ends in an outcome.

    The states are rebuilt on the machine itself, which nobody may use meanwhile; in the end it is as it was.

    Args:
        machine: The group's.
        pristine: The bytes of its first snapshot.
        planned: What :func:`plan` gave.
    """
    source = planned.source
    number, ended = source.archived.number, source.archived.ended
    assert ended is not None
    replayed = is_replayed(machine)
    # Of an unrelated history what its snapshot stands for has no commands left to replay.
    left_out = _entries_upto_snapshot(source) if replayed and planned.branch is None else 0
    try:
        with borrowed(machine):
            rebuilt = yield from states_of(machine, pristine, source, planned.branch, planned.base)
        made = _Making(machine, source_of(ended.branch))
        if replayed:
            yield from made.take_all(rebuilt.own)
        else:
            yield from made.make(machine.reconcile(rebuilt.sealed, rebuilt.base))
        carries = made.finish(ended.branch, rebuilt, replayed)
    except Exception as error:  # the machine's own code: whatever it raises, the group goes on
        text = f"{type(error).__name__}: {error}"[:500]
        at_stake = _entries_behind(source, planned.branch)
        return Outcome(
            code=Code.FAILED, number=number, ended=ended, branch=planned.branch, left_out=at_stake, detail=text
        )
    return Outcome(
        code=Code.CARRIED, number=number, ended=ended, carries=carries, branch=planned.branch, left_out=left_out
    )


@contextmanager
def borrowed(machine: StateMachine) -> Iterator[None]:
    """Whatever is done to the machine within, behind it is as it was."""
    held = list(machine.chunks(machine.snapshot()))
    try:
        yield
    finally:
        machine.restore(machine.join(held))


def finish(work: Generator[None, None, T]) -> T:
    """Do all of it at once."""
    while True:
        try:
            next(work)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]


@dataclass(slots=True, eq=False)
class Rebuilt:
    """An archived history's states.

    Attributes:
        sealed: The state at its end, as the machine's ``restore`` takes it.
        base: The state where it branched off from the living one; None without such a position.
        tables: What is replicated beside the state, at the end.
        before: The lists that were begun where the rebuilt part begins.
        own: The commands that were applied behind the branch and did not fail, with their origins.
    """

    sealed: Any
    base: Any
    tables: Tables
    before: frozenset[bytes]
    own: list[tuple[Origin, bytes]]


def states_of(
    machine: StateMachine, pristine: bytes, source: Loaded, branch: Branch | None, base: Loaded | None = None
) -> Generator[None, None, Rebuilt]:
    """Rebuild an archived history's state at its end, and that at the position ``branch``; the machine is left in between.

    Values come as ``snapshot`` gives them, encoded and decoded once, so that those from memory and from disks are alike.

    Args:
        machine: On which it is done.
        pristine: The bytes of its first snapshot.
        source: The archive.
        branch: The position; None if there is none.
        base: The archive that holds it; None: ``source``.
    """
    state_at_branch = None
    if branch is not None and base is not None and base is not source:
        yield from _replay(machine, pristine, base, branch.at.index)
        state_at_branch = _detached(machine)
    applier = yield from _replay(machine, pristine, source, max(branch.at.index if branch else 0, source.begins))
    if branch is not None and state_at_branch is None:
        state_at_branch = _detached(machine)
    before = frozenset(source_of(row.end) for row in applier.absorbed.lists())
    own: list[tuple[Origin, bytes]] = []
    yield from _apply(applier, source.entries, None, own)
    return Rebuilt(_detached(machine), state_at_branch, applier.tables, before, own)


def _replay(machine: StateMachine, pristine: bytes, source: Loaded, upto: int) -> Generator[None, None, Applier]:
    applier = Applier(machine, pristine)
    applier.reset()
    if (snapshot := source.restored.snapshot) is not None:
        tables, state = decode(machine, source.chunks)
        tables.genesis = snapshot.base.past.genesis
        applier.restore(snapshot.base.last.index, tables, state)
    yield from _apply(applier, source.entries, upto, [])
    return applier


def _apply(
    applier: Applier, entries: Sequence[LogEntry], upto: int | None, own: list[tuple[Origin, bytes]]
) -> Generator[None, None, None]:
    for at, entry in enumerate(entries):
        if entry.index <= applier.index:
            continue
        if upto is not None and entry.index > upto:
            return
        applied = applier.apply(entry)
        own.extend(_executed(entry, applied, applier.tables))
        if at % SLICE == SLICE - 1:
            yield


def _executed(
    entry: LogEntry, applied: Applied | CarriedOver | None, tables: Tables
) -> Generator[tuple[Origin, bytes], None, None]:
    """Commands of an entry that were applied now and did not fail, with their origins."""
    payload = entry.payload
    if isinstance(payload, Commands) and isinstance(applied, Applied) and applied.verdict is Verdict.APPLY:
        for number, ok, _ in applied.outcomes:
            origin = tables.origin(payload.session, number)
            if ok and origin is not None and number >= payload.first:
                yield origin, payload.commands[number - payload.first]
    elif isinstance(payload, Carried) and isinstance(applied, CarriedOver):
        begin = payload.first + len(payload.lists) + len(payload.seen)
        for place, ok, _ in applied.outcomes:
            if ok:
                yield payload.origins[place - begin], payload.commands[place - begin]


def _detached(machine: StateMachine) -> Any:
    return machine.join(list(machine.chunks(machine.snapshot())))


class _Making:
    """Collects a list within its bounds."""

    def __init__(self, machine: StateMachine, source: bytes) -> None:
        self._machine = machine
        self._source = source
        self._origins: list[Origin] = []
        self._commands: list[bytes] = []
        self._bytes = 0

    def make(self, commands: Iterable[Any]) -> Generator[None, None, None]:
        """Take what ``reconcile`` gives."""
        if isinstance(commands, str | bytes | dict):
            raise TypeError(f"reconcile gave a {type(commands).__name__}, not a list of commands")
        given = iter(commands)
        while batch := list(islice(given, SLICE)):
            for command in batch:
                origin = Origin(history=self._source, session=0, number=len(self._commands) + 1)
                self._add(origin, self._machine.encode(command))
            yield

    def take_all(self, own: Sequence[tuple[Origin, bytes]]) -> Generator[None, None, None]:
        """Take the history's own commands."""
        for at in range(0, len(own), SLICE):
            for origin, command in own[at : at + SLICE]:
                self._add(origin, command)
            yield

    def _add(self, origin: Origin, command: bytes) -> None:
        if not isinstance(command, bytes):
            raise TypeError(f"command {origin.number} was encoded to {type(command).__name__}, not to bytes")
        if len(command) > MAX_COMMAND:
            raise ValueError(f"command {origin.number} has {len(command)} bytes; at most {MAX_COMMAND}")
        self._bytes += len(command)
        if len(self._commands) >= MAX_COMMANDS or self._bytes > MAX_BYTES:
            raise ValueError(
                f"more than {MAX_COMMANDS:,} commands, or {MAX_BYTES // 2**20} MiB of them, are not carried over"
            )
        self._origins.append(origin)
        self._commands.append(command)

    def finish(self, end: Branch, rebuilt: Rebuilt, replayed: bool) -> CarryList:
        """The list, with what the ended history had carried over itself."""
        absorbed = rebuilt.tables.absorbed
        if replayed:
            # What came before is not in this list; what came behind brings its origins along.
            lists = tuple(row for row in absorbed.lists() if source_of(row.end) not in rebuilt.before)
            seen: tuple[Origin, ...] = ()
        else:
            lists, seen = tuple(absorbed.lists()), tuple(absorbed.seen())
        hashed = hashlib.sha256()
        for row in lists:
            hashed.update(pack([source_of(row.end), row.digest, row.next, row.total, row.replayed]))
        for origin, command in zip((*seen, *self._origins), (*(None for _ in seen), *self._commands), strict=True):
            hashed.update(pack([origin.history, origin.session, origin.number, command]))
        return CarryList(end, hashed.digest(), lists, seen, self._origins, self._commands, replayed)
