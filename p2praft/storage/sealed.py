"""How values stand in a file: as MessagePack, strictly typed, each with a checksum of its own."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import msgpack

from p2praft.raft.effects import HardState
from p2praft.raft.entries import Base, LogEntry, Snapshot
from p2praft.raft.histories.record import Record
from transport import WireError
from transport.wire import Schema, Size

T = TypeVar("T")


class Damaged(Exception):
    """Something in the file cannot be trusted; the text says what, and what is wrong with it."""


class Sealed(Generic[T]):
    """Puts values of one annotated type into bytes and takes them out again.

    Args:
        annotation: The type.
    """

    __slots__ = ("_schema",)

    def __init__(self, annotation: type[T] | Any) -> None:
        self._schema: Schema[T] = Schema(annotation)

    def seal(self, value: T) -> bytes:
        """The value's bytes, and their checksum."""
        body: bytes = msgpack.packb(self._schema.dump(value))
        return seal_bytes(body)

    def unseal(self, data: bytes, what: str) -> T:
        """The value again.

        Args:
            data: As :meth:`seal` made it.
            what: What it is, for the error.

        Raises:
            Damaged: The checksum is wrong, or it is no such value.
        """
        body = unseal_bytes(data, what)
        try:
            return self._schema.load(msgpack.unpackb(body))
        except (ValueError, WireError) as error:
            raise Damaged(f"{what} cannot be read: {error}") from None


def seal_bytes(body: bytes) -> bytes:
    """Bytes with their checksum behind them."""
    return body + zlib.crc32(body).to_bytes(4, "big")


def unseal_bytes(data: bytes, what: str) -> bytes:
    """Those bytes without it.

    Raises:
        Damaged: It is wrong.
    """
    body, checksum = data[:-4], data[-4:]
    if zlib.crc32(body).to_bytes(4, "big") != checksum:
        raise Damaged(f"{what} has a wrong checksum")
    return body


@dataclass(frozen=True, slots=True)
class Kept:
    """The newest snapshot and in which of the two slots its chunks are; the next one is stored in the other."""

    slot: int
    snapshot: Snapshot


ENTRY = Sealed[LogEntry](LogEntry)
STATE = Sealed[HardState](HardState)
RECORD = Sealed[Record](Record)
INCARNATION = Sealed[bytes](Annotated[bytes, Size(8, 8)])
START = Sealed[int](int)
BASE = Sealed[Base](Base)
KEPT = Sealed[Kept](Kept)


def unseal_log(rows: Iterable[tuple[int, bytes]], base: Base | None, snapshot: Snapshot | None) -> tuple[LogEntry, ...]:
    """The entries of a log, in their order.

    Raises:
        Damaged: One is damaged or missing; or nothing stands for what came before the first.
    """
    entries = tuple(ENTRY.unseal(data, f"entry {index}") for index, data in rows)
    check_log(entries, base, snapshot)
    return entries


def check_log(entries: Sequence[LogEntry], base: Base | None, snapshot: Snapshot | None) -> None:
    """See that nothing is missing.

    Raises:
        Damaged: An entry is; or a snapshot that stands for what came before the first.
    """
    begin = base.last.index if base else 0
    for expected, entry in enumerate(entries, start=begin + 1):
        if entry.index != expected:
            raise Damaged(f"entry {expected} is missing")
    if begin and (snapshot is None or snapshot.base.last.index < begin):
        raise Damaged(f"the log begins behind entry {begin}, but there is no snapshot up to there")
