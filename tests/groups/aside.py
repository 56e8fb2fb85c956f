"""An archive for tests of those that read them."""

from __future__ import annotations

from p2praft import Group
from p2praft.raft.effects import Archive, Write
from p2praft.raft.histories.entries import Branch
from p2praft.raft.histories.messages import End, Ended


def keep_aside(group: Group) -> None:
    """Put a copy of the group's log in memory aside, as if it had been another history's."""
    log = group._worker.engine.ctx.log
    branch = Branch(history=b"x" * 16, at=log.last, digest=log.digest_at(log.last.index))
    ended = Ended(branch=branch, how=End.LEFT, incarnation=b"i" * 8)
    entries = tuple(log.between(1, log.last.index))
    group._worker._storage.write([Write(serial=1, archives=(Archive(ended=ended, whole=True, entries=entries),))])
