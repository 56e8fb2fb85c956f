"""Handing out events to any number of readers, none of which can hold up the others or the source."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class Subscription(AsyncIterator[T], Generic[T]):
    """One reader's bounded queue. It may simply be dropped: nothing has to be closed.

    Attributes:
        missed: How many events this reader was too slow for; the oldest go first.
    """

    def __init__(self, limit: int, first: Iterable[T] = ()) -> None:
        self.missed = 0
        self._limit = limit
        self._queue: deque[T] = deque(first)
        self._closed = False
        self._ready = anyio.Event()

    def __aiter__(self) -> Subscription[T]:
        return self

    async def __anext__(self) -> T:
        while not self._queue:
            if self._closed:
                raise StopAsyncIteration
            self._ready = anyio.Event()
            await self._ready.wait()
        return self._queue.popleft()

    def put(self, event: T) -> None:
        """Hand over an event; never waits."""
        if len(self._queue) >= self._limit:
            self._queue.popleft()
            self.missed += 1
        self._queue.append(event)
        self._ready.set()

    def close(self) -> None:
        """No more will come."""
        self._closed = True
        self._ready.set()


class Feed(Generic[T]):
    """The source of events.

    Args:
        limit: Events kept for each reader.
    """

    def __init__(self, limit: int = 1024) -> None:
        self._limit = limit
        self._readers: weakref.WeakSet[Subscription[T]] = weakref.WeakSet()
        self._closed = False

    def subscribe(self, first: Iterable[T] = ()) -> Subscription[T]:
        """What is in ``first``, then all events from now on."""
        reader = Subscription(self._limit, first)
        self._readers.add(reader)
        if self._closed:
            reader.close()
        return reader

    @property
    def read(self) -> bool:
        """Whether anybody listens."""
        return bool(self._readers)

    def put(self, event: T) -> None:
        """Hand an event to all readers."""
        for reader in list(self._readers):
            reader.put(event)

    def close(self) -> None:
        """No more will come."""
        self._closed = True
        for reader in list(self._readers):
            reader.close()
