"""What a group has taken over from histories that ended in its favour, so that nothing is done twice: pure.

The table is part of the replicated state and of every snapshot, and nothing in it is ever forgotten. It knows

- each *list* of carried commands that was begun, how far it has come, and what its digest is. Another list of the same end never
  continues it; and where the commands were made by ``reconcile``, no list of another end of the same history begins beside
  it, for the two would hold the same things.
- each *replayed* session's newest command. A session's commands come in their order, so a number up to it was taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from enum import Enum
from typing import Any

from p2praft.raft.entries import Carried, CarriedList, Origin
from p2praft.raft.histories.entries import Branch, HistoryId, source_of
from p2praft.raft.types import Cursor, Index, Term


class Taken(Enum):
    """What is to be done with a part of a list."""

    APPLY = "apply"
    REPEAT = "repeat"
    """All of it was taken before."""
    GAP = "gap"
    """Something before it was not taken yet."""
    OTHER = "other"
    """Another list was begun before it: this one is never taken."""


class AbsorbedTable:
    """Lists and replayed sessions that were taken over."""

    def __init__(self) -> None:
        self._lists: dict[HistoryId, CarriedList] = {}
        self._seen: dict[tuple[HistoryId, int], int] = {}

    # --- lists

    def lists(self) -> Iterator[CarriedList]:
        """All of them, in the order in which they were begun."""
        return iter(self._lists.values())

    def get(self, source: HistoryId) -> CarriedList | None:
        """The list that carries over one end."""
        return self._lists.get(source)

    def of_history(self, history: HistoryId) -> list[CarriedList]:
        """Lists of any end of a history."""
        return [row for row in self._lists.values() if row.end.history == history]

    def judge(self, part: Carried) -> Taken:
        """Whether a part is what comes next of its list."""
        begun = self._lists.get(part.of)
        if begun is None:
            if not part.replayed and any(not row.replayed for row in self.of_history(part.end.history)):
                return Taken.OTHER
            return Taken.APPLY if part.first == 1 else Taken.GAP
        if (begun.digest, begun.total) != (part.digest, part.total):
            return Taken.OTHER
        if part.first > begun.next:
            return Taken.GAP
        return Taken.APPLY if part.first + part.places > begun.next else Taken.REPEAT

    def take(self, part: Carried) -> int:
        """Note a part that is to be applied; how many of its commands, from the front, were taken before."""
        source = part.of
        begun = self._lists.get(source)
        before = begun.next - part.first if begun is not None else 0
        after = part.first + part.places
        self._lists[source] = CarriedList(
            end=part.end, digest=part.digest, next=after, total=part.total, replayed=part.replayed
        )
        rows = len(part.lists) + len(part.seen)
        for row in part.lists:
            self._adopt(row)
        for origin in part.seen:
            self.note(origin)
        return max(0, before - rows)

    def _adopt(self, row: CarriedList) -> None:
        """Take over what the ended history knew of a list; adopting it twice changes nothing."""
        source = source_of(row.end)
        ours = self._lists.get(source)
        if ours is None:
            self._lists[source] = row
        elif (ours.digest, ours.total) == (row.digest, row.total):
            self._lists[source] = replace(ours, next=max(ours.next, row.next))
        elif row.is_complete and not ours.is_complete:
            self._lists[source] = row  # what is still to come of ours has come with the history that had taken it all

    # --- replayed commands

    def has(self, origin: Origin) -> bool:
        """Whether a replayed command was taken before."""
        return origin.number <= self._seen.get((origin.history, origin.session), 0)

    def note(self, origin: Origin) -> None:
        """A replayed command is taken."""
        key = (origin.history, origin.session)
        self._seen[key] = max(origin.number, self._seen.get(key, 0))

    def seen(self) -> Iterator[Origin]:
        """The newest command of each replayed session."""
        for (history, session), number in self._seen.items():
            yield Origin(history=history, session=session, number=number)

    # --- snapshots

    def dump(self) -> list[Any]:
        """The table as a MessagePack value; the same on every member."""
        lists = [
            [
                *(row.end.history, row.end.at.term, row.end.at.index, row.end.digest),
                *(row.digest, row.next, row.total, row.replayed),
            ]
            for row in self._lists.values()
        ]
        return [lists, [[history, session, number] for (history, session), number in self._seen.items()]]

    @classmethod
    def load(cls, dumped: list[Any]) -> AbsorbedTable:
        """The table that :meth:`dump` gave."""
        table = cls()
        lists, seen = dumped
        for history, term, index, at, digest, after, total, replayed in lists:
            end = Branch(history=history, at=Cursor(Term(term), Index(index)), digest=at)
            table._lists[source_of(end)] = CarriedList(
                end=end, digest=digest, next=after, total=total, replayed=replayed
            )
        for history, session, number in seen:
            table._seen[history, session] = number
        return table
