"""Clients' dice and their notebook: what to do next, and the history of what came of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import replace
from itertools import count
from typing import Any

from tests.linearizability.checker import Operation, Violation, check, log, register

PER_KEY = 120
"""Operations on a key before its clients move on to a fresh one: what stays unknown about a key stays bounded."""


class Workload:
    """Operations on few keys at a time, so that clients meet. Every value is written by one operation only.

    Args:
        rng: The dice.
        clock: One clock for all clients, in seconds.
        registers: How many registers are in use at a time.
        lists: How many lists.

    Attributes:
        counts: Operations by outcome: ``ok``, ``unknown``, ``refused``.
        history: What has ended, in that order.
    """

    def __init__(self, rng: random.Random, clock: Callable[[], float], *, registers: int = 3, lists: int = 2) -> None:
        self.counts: Counter[str] = Counter()
        self._rng = rng
        self._clock = clock
        self._slots = [f"register-{n}" for n in range(registers)] + [f"list-{n}" for n in range(lists)]
        self._used: Counter[str] = Counter()
        self._values = count(1)
        self._last: dict[str, Hashable] = {}
        self.history: list[Operation] = []
        self._open: dict[int, Operation] = {}
        self._ticket = count()

    def begin(self, client: str) -> tuple[int, Operation]:
        """Choose an operation, called now; and the number to end it by."""
        slot = self._rng.choice(self._slots)
        self._used[slot] += 1
        key = f"{slot}.{self._used[slot] // PER_KEY}"
        argument: Hashable = next(self._values)
        if self._rng.random() < 0.4:
            kind, argument = "read", None
        elif slot.startswith("list"):
            kind = "append"
        elif self._rng.random() < 0.5:
            kind = "write"
        else:
            kind, argument = "cas", (self._last.get(key), argument)
        return self._begin(client, key, kind, argument)

    def begin_read(self, client: str, key: str) -> tuple[int, Operation]:
        """Read a key, from now."""
        return self._begin(client, key, "read", None)

    def _begin(self, client: str, key: str, kind: str, argument: Hashable) -> tuple[int, Operation]:
        ticket = next(self._ticket)
        operation = Operation(client=client, key=key, kind=kind, argument=argument, call=self._clock())
        self._open[ticket] = operation
        return ticket, operation

    def end(self, ticket: int, result: Any) -> None:
        """It was answered, now."""
        operation = self._open.pop(ticket)
        if isinstance(result, list):
            result = tuple(result)
        if result is None and operation.kind == "read" and operation.key.startswith("list"):
            result = ()
        if operation.kind == "read":
            self._last[operation.key] = result
        elif operation.kind == "write":
            self._last[operation.key] = operation.argument
        self.history.append(replace(operation, result=result, returned=self._clock()))
        self.counts["ok"] += 1

    def lose(self, ticket: int) -> None:
        """Nobody knows what came of it."""
        self.history.append(self._open.pop(ticket))
        self.counts["unknown"] += 1

    def refuse(self, ticket: int) -> None:
        """It certainly took no effect: as if it had never been."""
        del self._open[ticket]
        self.counts["refused"] += 1

    @property
    def keys(self) -> list[str]:
        """Every key that was used."""
        return sorted({operation.key for operation in self.history})

    def judge(self) -> Violation | None:
        """What no order explains, if anything."""
        history = [*self.history, *self._open.values()]
        lists = [operation for operation in history if operation.key.startswith("list")]
        registers = [operation for operation in history if not operation.key.startswith("list")]
        return check(registers, register) or check(lists, log)
