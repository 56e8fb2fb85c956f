"""A data directory: can it be locked, read, trusted and written?"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from p2praft.cli.doctor.findings import Finding, faulty, fine
from p2praft.errors import StorageError
from p2praft.storage import DataDirectory, SqliteStorage
from transport import SecretKey, TransportError

CHECK = "data directory"
ROOM = 4 * 1024 * 1024
"""Bytes that must fit: less, and the first snapshot would not."""
PROBE = "doctor.probe"


def examine_directory(path: Path) -> Iterator[Finding]:
    """Look at a data directory that no node should be using now. What does not exist is not made."""
    if not path.exists():
        yield _examine_parent(path)
        return
    if not path.is_dir():
        yield faulty(CHECK, "data-unusable", f"{path} is a file, not a directory")
        return
    problem = _write_problem(path)
    if problem is not None:
        yield problem
        return
    try:
        directory = DataDirectory(path)
    except StorageError as error:
        yield faulty(CHECK, "data-locked" if "in use by" in str(error) else "data-unusable", str(error))
        return
    try:
        yield from _examine_files(path)
    finally:
        directory.close()


def _examine_parent(path: Path) -> Finding:
    parent = next(parent for parent in path.absolute().parents if parent.exists())
    problem = _write_problem(parent)
    return problem or fine(CHECK, f"{path} does not exist yet; it can be made")


def _write_problem(path: Path) -> Finding | None:
    probe = path / PROBE
    try:
        with probe.open("wb") as file:
            file.write(bytes(ROOM))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(path).free
            return faulty(CHECK, "data-full", f"the disk of {path} is full: {free / 1e6:.1f} MB are free")
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            return faulty(CHECK, "data-read-only", f"{path} cannot be written to: {error.strerror}")
        return faulty(CHECK, "data-unusable", f"{path} cannot be used: {error.strerror}")
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
    return None


def _examine_files(path: Path) -> Iterator[Finding]:
    key = path / "identity.key"
    if key.exists():
        try:
            yield fine("identity", f"{key} is the key of {SecretKey.load(key).peer_id}")
        except TransportError as error:
            yield faulty("identity", "key-file", str(error))
    logs = sorted((path / "groups").glob("*.sqlite"))
    for log in logs:
        yield _examine_log(log)
    free = shutil.disk_usage(path).free
    yield fine(CHECK, f"{path} can be used; {len(logs)} group(s) have a log there, {free / 1e9:.1f} GB are free")


def _examine_log(log: Path) -> Finding:
    try:
        storage = SqliteStorage(log)
    except StorageError as error:
        return _of_storage(error)
    try:
        restored = storage.load()
        if restored.snapshot is not None:
            for number in range(restored.snapshot.chunks):
                storage.chunk(number)
    except StorageError as error:
        return _of_storage(error)
    finally:
        storage.close()
    first = restored.base.last.index + 1 if restored.base else 1
    entries = len(restored.entries)
    return fine("log", f"{log.name}: {entries} entries from {first} on, all checksums hold")


def _of_storage(error: StorageError) -> Finding:
    text = str(error)
    if "is full" in text:
        return faulty("log", "data-full", text)
    if "who owns it" in text:
        return faulty("log", "data-read-only", text)
    return faulty("log", "data-corrupt", text)
