"""What the outside may know of an engine: a frozen picture, taken when somebody asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from p2praft.raft.entries import Snapshot
from p2praft.raft.histories.entries import Genesis, Measure
from p2praft.raft.histories.states import State, Wait
from p2praft.raft.types import Cursor, Index, Member, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One member of one group, at one moment.

    Attributes:
        me: This member.
        state: What it holds; see :mod:`p2praft.raft.histories.states`.
        history: Id of the history; 16 zero bytes if none.
        genesis: Of the history.
        role: ``leader``, ``candidate``, ``follower`` or ``founder``.
        term: The latest term seen.
        commit: Highest index known to be committed.
        last: Where its log ends.
        leader: Who leads, as far as it knows.
        voters: The newest voter set in its log.
        voters_committed: Whether that set is known to be committed.
        over: Voters whose incarnations are known to be over.
        safe: Whether every voter is live, caught up and not over, by the leader's last word; False without a leader.
        waits: What it waits for, and for whom, if it has no leader.
        differs: Whether its log differs from the leader's at the same position.
        factors: Leadership preference of each bonded member that has said it; 0 is an observer.
        matches: For a leader: the highest index that each member is known to hold.
        snapshot: The newest snapshot.
        measure: The place of its history in the order; None without one.
        met: Places of other histories that it has met lately, the highest last.
        settings_differ: Names of the settings in which this member's own configuration differs from the group's.
    """

    me: Member
    state: State
    history: bytes
    genesis: Genesis | None
    role: str
    term: Term
    commit: Index
    last: Cursor
    leader: Member | None
    voters: tuple[Member, ...]
    voters_committed: bool
    over: tuple[Member, ...]
    safe: bool
    waits: tuple[Wait, tuple[Member, ...]] | None
    differs: bool
    factors: Mapping[Member, float]
    matches: Mapping[Member, int]
    snapshot: Snapshot | None
    measure: Measure | None
    met: tuple[Measure, ...]
    settings_differ: tuple[str, ...] = ()
