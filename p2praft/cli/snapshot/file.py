"""The file of a backup.

A line of JSON says what it holds. Blocks follow: a length (4 bytes, big-endian) and as many bytes of MessagePack, a list of
rows ``[key, value, version, seconds left or None]`` in the order of their keys. A length of 0 ends them, and the SHA-256 of
everything before it ends the file. It is written beside its place and put there whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from p2praft.cli.output import CommandError
from p2praft.groups.machine import unpack

FORMAT = "p2praft-snapshot"
VERSION = 1
MAX_HEAD = 64 * 1024
MAX_BLOCK = 4 * 1024 * 1024
"""Bytes of one block at most."""
_LENGTH = struct.Struct(">I")

Row = tuple[str, Any, int, float | None]
"""Key, value, the version that wrote it, and the seconds it had left to live, if it was to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a backup holds.

    Attributes:
        network: Where the group lives.
        group: Which group.
        map_version: Of the map when it was taken: everything up to that change is in it, and nothing later.
        time: The log's time then, seconds since the Unix epoch.
        entries: How many rows there are.
    """

    network: str
    group: str
    map_version: int
    time: float
    entries: int


class BackupError(CommandError):
    """The file cannot be used."""

    def __init__(self, message: str) -> None:
        super().__init__("BackupError", message)


class Writer:
    """Writes blocks; made by :func:`writing`."""

    def __init__(self, file: BinaryIO, head: Head) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._put(json.dumps({"format": FORMAT, "version": VERSION, **asdict(head)}).encode() + b"\n")

    def block(self, data: bytes) -> None:
        """Add a block of rows, encoded."""
        self._put(_LENGTH.pack(len(data)))
        self._put(data)

    def end(self) -> None:
        """Seal it."""
        self._put(_LENGTH.pack(0))
        self._file.write(self._digest.digest())
        self._file.flush()
        os.fsync(self._file.fileno())

    def _put(self, data: bytes) -> None:
        self._digest.update(data)
        self._file.write(data)


@contextmanager
def writing(path: Path, head: Head) -> Iterator[Writer]:
    """Write a backup; what stood at ``path`` before is replaced only once the new one is complete.

    Raises:
        BackupError: It cannot be written.
    """
    beside = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            writer = Writer(file, head)
            yield writer
            writer.end()
        beside.replace(path)
    except OSError as error:
        raise BackupError(f"cannot write {path}: {error.strerror}; nothing was changed there") from None
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def read_head(path: Path) -> Head:
    """What a backup says that it holds.

    Raises:
        BackupError: It is none, or a newer one.
    """
    with _opened(path) as file:
        return _head(path, file.readline(MAX_HEAD))


def read(path: Path) -> Iterator[list[Row]]:
    """The rows of a backup, block by block. Only at the end is it known whether the checksum holds: see :func:`verify`.

    Raises:
        BackupError: It is damaged.
    """
    digest = hashlib.sha256()
    with _opened(path) as file:
        head = file.readline(MAX_HEAD)
        _head(path, head)
        digest.update(head)
        while length := _LENGTH.unpack(_take(path, file, _LENGTH.size, digest))[0]:
            if length > MAX_BLOCK:
                raise _damaged(path, "a block's length makes no sense")
            data = _take(path, file, length, digest)
            try:
                yield [(key, value, version, left) for key, value, version, left in unpack(data)]
            except (ValueError, TypeError):
                raise _damaged(path, "a block cannot be decoded") from None
        if file.read(33) != digest.digest():
            raise _damaged(path, "its checksum does not hold")


def verify(path: Path) -> Head:
    """What a backup holds, if all of it is as it was written.

    Raises:
        BackupError: It is none, of a newer version, or damaged.
    """
    head = read_head(path)
    count = sum(map(len, read(path)))
    if count != head.entries:
        raise _damaged(path, f"it has {count} entries and should have {head.entries}")
    return head


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise BackupError(f"cannot read {path}: {error.strerror}") from None


def _take(path: Path, file: BinaryIO, length: int, digest: Any) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise _damaged(path, "it ends too early")
    digest.update(data)
    return data


def _head(path: Path, line: bytes) -> Head:
    try:
        plain = json.loads(line)
        ours = plain.pop("format") == FORMAT
        version = int(plain.pop("version"))
    except (ValueError, KeyError, AttributeError, TypeError):
        ours, version = False, 0
    if not ours:
        raise BackupError(f"{path} is no backup: `p2praft snapshot save` makes one")
    if version > VERSION:
        raise BackupError(
            f"{path} was made by a newer p2praft (format {version}; this one knows {VERSION}); upgrade it"
        )
    try:
        return Head(**{name: plain[name] for name in Head.__slots__})
    except KeyError as error:
        raise _damaged(path, f"its head does not say its {error.args[0]}") from None


def _damaged(path: Path, why: str) -> BackupError:
    return BackupError(f"{path} is damaged: {why}; restore from another backup, nothing was changed")
