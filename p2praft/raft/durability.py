"""What must be on disk before what leaves: writes by their serial numbers, and the messages that wait for them."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from p2praft.raft.effects import Archive, HardState, Outgoing, Write
from p2praft.raft.entries import Base, Snapshot
from p2praft.raft.histories.record import Record
from p2praft.raft.log import Log
from p2praft.raft.types import Member


class Durability:
    """Collects what is to be written, numbers the writes, and holds back what depends on them.

    Args:
        state: Term and vote, as the storage has them.
        record: What the storage remembers of histories.

    Attributes:
        state: Term and vote, as they are to be.
        record: What is to be remembered of histories.
    """

    def __init__(self, state: HardState, record: Record) -> None:
        self.state = state
        self.record = record
        self._pending = Write(serial=0)
        self._dirty = False
        self._issued = 0
        self._durable = 0
        self._outbox: list[Outgoing] = []
        self._held: deque[tuple[int, Outgoing]] = deque()
        self._barrier = 0

    # --- what is to be written

    def save(self, state: HardState) -> None:
        """Remember term and vote."""
        if state != self.state:
            self.state = state
            self._add(state=state)

    def save_record(self, record: Record) -> None:
        """Remember something of histories."""
        if record != self.record:
            self.record = record
            self._add(record=record)

    def save_snapshot(self, snapshot: Snapshot, base: Base | None) -> None:
        """A snapshot whose chunks are stored takes the place of the one before; the log begins behind ``base``, if given."""
        self._add(snapshot=snapshot)
        if base is not None:
            self._add(base=base)

    def save_incarnation(self, incarnation: bytes) -> None:
        """This member is another one from now on."""
        self._add(incarnation=incarnation)

    def revive(self, history: bytes) -> None:
        """The newest archive of a history becomes the log again, at the next start."""
        self._add(revive=history)

    def archive(self, archive: Archive) -> None:
        """Keep the present log aside, as it is on the disk when this write begins."""
        self._add(archives=(*self._pending.archives, archive))

    def clear(self) -> None:
        """Drop the log, behind what else this write does to it; what was promised about it will not be sent."""
        self._add(clear=True)
        self._held.clear()

    def _add(self, **changes: object) -> None:
        self._pending = replace(self._pending, **changes)  # type: ignore[arg-type]
        self._dirty = True

    # --- serials

    def is_settled(self, log: Log) -> bool:
        """Whether all that was changed so far is in a write that was taken."""
        return self.pending_serial(log) == self._issued

    def pending_serial(self, log: Log) -> int:
        """Serial of the write that will hold all that was changed so far."""
        return self._issued + (self._dirty or log.has_unwritten)

    def is_durable(self, serial: int) -> bool:
        """Whether the write ``serial``, and all before it, are on disk."""
        return serial <= self._durable

    def take_write(self, log: Log) -> Write | None:
        """What is to be made durable, if anything."""
        if self.is_settled(log):
            return None
        self._issued += 1
        replace_from, entries = log.take_unwritten(self._issued)
        if not self._dirty:
            return Write(serial=self._issued, replace_from=replace_from, entries=entries)
        write = replace(self._pending, serial=self._issued, replace_from=replace_from, entries=entries)
        self._pending, self._dirty = Write(serial=0), False
        return write

    def persisted(self, serial: int) -> None:
        """The write ``serial``, and all before it, are durable."""
        self._durable = max(self._durable, serial)
        while self._held and self._held[0][0] <= serial:
            self._outbox.append(self._held.popleft()[1])

    # --- messages

    def hold_all(self, log: Log) -> int:
        """Let nothing leave before all that was changed so far is durable; the serial of that write."""
        self._barrier = self.pending_serial(log)
        return self._barrier

    def send(self, outgoing: Outgoing) -> None:
        """Send now."""
        if self.is_durable(self._barrier):
            self._outbox.append(outgoing)
        else:
            self._held.append((self._barrier, outgoing))

    def send_when_durable(self, outgoing: Outgoing, log: Log) -> None:
        """Send once all that was changed so far is durable."""
        if self.is_durable(serial := self.pending_serial(log)):
            self._outbox.append(outgoing)
        else:
            self._held.append((serial, outgoing))

    def take_messages(self) -> list[Outgoing]:
        """What may leave now."""
        messages, self._outbox = self._outbox, []
        return messages

    def forget(self, member: Member) -> None:
        """The bond is gone: what was held for it will not be sent."""
        self._held = deque(item for item in self._held if item[1].to != member)
