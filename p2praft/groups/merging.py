"""What ``merge`` would do, for an operator: the two parts of a group that met, and which of them ends."""

from __future__ import annotations

from dataclasses import dataclass

from p2praft.groups.archives import SHORT
from p2praft.raft.histories.entries import Measure
from p2praft.raft.histories.states import Wait
from p2praft.raft.status import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class PartInfo:
    """One of two parts of a group that were founded apart.

    Attributes:
        history: Short id of its history.
        voters: The most voters that it ever had.
        disks: The most voters with disks that it ever had.
        commands: Bounds of the number of entries with commands in its log, both inclusive. A part says no more than the number's
            binary digits.
    """

    history: str
    voters: int
    disks: int
    commands: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeInfo:
    """Two parts that met.

    Attributes:
        this: The part that this member is in.
        other: The part that it has met; the one that counts most, if there are several.
        this_ends: Whether this part is the one that ends.
        waits: Whether this part waits for ``merge``. If not, the one that ends does so by itself, or waits at its own leader.
    """

    this: PartInfo
    other: PartInfo
    this_ends: bool
    waits: bool


def merge_info(status: Status) -> MergeInfo | None:
    """Of the status of a member's engine; None if it has met no other part, or is in none."""
    if status.measure is None or not status.met:
        return None
    other = status.met[-1]
    return MergeInfo(
        this=_part(status.measure),
        other=_part(other),
        this_ends=status.measure < other,
        waits=status.waits is not None and status.waits[0] is Wait.OPERATOR,
    )


def _part(measure: Measure) -> PartInfo:
    digits = measure.digits
    return PartInfo(
        history=measure.history.hex()[:SHORT],
        voters=measure.breadth,
        disks=measure.durable,
        commands=(2 ** (digits - 1) if digits else 0, 2**digits - 1),
    )
