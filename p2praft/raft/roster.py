"""Who is around: the members that can be sent to, what they said of themselves, and which incarnations are over."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from p2praft.raft.histories.entries import HistoryId
from p2praft.raft.histories.messages import Standing
from p2praft.raft.types import START, Cursor, Member
from transport import PeerId


class Roster:
    """What one member knows of the others.

    Args:
        me: This member.
        now: The engine's clock, seconds.

    Attributes:
        bonded: Members that can be sent to, with what they said of themselves; None until they did.
        since: When each of them was bonded.
        lost: Members that an operator has declared lost for ever.
        acknowledged: The last that each member has acknowledged to us: in which history, in which start of its storage, where.
    """

    def __init__(self, me: Member, now: float) -> None:
        self.bonded: dict[Member, Standing | None] = {}
        self.since: dict[Member, float] = {}
        self.lost: frozenset[Member] = frozenset()
        self.acknowledged: dict[Member, tuple[bytes, int, Cursor]] = {}
        self._latest: dict[PeerId, Member] = {me.peer_id: me}
        self._ended: set[Member] = set()

    def meet(self, member: Member, now: float) -> None:
        """It can be sent to from now on."""
        self.bonded[member] = None
        self.since[member] = now
        self.note(member)

    def note(self, member: Member) -> None:
        """Remember an incarnation that was seen."""
        latest = self._latest.get(member.peer_id)
        if latest is None or member.is_later_than(latest):
            self._latest[member.peer_id] = member

    def hear(self, member: Member, standing: Standing) -> None:
        """It says what it is."""
        self.bonded[member] = standing

    def part(self, member: Member) -> None:
        """It cannot be sent to any more."""
        del self.bonded[member]
        del self.since[member]

    def end(self, member: Member) -> None:
        """It said itself that its incarnation ends."""
        self._ended.add(member)

    def latest(self, member: Member) -> Member:
        """The latest incarnation of the member's peer that was seen."""
        return self._latest.get(member.peer_id, member)

    def acknowledge(self, member: Member, history: bytes, last: Cursor) -> None:
        """A member says that it holds what a leader sent it, up to ``last``."""
        standing = self.bonded.get(member)
        if standing is None:
            return
        if member in self.acknowledged:
            before, _, highest = self.acknowledged[member]
            last = max(last, highest) if before == history else last  # it may be asked again for what it has
        self.acknowledged[member] = (history, standing.start, last)

    def has_forgotten(self, member: Member, standing: Standing, held: HistoryId, before: Collection[HistoryId]) -> bool:
        """Whether a member began this start with less than it had acknowledged to us in an earlier one.

        The order of positions is the paper's (section 5.4.1). Truncating and appending is one transaction, so it never goes back.

        Args:
            member: Who says so.
            standing: What it says.
            held: The history that we hold.
            before: Those in which no incarnation begins anew once it was in that one.
        """
        history, start, last = self.acknowledged.get(member, (b"", standing.start, START))
        if start >= standing.start:
            return False
        if history == standing.began_in:
            return standing.began_with < last
        return history == held and standing.began_in in before

    def is_over(self, member: Member) -> bool:
        """Whether the member's memory is gone: its peer was bonded as a later incarnation, or an operator or itself said so."""
        latest = self._latest.get(member.peer_id, member)
        if latest is not member and latest.is_later_than(member):
            return True
        return bool(self.lost or self._ended) and (member in self.lost or member in self._ended)

    def over(self, members: Iterable[Member]) -> tuple[Member, ...]:
        """Those of ``members`` that are over, in order."""
        return tuple(sorted(filter(self.is_over, members)))
