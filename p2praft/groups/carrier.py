"""Brings prepared lists into the living history, part by part: what to propose next, and what to tell of it. Pure.

Every member that holds the whole of an ended history may propose its list; the replicated table sees to it that nothing is
taken twice. So that they do not all do it at once, each waits first, the longer the higher its rank; whoever sees another's
part applied waits again. Whoever sees its own part applied goes on at once.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from p2praft.groups.absorbed import AbsorbedTable, Taken
from p2praft.groups.applier import CarriedOver, Tables
from p2praft.groups.carrying import CarryList, Code, Outcome
from p2praft.groups.machine import StateMachine
from p2praft.raft.entries import Carried
from p2praft.raft.histories.entries import NO_HISTORY, Branch, HistoryId, Past, source_of
from p2praft.raft.histories.messages import End

RESEND = 5.0
"""Seconds after which a part that was not applied is proposed again."""
NAMED = 20
"""Conflicts that are named at most; more are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What came of one history's commands, for the application and the log.

    Attributes:
        code: What.
        history: The ended history's id.
        number: This member's archive of it; None if it has none.
        commands: Commands that were applied, those that failed included; 0 unless ``code`` is ``CARRIED``.
        failed: Of these, those that the state machine refused.
        conflicts: What the machine says was not taken, the first 20; see :meth:`~p2praft.StateMachine.conflict`.
        conflicted: How many there were.
        left_out: Entries with commands that are in the archive only.
        detail: Why not.
    """

    code: Code
    history: HistoryId
    number: int | None = None
    commands: int = 0
    failed: int = 0
    conflicts: tuple[str, ...] = ()
    conflicted: int = 0
    left_out: int = 0
    detail: str = ""

    @property
    def loses(self) -> bool:
        """Whether something is in the archive only: worth a warning."""
        return bool(self.left_out or self.failed or self.conflicted) or self.code is Code.OTHER_LIST

    @property
    def text(self) -> str:
        """One sentence or two for people."""
        name = self.history.hex()[:8]
        where = (
            "" if self.number is None else f"; archive {self.number} has all of it: `archive show`, `archive replay`"
        )
        if self.code is not Code.CARRIED:
            why = f" ({self.detail})" if self.detail else ""
            return f"nothing of history {name} was carried over: {self.code}{why}; {self.left_out} entries stay aside{where}"
        text = f"history {name} was carried over: {self.commands} commands"
        if self.failed:
            text += f", {self.failed} of them failed"
        if self.conflicted:
            more = "" if self.conflicted == len(self.conflicts) else ", …"
            text += f", {self.conflicted} met another value and were not taken ({', '.join(self.conflicts)}{more})"
        if self.left_out:
            text += f", {self.left_out} older entries were compacted away"
        return text + (where if self.loses else "")


@dataclass(slots=True, eq=False)
class _Tally:
    """What this member has seen applied of one list."""

    commands: int = 0
    failed: int = 0
    conflicts: list[str] = field(default_factory=list)
    conflicted: int = 0


class Carrier:
    """Knows this member's lists, how far each has come, and what to do next.

    Args:
        machine: The group's; asked what a result says of conflicts.
        rng: For waiting times.
        resend: Seconds after which a part that was not applied is proposed again.
    """

    def __init__(self, machine: StateMachine, rng: random.Random, resend: float = RESEND) -> None:
        self._machine = machine
        self._rng = rng
        self._resend = resend
        self._pending: dict[HistoryId, Outcome] = {}
        self._tallies: dict[HistoryId, _Tally] = {}
        self._told: deque[Told] = deque()
        self._at: float | None = None

    # --- what there is to do

    @property
    def is_done(self) -> bool:
        """Whether no list of this member waits."""
        return not self._pending

    @property
    def pending(self) -> tuple[Outcome, ...]:
        """What waits, in the order in which it came."""
        return tuple(self._pending.values())

    @property
    def deadline(self) -> float:
        """When :meth:`next` may have something; infinite if nothing waits, the past if it was never asked."""
        if not self._pending:
            return float("inf")
        return float("-inf") if self._at is None else self._at

    def add(self, outcome: Outcome) -> None:
        """Take what came of an archive: a list to be carried, or the reason why there is none."""
        ended = outcome.ended
        if outcome.carries is not None and ended is not None:
            self._pending[source_of(ended.branch)] = outcome
        elif outcome.code is not Code.NOTHING and (outcome.left_out or ended is None):
            self._tell(outcome, outcome.code, detail=outcome.detail)

    def next(
        self,
        now: float,
        past: Past,
        tables: Tables,
        *,
        rank: int = 0,
        holds: Callable[[Branch], bool | None] = lambda branch: None,
    ) -> Carried | None:
        """What is to be proposed now, if anything; asked again after each applied entry, or at the deadline.

        Args:
            now: Seconds, on a clock that does not go back.
            past: What the living log says of its history, as far as it was applied.
            tables: The applier's.
            rank: How many members come before this one.
            holds: Whether the living log has a position; None if it was compacted there.
        """
        if self._at is None and self._pending:
            self._wait(now, rank * self._resend)
        for source, outcome in list(self._pending.items()):
            if self._is_over(source, outcome, past, tables.absorbed, holds):
                del self._pending[source]
                continue
            if (self._at is not None and now < self._at) or self._waits_for_heir(outcome, past, tables.absorbed):
                continue
            assert outcome.carries is not None
            begun = tables.absorbed.get(source)
            self._wait(now, self._resend)
            return outcome.carries.part(begun.next if begun is not None else 1)
        if self._at is not None and now >= self._at:
            self._wait(now, self._resend)  # what waits for another history is looked at again
        return None

    def on_applied(self, over: CarriedOver, now: float, *, mine: bool) -> None:
        """A part of some list was applied; ``mine`` if this member proposed it."""
        source = source_of(over.end)
        if over.taken is Taken.APPLY:
            tally = self._tallies.setdefault(source, _Tally())
            tally.commands += len(over.outcomes)
            tally.failed += over.failed
            for _, ok, result in over.outcomes:
                if ok and (conflict := self._conflict(result)) is not None:
                    tally.conflicted += 1
                    tally.conflicts += [conflict] if len(tally.conflicts) < NAMED else []
            if over.complete:
                self._complete(source, over)
        if mine:
            self._at = now
        elif self._pending:
            self._wait(now, self._resend)

    def restart(self) -> None:
        """Another history is held now: what was counted is of no use; what waits is tried there."""
        self._tallies.clear()
        self._at = None

    def take_told(self) -> list[Told]:
        """What is to be told since the last call."""
        told = list(self._told)
        self._told.clear()
        return told

    # --- inner workings

    def _wait(self, now: float, seconds: float) -> None:
        self._at = now + seconds + self._rng.random() * self._resend / 2

    def _is_over(
        self,
        source: HistoryId,
        outcome: Outcome,
        past: Past,
        table: AbsorbedTable,
        holds: Callable[[Branch], bool | None],
    ) -> bool:
        """Whether a list need not, or must not, be proposed any more."""
        ended, carries = outcome.ended, outcome.carries
        assert ended is not None
        assert carries is not None
        begun = table.get(source)
        if begun is not None and (begun.digest, begun.total) != (carries.digest, carries.total):
            if not begun.is_complete:
                self._lose(outcome, Code.OTHER_LIST, "a member has begun with another list of it")
            return True
        if begun is not None:
            return begun.is_complete
        rivals = [] if carries.replayed else [row for row in table.of_history(ended.branch.history) if not row.replayed]
        if rivals:
            if all(row.end.at < ended.branch.at for row in rivals):
                self._lose(outcome, Code.OTHER_LIST, "an earlier end of it was carried over already")
            return True
        if ended.how is End.LEFT and any(branch.history == ended.branch.history for branch in past.absorbed):
            return True  # it was sealed, which this member did not hear in time: who holds the seal carries it
        if outcome.branch is not None and holds(outcome.branch) is False:
            self._lose(outcome, Code.BASE_MISSING, "the living history does not have the position where they branched")
            return True
        return False

    def _waits_for_heir(self, outcome: Outcome, past: Past, table: AbsorbedTable) -> bool:
        """Whether it ended in favour of a history that must come first: that one may have taken a part of it already."""
        assert outcome.ended is not None
        into, genesis = outcome.ended.into, past.genesis
        if into in (NO_HISTORY, genesis.history) or genesis.branch_of(into) is not None:
            return False
        return not any(row.is_complete for row in table.of_history(into))

    def _complete(self, source: HistoryId, over: CarriedOver) -> None:
        tally = self._tallies.pop(source)
        outcome = self._pending.pop(source, None)
        self._told.append(
            Told(
                code=Code.CARRIED,
                history=over.end.history,
                number=outcome.number if outcome else None,
                commands=tally.commands,
                failed=tally.failed,
                conflicts=tuple(tally.conflicts),
                conflicted=tally.conflicted,
                left_out=outcome.left_out if outcome else 0,
            )
        )

    def _lose(self, outcome: Outcome, code: Code, detail: str) -> None:
        carries: CarryList | None = outcome.carries
        self._tell(outcome, code, detail, len(carries.commands) if carries else 0)

    def _tell(self, outcome: Outcome, code: Code, detail: str, more: int = 0) -> None:
        history = outcome.ended.branch.history if outcome.ended else NO_HISTORY
        self._told.append(
            Told(
                code=code,
                history=history,
                number=outcome.number,
                left_out=outcome.left_out + more,
                detail=detail,
            )
        )

    def _conflict(self, result: bytes) -> str | None:
        try:
            return self._machine.conflict(self._machine.decode(result))
        except Exception:  # the machine's own code; what it means by a result is for telling only
            return None
