"""Tells damage in SQLite's write-ahead log from what a crash leaves there.

SQLite takes the first frame whose checksum fails for the end of the log and forgets all behind it
(https://www.sqlite.org/fileformat2.html#the_write_ahead_log). After a crash that is right: only the last transaction can be
torn, for each is on the disk before the next begins. After one flipped byte it is not: committed transactions behind it would be
forgotten in silence, and with them what a member promised.

The proof of damage is a *successor*: behind the first frame that fails, a frame that commits, and a frame that continues its
checksum. The latter was written only once the former had reached the disk, with all before it. What a crash leaves has no such
pair:

- A torn transaction may lack any of its pages, and parts of pages, for they reach the disk in any order. But it commits once, in
  its last frame. (Where a disk needs it, SQLite repeats that frame up to the end of the sector: a repetition is no successor.)
- Behind it may stand frames of an earlier torn transaction, with the same salts if nothing was checkpointed since. They do not
  continue the checksums of what was written over their beginning, and they commit once as well.
- Behind a restarted log stand frames of the one before, with other salts. They count for nothing.
- A file may end anywhere, and may end in zeros.

Damage to the last transaction alone looks like a torn one; a log that is gone looks like none. Neither can be told by this.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

HEADER = 32
"""Bytes of the log's header."""
FRAME_HEADER = 24
"""Bytes before the page in each frame."""
SECTOR = 512
"""Bytes that a disk writes as a whole, at least."""

Order = Literal["<", ">"]
Sums = tuple[int, int]

_ORDERS: dict[int, Order] = {0x377F0682: "<", 0x377F0683: ">"}
"""In which byte order checksums read their words, by the file's magic number."""
_MASK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """How a log is to be read; ``seed`` is the header's checksum, and None if the header cannot be trusted."""

    page_size: int
    order: Order
    salts: bytes
    seed: Sums | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """A frame as it stands in the file, and where."""

    number: int
    page: int
    mark: int
    salts: bytes
    sums: Sums
    body: bytes
    torn_header: bool
    """Whether its header lies across two sectors, and so may be half of one frame and half of another."""

    @property
    def data(self) -> bytes:
        """The page."""
        return self.body[8:]

    def repeats(self, other: _Frame) -> bool:
        """Whether it is the same page once more, to fill a sector."""
        return self.body == other.body


@dataclass(frozen=True, slots=True)
class _Link:
    """A frame, what it could have continued, and whether it did."""

    frame: _Frame
    seeds: tuple[Sums, ...]
    continues: bool


def damaged_frame(database: Path) -> int | None:
    """Look at a database's write-ahead log before SQLite reads it.

    Returns:
        The number of the frame, from 1, whose damage would make SQLite forget committed transactions; 0 for the log's header;
        None if there is none.

    Raises:
        OSError: A file cannot be read.
    """
    log = database.with_name(f"{database.name}-wal")
    if not database.exists() or not database.stat().st_size or not log.exists():
        return None  # SQLite deletes a log without a database
    with database.open("rb") as pages, log.open("rb") as frames:
        return find_damage(frames, pages)


def settle(database: Path) -> None:
    """Bring the log to the disk as it is.

    A process that was killed may have written a transaction which no disk has seen yet. SQLite reads it and appends to it; if the
    power then fails, the disk may have what was appended and lack what it stands on.

    Raises:
        OSError: It cannot be written.
    """
    with suppress(FileNotFoundError), database.with_name(f"{database.name}-wal").open("r+b") as log:
        os.fsync(log.fileno())


def find_damage(log: BinaryIO, database: BinaryIO) -> int | None:
    """The same, of open files."""
    log.seek(0)
    header = log.read(HEADER)
    if len(header) < HEADER:
        return None
    layout = _read_header(header)
    if layout is not None:
        return _first_lost(log, layout)
    for guess in _guesses(log, database, header):
        # A header is torn only where a log is restarted, and that is when the database has all of it.
        if _first_lost(log, guess) is not None and not _is_in(database, log, guess):
            return 0
    return None


def _first_lost(log: BinaryIO, layout: _Layout) -> int | None:
    """Where SQLite's reading ends, if a committed transaction behind that has a successor."""
    broken = 0 if layout.seed is None else None
    before: _Link | None = None
    usual = 0
    for link in _links(log, layout):
        frame, current = link.frame, link.frame.salts == layout.salts
        if broken is None and not (link.continues and current):
            broken = frame.number
        if (
            broken is not None
            and link.continues
            and current
            and before is not None
            and not frame.repeats(before.frame)
            and _commits(before, layout, usual)
        ):
            return broken
        if link.continues and frame.mark:
            usual = frame.mark
        before = link
    return None


def _links(log: BinaryIO, layout: _Layout) -> Iterator[_Link]:
    """Each frame with what it may continue: the checksum that the frame before has, or the one that it should have."""
    seeds: tuple[Sums, ...] = () if layout.seed is None else (layout.seed,)
    for frame in _frames(log, layout.page_size):
        computed = [_sums(frame.body, seed, layout.order) for seed in seeds]
        link = _Link(frame, seeds, frame.sums in computed)
        yield link
        seeds = (frame.sums,) if link.continues else (frame.sums, *computed[:1])


