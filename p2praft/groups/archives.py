"""Reads the logs that were kept aside: what ``p2praft archive list | show | export | replay`` says and does."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgpack

from p2praft.errors import StorageError
from p2praft.groups.carrying import borrowed, finish, states_of
from p2praft.groups.lineage import Loaded, load
from p2praft.groups.machine import StateMachine
from p2praft.raft.entries import Carried, Commands
from p2praft.raft.histories.entries import NO_HISTORY
from p2praft.raft.histories.messages import End
from p2praft.storage.base import Archived, Storage

SHORT = 8
"""Characters of a history's id that people are shown."""
_ENDS = {End.SEALED: "sealed", End.REBORN: "born again", End.LEFT: "left"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveInfo:
    """One archive, in a line.

    Attributes:
        number: By which it is asked for.
        history: The history's short id; empty if the archive does not say.
        ended: ``sealed``, ``born again``, ``left``, or ``unknown``.
        into: Short id of the history in favour of which it ended; empty if in favour of none.
        term: Of its last entry.
        index: Of its last entry.
        entries: Entries in it; what its snapshot stands for is not counted.
        commands: Commands in these entries.
        whole: Whether it holds all that the history ever acknowledged, as far as is known.
        problem: Why it cannot be read; empty if it can.
        aside: What of it was not carried over into the history that is held now, for people; empty if nothing is known of.
    """

    number: int
    history: str
    ended: str
    into: str = ""
    term: int = 0
    index: int = 0
    entries: int = 0
    commands: int = 0
    whole: bool = False
    problem: str = ""
    aside: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownEntry:
    """One entry of an archive, for people.

    Attributes:
        index: Its position.
        term: Its term.
        time: The leader's clock, seconds since the Unix epoch.
        proposer: Who asked for it.
        kind: What it is: ``Commands``, ``Genesis``, ….
        commands: Decoded by the machine; text that says why not for one that it cannot decode.
    """

    index: int
    term: int
    time: float
    proposer: str
    kind: str
    commands: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What came of executing an archive's commands again.

    Attributes:
        commands: How many were executed.
        failed: Of these, those that the state machine refused.
    """

    commands: int
    failed: int


def list_archives(storage: Storage) -> list[ArchiveInfo]:
    """All archives, the oldest first; one that cannot be read says so, and hides no other.

    Raises:
        StorageError: The storage itself cannot be read.
    """
    return [_info(storage, archived) for archived in storage.archives()]


def show(loaded: Loaded, machine: StateMachine, last: int = 20) -> list[ShownEntry]:
    """The last entries of an archive."""
    entries = loaded.entries
    return [
        ShownEntry(
            index=entry.index,
            term=entry.term,
            time=entry.time,
            proposer=str(entry.proposer),
            kind=type(entry.payload).__name__,
            commands=tuple(_decoded(machine, command) for command in entry.payload.commands)
            if isinstance(entry.payload, Commands | Carried)
            else (),
        )
        for entry in entries[max(0, len(entries) - last) :]
    ]


def export(loaded: Loaded, machine: StateMachine, pristine: bytes) -> Iterator[dict[str, Any]]:
    """An archive as values that JSON knows, one a line: what it is, its state at the end, and its entries' commands.

    The state comes in the pieces of which its snapshot is made, bytes as ``{"base64": …}`` and times as ISO 8601. The machine
    is used before this function returns, and not by the iterator.

    Args:
        loaded: The archive.
        machine: The group's; in the end it is as it was.
        pristine: The bytes of its first snapshot.

    Raises:
        StorageError: The machine does not take it.
    """
    state, _ = _rebuilt(loaded, machine, pristine)
    return _exported(loaded, machine, state)


def _exported(loaded: Loaded, machine: StateMachine, state: bytes) -> Iterator[dict[str, Any]]:
    info = _described(loaded.archived, loaded)
    yield {"archive": info.number, "history": info.history, "ended": info.ended, "into": info.into, "index": info.index}
    for piece in _pieces(state):
        yield {"state": piece}
    for entry in loaded.entries:
        if isinstance(entry.payload, Commands | Carried):
            for command in entry.payload.commands:
                yield {
                    "index": entry.index,
                    "time": entry.time,
                    "proposer": str(entry.proposer),
                    "command": plain(_decoded(machine, command)),
                }


def commands_to_replay(loaded: Loaded, machine: StateMachine, pristine: bytes) -> list[Any]:
    """The commands of an archive that were applied and did not fail, decoded, in their order.

    What the archive's snapshot stands for has no commands any more; :func:`export` shows the state instead. Arguments and
    errors as for :func:`export`.
    """
    _, commands = _rebuilt(loaded, machine, pristine)
    return [machine.decode(command) for command in commands]


# --- inner workings -----------------------------------------------------------------------------------------------


def _rebuilt(loaded: Loaded, machine: StateMachine, pristine: bytes) -> tuple[bytes, list[bytes]]:
    """The bytes of the state at the end, and the commands that led there."""
    try:
        with borrowed(machine):
            rebuilt = finish(states_of(machine, pristine, loaded, None))
            return b"".join(machine.chunks(rebuilt.sealed)), [command for _, command in rebuilt.own]
    except StorageError:
        raise
    except Exception as error:  # the machine's own code
        raise StorageError(
            f"archive {loaded.archived.number} cannot be taken by the state machine: {type(error).__name__}: {error}; "
            "was it written by another version of it?"
        ) from error


def _info(storage: Storage, archived: Archived) -> ArchiveInfo:
    try:
        return _described(archived, load(storage, archived.number))
    except StorageError as error:
        return _described(archived, None, str(error))


def _described(archived: Archived, loaded: Loaded | None, problem: str = "") -> ArchiveInfo:
    ended = archived.ended
    entries = loaded.entries if loaded is not None else ()
    return ArchiveInfo(
        number=archived.number,
        history=ended.branch.history.hex()[:SHORT] if ended else "",
        ended=_ENDS[ended.how] if ended else "unknown",
        into=ended.into.hex()[:SHORT] if ended and ended.into != NO_HISTORY else "",
        term=ended.branch.at.term if ended else entries[-1].term if entries else 0,
        index=ended.branch.at.index if ended else entries[-1].index if entries else 0,
        entries=len(entries),
        commands=sum(len(e.payload.commands) for e in entries if isinstance(e.payload, Commands | Carried)),
        whole=archived.whole,
        problem=problem,
    )


def _decoded(machine: StateMachine, command: bytes) -> Any:
    try:
        return machine.decode(command)
    except Exception as error:  # the machine's own code, at bytes that it may not have written
        return f"cannot be decoded: {type(error).__name__}: {error}"


def _pieces(state: bytes) -> Iterator[Any]:
    """The MessagePack values that a snapshot is made of; its bytes as they are if it is made of something else."""
    unpacker = msgpack.Unpacker(timestamp=3, strict_map_key=False, max_buffer_size=0)
    unpacker.feed(state)
    try:
        values = [plain(value) for value in unpacker]
        if unpacker.tell() != len(state):
            raise ValueError("something is left over")
    except Exception:  # msgpack raises many kinds for what is not its own
        values = [plain(state)]
    yield from values


def plain(value: Any) -> Any:
    """The same value of what JSON knows: bytes as ``{"base64": …}``, times as ISO 8601."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
