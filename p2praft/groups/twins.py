"""Tells two processes of one identity from one process that restarted: pure.

An identity is a key, and a key can be copied: a cloned SD card, a restored image, a container that was started twice. Each of the
processes is honest, and together they break what a member promises: both vote in one term, and each acknowledges what the other
does not have.

A transport keeps one connection for each pair of peers, and the newer one replaces the older. So a third party meets the two in
turn. A process that restarts is met as A, B, and A never comes again: it is dead. Two that live redial, and are met as A, B, A. The
bond that brings A back is the proof that both live.

Which of the two ends, :func:`decide` says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from transport import PeerId
from transport.wire import MAX_INT, Range, Size

MAX_PEERS = 1024
"""Peers whose processes are remembered; of more, those that were met last."""
MAX_PROCESSES = 8
"""Processes of one peer that are remembered, the newest: a node that restarts all the time pushes its own past out."""

Nonce = Annotated[bytes, Size(16, 16)]
Start = Annotated[int, Range(0, MAX_INT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process of an identity, as a bond shows it.

    Attributes:
        nonce: 16 random bytes, new in every process.
        start: Which opening of its storage this is, from 1.
        incarnation: Of its storage.
        address: Where it is, ``host:port``, as whoever met it sees it.
    """

    nonce: Nonce
    start: Start
    incarnation: Annotated[bytes, Size(8, 8)]
    address: Annotated[str, Size(0, 300)]

    def is_same(self, other: Process) -> bool:
        """Whether both are one process with one memory, wherever it was seen, and whatever incarnation it was then."""
        return (self.nonce, self.start) == (other.nonce, other.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """A process that was met, and another one of the same identity that lives as well.

    Attributes:
        other: The other one.
        ends: Whether, of the two, the one that was met ends.
        first: Whether the pair was not known before.
    """

    other: Process
    ends: bool
    first: bool


def decide(own: Process, other: Process) -> bool:
    """Whether ``own`` ends, of two processes of one identity that both live.

    The one with the lower count of starts ends, and of two alike the one with the lower nonce: the two themselves and everybody who
    hears of them decide alike, without a word between them. What a process *holds* is not looked at. Whether it holds less than its
    identity has promised is a question of its own, which comes first: a process that is found to be an old copy has ended its
    incarnation already, and is no twin any more.
    """
    return (own.start, own.nonce) < (other.start, other.nonce)


@dataclass(slots=True, eq=False)
class _Seen:
    """A process, and which others lived beside it."""

    process: Process
    twins: list[Process] = field(default_factory=list)

    def add_twin(self, other: Process) -> bool:
        """Note that ``other`` lives as well; whether that is new."""
        known = [twin for twin in self.twins if not twin.is_same(other)]
        first = len(known) == len(self.twins)
        self.twins = [*known, other][-MAX_PROCESSES:]
        return first

    def meeting(self, *, first: bool) -> Meeting | None:
        """What is to be said of it: the twin that it gives way to, or else the one that was met last."""
        if not self.twins:
            return None
        stronger = [twin for twin in self.twins if decide(self.process, twin)]
        return Meeting(other=(stronger or self.twins)[-1], ends=bool(stronger), first=first)


class Twins:
    """Whom a member has met, as bonds form."""

    def __init__(self) -> None:
        self._peers: dict[PeerId, list[_Seen]] = {}
        """Each peer's processes, and the peers, in the order in which they were met last."""

    def meet(self, peer: PeerId, process: Process) -> Meeting | None:
        """A bond with ``process`` of ``peer`` has formed; what to say of it, if another process of that peer lives as well."""
        seen = self._peers.pop(peer, [])
        self._peers[peer] = seen
        if len(self._peers) > MAX_PEERS:
            del self._peers[next(iter(self._peers))]
        last = seen[-1] if seen else None
        met = next((one for one in seen if one.process.is_same(process)), None)
        first = False
        if met is None:
            met = _Seen(process)
        else:
            seen.remove(met)
            met.process = process  # it may have moved
            if last is not None and last is not met:  # it comes again, behind one that had come after it
                first = met.add_twin(last.process)
                last.add_twin(process)
        seen.append(met)
        del seen[:-MAX_PROCESSES]
        return met.meeting(first=first)