def _commits(link: _Link, layout: _Layout, usual: int) -> bool:
    """Whether the frame ended a transaction when it was written; ``usual`` is the mark of the one before."""
    frame = link.frame
    if link.continues:
        return frame.mark > 0
    for seed in link.seeds:
        marks = _true_marks(frame, seed, layout.order)
        if marks:  # where it is open whether a mark was wiped out or never was, it was if it is the usual one
            return min(marks) > 0 or (usual > 0 and usual in marks)
    # Its checksum vouches for nothing: the mark counts if it came to the disk together with the salts and the checksum.
    return frame.mark > 0 and frame.salts == layout.salts and not frame.torn_header


def _true_marks(frame: _Frame, seed: Sums, order: Order) -> set[int]:
    """What the frame's commit mark may have been when it was written, if one wrong word explains why its checksum fails.

    The checksum can be run backwards. Where the run from the front and the run from the back meet, they say what should stand
    there. Faults in a word's highest bits may have stood in several places.
    """
    words = _words(frame.body, order)
    pairs = list(zip(words[::2], words[1::2], strict=True))
    states = [seed]
    for first, second in pairs:
        states.append(_add(states[-1], first, second))
    marks = set()
    s0, s1 = frame.sums
    for at in range(len(pairs) - 1, -1, -1):
        first, second = pairs[at]
        a0, a1 = states[at]
        should = (s0 - a0 - a1) & _MASK, (s1 - a1 - s0) & _MASK
        if (should[0] == first) != (should[1] == second):
            marks.add(frame.mark if at else int.from_bytes(struct.pack(f"{order}I", should[1]), "big"))
        s1 = (s1 - second - s0) & _MASK
        s0 = (s0 - first - s1) & _MASK
    return marks


def _is_in(database: BinaryIO, log: BinaryIO, layout: _Layout) -> bool:
    """Whether the database has all that the log has committed."""
    newest: dict[int, bytes] = {}
    pending: dict[int, bytes] = {}
    for link in _links(log, layout):
        frame = link.frame
        if frame.salts != layout.salts or not (link.continues or frame.number == 1):
            break
        pending[frame.page] = frame.data
        if frame.mark:
            newest.update(pending)
            newest = {page: data for page, data in newest.items() if page <= frame.mark}
            pending.clear()
    for page, data in newest.items():
        database.seek((page - 1) * layout.page_size)
        if database.read(layout.page_size) != data:
            return False
    return True


def _read_header(header: bytes) -> _Layout | None:
    magic, _, page_size, _ = struct.unpack(">4I", header[:16])
    order = _ORDERS.get(magic)
    sums: Sums = struct.unpack(">2I", header[24:32])
    if order is None or not _is_page_size(page_size) or _sums(header[:24], (0, 0), order) != sums:
        return None
    return _Layout(page_size=page_size, order=order, salts=header[16:24], seed=sums)


def _guesses(log: BinaryIO, database: BinaryIO, header: bytes) -> Iterator[_Layout]:
    """How the log may be meant if its header cannot be trusted: salts from the first frame, the page's size from the database."""
    database.seek(16)
    own = int.from_bytes(database.read(2), "big")
    sizes = dict.fromkeys((65536 if own == 1 else own, int.from_bytes(header[8:12], "big")))
    for page_size in filter(_is_page_size, sizes):
        first = next(_frames(log, page_size), None)
        if first is not None:
            for order in _ORDERS.values():
                yield _Layout(page_size=page_size, order=order, salts=first.salts, seed=None)


def _is_page_size(size: int) -> bool:
    return 512 <= size <= 65536 and size & (size - 1) == 0


def _frames(log: BinaryIO, page_size: int) -> Iterator[_Frame]:
    number, at = 1, HEADER
    while True:
        log.seek(at)
        raw = log.read(FRAME_HEADER + page_size)
        if len(raw) < FRAME_HEADER + page_size:
            return
        page, mark = struct.unpack(">2I", raw[:8])
        yield _Frame(
            number=number,
            page=page,
            mark=mark,
            salts=raw[8:16],
            sums=struct.unpack(">2I", raw[16:24]),
            body=raw[:8] + raw[FRAME_HEADER:],
            torn_header=at // SECTOR != (at + FRAME_HEADER - 1) // SECTOR,
        )
        number, at = number + 1, at + FRAME_HEADER + page_size


def _sums(body: bytes, seed: Sums, order: Order) -> Sums:
    """The checksum of a log, carried on. Source: https://www.sqlite.org/fileformat2.html#checksum_algorithm."""
    s0, s1 = seed
    words = iter(_words(body, order))
    for first, second in zip(words, words, strict=True):
        s0 = (s0 + first + s1) & _MASK
        s1 = (s1 + second + s0) & _MASK
    return s0, s1


def _add(sums: Sums, first: int, second: int) -> Sums:
    s0 = (sums[0] + first + sums[1]) & _MASK
    return s0, (sums[1] + second + s0) & _MASK


def _words(body: bytes, order: Order) -> tuple[int, ...]:
    return struct.unpack(f"{order}{len(body) // 4}I", body)
