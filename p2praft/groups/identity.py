"""Watches that an identity is one process: a group's shell around :mod:`p2praft.groups.twins`.

Whoever has met two processes of one identity tells each of them, over its bond. Both say so once. One ends, and until it has, no
member keeps a bond with it: so nobody counts both as one member.
"""

from __future__ import annotations

import contextlib
import logging

from p2praft.errors import IdentityInUse
from p2praft.groups.bond import Bond, Membership, Twin
from p2praft.groups.events import GroupEvent
from p2praft.groups.twins import Process, Twins, decide
from p2praft.groups.worker import Worker
from transport import LinkClosed, LinkFull, PeerId

logger = logging.getLogger("p2praft.group")

MAX_TOLD = 64
"""Other processes of our own identity that are told of, once each; beyond, nothing is said any more."""
ENDS = "another process has this identity, and goes on in its place"


class IdentityWatch:
    """Looks at every bond before the worker gets it, and ends the group here if another process is to go on in its place.

    Args:
        worker: Whose group it is.
        own: What this process shows on its bonds.
    """

    def __init__(self, worker: Worker, own: Membership) -> None:
        self._worker = worker
        self._own = own
        self._twins = Twins()
        self._told: list[Process] = []
        worker.on_twin = self.hear

    def admits(self, bond: Bond) -> bool:
        """Whether the worker may have the bond; if not, it is closed."""
        peer_id = bond.member.peer_id
        met = Process(
            nonce=bond.process,
            start=bond.start,
            incarnation=bond.member.incarnation,
            address=str(bond.link.connection.remote),
        )
        # A link that has ended already is no sign of life.
        meeting = None if bond.link.closed else self._twins.meet(peer_id, met)
        if meeting is None:
            return True
        if meeting.first:
            self._warn(peer_id, met, meeting.other)
        _send(bond, Twin(one=met, other=meeting.other))
        if meeting.ends:
            bond.link.close(ENDS)
        return not meeting.ends

    def hear(self, twin: Twin) -> None:
        """A member tells of two processes. It counts only if one of them is ours, and then by the order that all keep."""
        if self._is_ours(twin.one) and not self._is_ours(twin.other):
            self._settle(twin.one, twin.other)

    # --- inner workings

    def _is_ours(self, process: Process) -> bool:
        own = self._own
        return (process.nonce, process.start) == (own.process, own.start)

    def _settle(self, own: Process, other: Process) -> None:
        """Say once that there is another, and end if it is we who must."""
        if len(self._told) >= MAX_TOLD or any(other.is_same(told) for told in self._told):
            return
        self._told.append(other)
        peer_id, ends = self._own.me.peer_id, decide(own, other)
        error = IdentityInUse(
            f"identity {peer_id} is used by two processes: this one at {_where(own)}, and another at {_where(other)}, with "
            f"{_shared(own, other)}. {'This' if ends else 'The other'} one ends. One identity is one process: stop the one that "
            "is the copy, remove its data directory and key file, and start it anew: it makes a key of its own, and joins as a "
            "new member"
        )
        logger.error("group %s: %s", self._worker.name, error)
        self._tell(peer_id, str(error))
        if ends:
            self._worker.fail(error)

    def _warn(self, peer_id: PeerId, met: Process, other: Process) -> None:
        ends, stays = (met, other) if decide(met, other) else (other, met)
        text = (
            f"identity {peer_id} is used by two processes, with {_shared(met, other)}: the one at {_where(stays)} stays a member, "
            f"the one at {_where(ends)} is told to end; one of the two is a copy, and needs a key and a data directory of its own"
        )
        logger.warning("group %s: %s", self._worker.name, text)
        self._tell(peer_id, text)

    def _tell(self, peer_id: PeerId, text: str) -> None:
        self._worker.tell(GroupEvent(kind="twin", term=self._worker.engine.term, peer=peer_id, text=text))


def _where(process: Process) -> str:
    return f"{process.address} (start {process.start})"


def _shared(one: Process, other: Process) -> str:
    return "copies of one data directory" if one.incarnation == other.incarnation else "one key, and data of their own"


def _send(bond: Bond, message: Twin) -> None:
    with contextlib.suppress(LinkClosed, LinkFull):  # it dials again, and is told then
        bond.link.send_nowait(message)
