# mypy: ignore-errors
"""Wrote ``format_2.sqlite``, with the sources of release 0.1 (commit b7d9541): not with those beside it.

Usage: PYTHONPATH=SOURCES_OF_0_1 python write_format_2.py format_2.sqlite
"""

from __future__ import annotations

import sys

from p2praft.raft.effects import ChunkWrite, HardState, Write
from p2praft.raft.entries import Base, Commands, Configuration, LogEntry, NoOp, OpenSession, Snapshot
from p2praft.raft.histories.entries import Genesis
from p2praft.raft.types import Cursor, Index, Member, Term
from p2praft.storage import SqliteStorage
from transport import PeerId

DURABLE, VOLATILE, GONE = (
    Member(PeerId(bytes([number]) * 32), bytes([number]) * 8, number == 2) for number in (1, 2, 3)
)


def genesis(history: bytes, attempt: int, *founders: Member) -> Genesis:
    return Genesis(
        history=history * 16, writer=DURABLE, attempt=attempt, founders=founders, reluctant=False, created=1.5
    )


def entry(term: int, index: int, payload) -> LogEntry:
    return LogEntry(term=Term(term), index=Index(index), time=float(index), proposer=DURABLE.peer_id, payload=payload)


def commands(first: int) -> Commands:
    return Commands(session=4, first=first, settled=first - 1, commands=(b"word %d" % first, b"again"))


def base(of: Genesis, index: int, *voters: Member) -> Base:
    last = Cursor(Term(2), Index(index))
    return Base(last=last, time=float(index), genesis=of, voters=voters, voters_index=Index(3))


storage = SqliteStorage(sys.argv[1])

# The first history: archived with its whole log.
log = (entry(1, 1, genesis(b"a", 1, DURABLE)), entry(1, 2, commands(1)))
storage.write(
    [Write(serial=1, state=HardState(term=Term(1), vote=DURABLE, attempt=1), replace_from=Index(1), entries=log)]
)
storage.write([Write(serial=2, state=HardState(attempt=1), clear=True, archive=True)])

# The second: archived after its beginning was compacted.
second = genesis(b"b", 2, DURABLE, VOLATILE)
log = (
    entry(2, 1, second),
    entry(2, 2, NoOp()),
    entry(2, 3, Configuration(voters=(DURABLE, VOLATILE))),
    entry(2, 4, OpenSession(nonce=b"n" * 16)),
    *(entry(2, index, commands(index - 4)) for index in range(5, 9)),
)
storage.write(
    [Write(serial=3, state=HardState(term=Term(2), attempt=2, founded=True), replace_from=Index(1), entries=log)]
)
storage.write([ChunkWrite(number=0, data=b"archived "), ChunkWrite(number=1, data=b"state")])
kept = Snapshot(base=base(second, 6, DURABLE, VOLATILE), chunks=2, digest=b"d" * 32)
storage.write([Write(serial=4, snapshot=kept, base=base(second, 4, DURABLE, VOLATILE))])
storage.write([Write(serial=5, state=HardState(attempt=2, lost=(GONE,)), clear=True, archive=True)])

# The third: the live one.
third = genesis(b"c", 3, DURABLE, VOLATILE)
log = (
    entry(1, 1, third),
    entry(2, 2, NoOp()),
    entry(2, 3, Configuration(voters=(DURABLE, VOLATILE, GONE))),
    entry(2, 4, OpenSession(nonce=b"m" * 16)),
    *(entry(2, index, commands(index - 4)) for index in range(5, 9)),
    entry(3, 9, NoOp()),
    entry(3, 10, Configuration(voters=(DURABLE, VOLATILE))),
)
state = HardState(term=Term(3), vote=VOLATILE, attempt=3, founded=True, lost=(GONE,))
storage.write([Write(serial=6, state=state, replace_from=Index(1), entries=log)])
storage.write([ChunkWrite(number=number, data=b"chunk %d" % number) for number in range(3)])
kept = Snapshot(base=base(third, 7, DURABLE, VOLATILE, GONE), chunks=3, digest=b"e" * 32)
storage.write([Write(serial=7, snapshot=kept, base=base(third, 5, DURABLE, VOLATILE, GONE))])
storage.close()
