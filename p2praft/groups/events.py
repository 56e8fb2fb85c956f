"""What a group tells the application, and how it is handed out."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

import anyio

from transport import PeerId

BUFFER = 1024
"""Events kept for a slow listener; then its oldest are dropped and the next one it gets counts them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEvent:
    """Something changed in the group, as this member sees it.

    Attributes:
        kind: ``role``, ``leader``, ``voters``, ``founded``, ``taken back``, ``yielded``, ``rival leader``,
            ``bond formed``, ``bond lost``, ``refused`` or ``closed``.
        term: In which term.
        peer: Whom it concerns, or None.
        text: For people.
        missed: Events that this listener was too slow for, just before this one.
    """

    kind: str
    term: int
    peer: PeerId | None = None
    text: str = ""
    missed: int = 0


class Listener:
    """One reader's bounded queue of events."""

    def __init__(self) -> None:
        self._queue: deque[GroupEvent] = deque()
        self._missed = 0
        self._closed = False
        self._ready = anyio.Event()

    def put(self, event: GroupEvent) -> None:
        """Hand over an event; never waits."""
        if len(self._queue) >= BUFFER:
            self._queue.popleft()
            self._missed += 1
        self._queue.append(event)
        self._ready.set()

    def close(self) -> None:
        """No more will come."""
        self._closed = True
        self._ready.set()

    async def __aiter__(self) -> AsyncIterator[GroupEvent]:
        while True:
            while self._queue:
                event, missed = self._queue.popleft(), self._missed
                self._missed = 0
                yield GroupEvent(kind=event.kind, term=event.term, peer=event.peer, text=event.text, missed=missed)
            if self._closed:
                return
            self._ready = anyio.Event()
            await self._ready.wait()
