"""Waiting for something with a deadline, at the price of a future: what every single command pays for.

A cancel scope and a timer for each call cost more than all else that an in-memory commit takes; here one heap of
deadlines serves all callers, and the worker, which wakes up for the engine's timers anyway, minds it.
"""

from __future__ import annotations

import heapq
from itertools import count

import anyio
import anyio.lowlevel

from p2praft.errors import ConfigError
from transport.backend import Waiter, new_waiter, wait_for, wake


def deadline_after(timeout: float, now: float) -> float:
    """When a wait of ``timeout`` seconds that begins now is over.

    Raises:
        ConfigError: It is no number of seconds.
    """
    if not isinstance(timeout, int | float) or timeout != timeout:
        raise ConfigError(f"timeout={timeout!r} is not allowed: give seconds; math.inf waits for ever")
    return now + timeout


class Flag:
    """Something that happens once; nothing is made for it unless somebody waits before it has happened."""

    __slots__ = ("_is_set", "_waiters")

    def __init__(self) -> None:
        self._is_set = False
        self._waiters: list[Waiter] | None = None

    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._is_set

    def set(self) -> None:
        """It has happened."""
        self._is_set = True
        self.wake()

    def wake(self) -> None:
        """Have whoever waits look again."""
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            wake(waiter)

    async def wait(self) -> bool:
        """Wait until it has happened, or the wait is over for another reason; whether it has happened."""
        if self._is_set:
            await anyio.lowlevel.checkpoint()
            return True
        waiter = new_waiter()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        await wait_for(waiter)
        return self._is_set


class Deadlines:
    """Until when callers wait. The heap's head is dropped once its flag is set, so it holds little but what waits.

    Attributes:
        next: The next deadline to look at, on the worker's clock; ``inf`` if none.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Flag]] = []
        self._ticket = count()
        self.next = float("inf")

    def add(self, deadline: float, flag: Flag) -> None:
        """Wake who waits for ``flag`` at ``deadline`` at the latest."""
        heapq.heappush(self._heap, (deadline, next(self._ticket), flag))
        self.next = self._heap[0][0]

    def on_time(self, now: float) -> None:
        """Wake those whose time is over, and forget those that no longer wait."""
        heap = self._heap
        while heap and (heap[0][0] <= now or heap[0][2].is_set()):
            flag = heapq.heappop(heap)[2]
            if not flag.is_set():
                flag.wake()
        self.next = heap[0][0] if heap else float("inf")
