"""What a member must not forget about histories."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from p2praft.raft.histories.entries import NO_HISTORY, HistoryId
from p2praft.raft.histories.messages import Ended
from p2praft.raft.types import Member, Term
from transport.wire import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What was promised in a history that a founder may have to go back to.

    Attributes:
        history: Which.
        term: The latest term seen in it.
        vote: Who got the vote in that term.
        founded: Whether its genesis is known to be committed.
    """

    history: HistoryId
    term: Term
    vote: Member | None
    founded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a member must not forget about histories.

    Attributes:
        history: The one whose terms and votes the hard state speaks of; 16 zero bytes if none.
        founded: Whether its genesis is known to be committed.
        attempt: Number of the newest attempt at founding; survives the history it belonged to.
        parent: What was promised in the parent, while the genesis of a reborn history is not committed.
        ended: Histories that were left for good.
        lost: Members that an operator has declared lost for ever.
    """

    history: HistoryId = NO_HISTORY
    founded: bool = False
    attempt: int = 0
    parent: Promise | None = None
    ended: Annotated[tuple[Ended, ...], Size(0, 4096)] = ()
    lost: Annotated[tuple[Member, ...], Size(0, 256)] = ()

    def ending(self, ended: Ended) -> Record:
        """The same, with one more history ended."""
        others = tuple(other for other in self.ended if other.branch.history != ended.branch.history)
        return replace(self, ended=(*others, ended))

    def bars(self, history: bytes, incarnation: bytes) -> bool:
        """Whether a member has given up what it promised in ``history``, and so must not take it up again."""
        return any(ended.branch.history == history and ended.incarnation == incarnation for ended in self.ended)
