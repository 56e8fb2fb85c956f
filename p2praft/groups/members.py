"""What one member knows of the others in its group."""

from __future__ import annotations

from dataclasses import dataclass

from p2praft.groups.worker import Worker
from transport import PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberInfo:
    """A member of the group: this one, one that is bonded with it, or a voter that is away.

    Attributes:
        peer_id: Who.
        voter: Whether it counts in majorities.
        observer: Whether it never votes or leads, by its own word; None if it has not said, or is away.
        leader: Whether it leads, as far as this member knows.
        bonded: Whether this member has a bond with it now, or is it.
        rtt: Smoothed round-trip time in seconds; None if not measured.
        match: Highest log index it is known to hold; None where this member does not know, for only a leader is told.
    """

    peer_id: PeerId
    voter: bool
    observer: bool | None
    leader: bool
    bonded: bool
    rtt: float | None
    match: int | None


def members_of(worker: Worker) -> tuple[MemberInfo, ...]:
    """All members that this one knows of, in order."""
    status = worker.engine.status()
    me = worker.me.peer_id
    voters = {member.peer_id for member in status.voters}
    factors = {member.peer_id: factor for member, factor in status.factors.items()}
    factors[me] = worker.preference.factor
    matches = {member.peer_id: match for member, match in status.matches.items()}
    matches[me] = int(status.last.index)
    leader = status.leader.peer_id if status.leader is not None else None

    def info(peer: PeerId) -> MemberInfo:
        bond = worker.bonds.get(peer)
        return MemberInfo(
            peer_id=peer,
            voter=peer in voters,
            observer=factors[peer] == 0 if peer in factors else None,
            leader=peer == leader,
            bonded=bond is not None or peer == me,
            rtt=bond.rtt if bond else None,
            match=matches.get(peer),
        )

    return tuple(info(peer) for peer in sorted({me, *voters, *worker.bonds}))
