"""Lets a state machine's time pass while nobody sends commands: pure, like :mod:`p2praft.groups.proposals`.

Time in a replicated state is what the log says. A machine that has something to do at a moment says so by
:meth:`~p2praft.StateMachine.due`; the member that leads proposes the command when its clock has come there.
"""

from __future__ import annotations

from p2praft.groups.machine import StateMachine
from p2praft.groups.proposals import Call

TICK_EVERY = 0.1
"""Seconds between two such commands, at least: what is due in between is done by the same one."""


class Ticker:
    """One member's.

    Attributes:
        next: When to look again, on the worker's clock; ``inf``: after the next command that is applied.
        call: The last command that was proposed.
    """

    def __init__(self, machine: StateMachine) -> None:
        self._machine = machine
        self._idle = type(machine).due is StateMachine.due
        self._not_before = float("-inf")
        self.next = float("inf")
        self.call: Call | None = None

    def on_time(self, now: float, *, leads: bool, epoch: float, log_time: float) -> bytes | None:
        """The command to propose now, encoded, or None.

        Args:
            now: The worker's clock.
            leads: Whether this member leads; if not it is another's turn.
            epoch: What the leader's wall clock is ahead of ``now``.
            log_time: Of the newest entry; the next will not be earlier.
        """
        self.next = float("inf")
        if self._idle or not leads or (self.call is not None and not self.call.is_set()):
            return None
        due = self._machine.due()
        if due is None:
            return None
        moment, command = due
        self.next = max(now if log_time >= moment else moment - epoch, self._not_before)
        if now < self.next:
            return None
        self.next = float("inf")
        self._not_before = now + TICK_EVERY
        return self._machine.encode(command)
