"""Handing out connection events to any number of readers."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable

import anyio

from transport.link import Connection, ConnectionEvent

BUFFER = 1024
"""Events kept for a slow reader; then it loses the oldest."""


class Watchers:
    """The readers of one endpoint."""

    def __init__(self) -> None:
        self._queues: list[tuple[deque[ConnectionEvent], list[anyio.Event]]] = []
        self._closed = False

    def put(self, event: ConnectionEvent) -> None:
        """Hand an event to all readers."""
        for queue, ready in self._queues:
            queue.append(event)
            ready[0].set()

    def close(self) -> None:
        """No more will come."""
        self._closed = True
        for _, ready in self._queues:
            ready[0].set()

    def watch(self, live: Iterable[Connection]) -> AsyncIterator[ConnectionEvent]:
        """Connections that live now, then events as they come. Registered at once, not at the first step."""
        queue = deque((ConnectionEvent(kind="up", connection=connection) for connection in live), BUFFER)
        ready = [anyio.Event()]
        entry = (queue, ready)
        self._queues.append(entry)
        return self._iterate(entry)

    async def _iterate(self, entry: tuple[deque[ConnectionEvent], list[anyio.Event]]) -> AsyncIterator[ConnectionEvent]:
        queue, ready = entry
        try:
            while True:
                while queue:
                    yield queue.popleft()
                if self._closed:
                    return
                ready[0] = anyio.Event()
                await ready[0].wait()
        finally:
            self._queues.remove(entry)
