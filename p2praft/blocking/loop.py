"""An event loop on a thread of its own, and what lets other threads use what lives on it."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, ExitStack
from typing import Any, Generic, Self, TypeVar, overload

import anyio
from anyio.from_thread import BlockingPortal

from p2praft.errors import GroupClosed, P2PRaftError
from p2praft.groups.when import IndexWatcher

T = TypeVar("T")


class Forked(GroupClosed):
    """This process is a fork of the one that entered the network, and cannot use it."""


class WrongThread(P2PRaftError, RuntimeError):
    """A blocking call came from the thread that would have to do what it waits for."""


class Loop:
    """A thread that runs an event loop.

    Args:
        what: Whose it is, for people.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._pid = os.getpid()
        self._thread = 0
        started: Future[BlockingPortal] = Future()
        self._runner = threading.Thread(target=self._run, args=(started,), name=f"p2praft {what}", daemon=True)
        self._runner.start()
        self._portal = started.result()

    # Not anyio's ``start_blocking_portal``: it is a generator, and one that a forked child collects waits for ever for the
    # thread that is not there.
    def _run(self, started: Future[BlockingPortal]) -> None:
        self._thread = threading.get_ident()
        try:
            anyio.run(self._serve, started)
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    async def _serve(self, started: Future[BlockingPortal]) -> None:
        async with BlockingPortal() as portal:
            started.set_result(portal)
            await portal.sleep_until_stopped()

    def enter(self, manager: AbstractAsyncContextManager[T]) -> tuple[T, ExitStack]:
        """Enter a context manager on the loop; what it gave, and what leaves it."""
        self._check()
        with ExitStack() as stack:
            value = stack.enter_context(self._portal.wrap_async_context_manager(manager))
            return value, stack.pop_all()

    def see(self, function: Callable[[], T]) -> T:
        """What ``function`` finds on the loop's thread, where nothing changes meanwhile."""

        async def look() -> T:
            return function()

        return self.call(look)

    def call(self, function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Do something on the loop, and wait until it is done.

        Raises:
            GroupClosed: The loop has ended.
        """
        self._check()
        try:
            future = self._portal.start_task_soon(function, *arguments)
        except RuntimeError:
            raise self._closed() from None
        try:
            result: T = future.result()
        except CancelledError:
            raise self._closed() from None
        except BaseException:
            future.cancel()  # an interrupt: nobody waits for it any more
            raise
        return result

    def stop(self) -> None:
        """End whatever still runs on the loop, and its thread."""
        if not self.forked:
            self._portal.call(self._portal.stop, True)
            self._runner.join()

    @property
    def forked(self) -> bool:
        """Whether this process is not the one whose thread it is."""
        return os.getpid() != self._pid

    def _check(self) -> None:
        if self.forked:
            raise Forked(
                f"{self._what} was entered by process {self._pid}, and this is a fork of it: "
                "enter a Network of this process's own, or use multiprocessing's start method 'spawn'"
            )
        if threading.get_ident() == self._thread:
            raise WrongThread(
                f"a blocking call to {self._what} from its own event loop would wait for itself for ever: "
                "call it from another thread, not from a state machine"
            )

    def _closed(self) -> GroupClosed:
        return GroupClosed(f"{self._what} was left; enter it with `with Network(…) as net:` or open() it")


async def within(timeout: float | None, function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    with anyio.fail_after(timeout):
        return await function(*arguments)


class Seen(Generic[T]):
    """An attribute of what a facade stands for, looked up on the loop's thread."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, facade: None, owner: type) -> Self: ...
    @overload
    def __get__(self, facade: Any, owner: type) -> T: ...
    def __get__(self, facade: Any, owner: type) -> Any:
        return self if facade is None else facade._loop.see(lambda: getattr(facade._inner, self._name))


class Events(Iterator[T]):
    """What an asynchronous iterator gives. It may be used by one thread at a time."""

    def __init__(self, loop: Loop, make: Callable[[], AsyncIterator[T]]) -> None:
        self._loop = loop
        self._events = loop.see(make)

    def __next__(self) -> T:
        try:
            return self._loop.call(self._events.__anext__)
        except StopAsyncIteration:
            raise StopIteration from None

    def next(self, timeout: float | None = None) -> T:
        """The next event.

        Raises:
            TimeoutError: None came within ``timeout`` seconds; none is lost by that.
            GroupClosed: There will be none any more.
        """
        try:
            event: T = self._loop.call(within, timeout, self._events.__anext__)
        except TimeoutError:
            raise TimeoutError(f"no event came within {timeout:g} s") from None
        except StopAsyncIteration:
            raise GroupClosed("there are no more events: the group or the network was left") from None
        return event


class When:
    """``when`` as of :class:`p2praft.groups.when.When`: each condition is a call that waits, with an optional ``timeout``.

    ``group.when.online(timeout=30)``, ``group.when.committed.reaches(7)``. It raises ``TimeoutError`` if it took too long.
    """

    def __init__(self, loop: Loop, inner: Any) -> None:
        self._loop = loop
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if isinstance(found, IndexWatcher):
            return When(self._loop, found)

        def wait(*arguments: Any, timeout: float | None = None) -> Any:
            try:
                return self._loop.call(within, timeout, found, *arguments)
            except TimeoutError:
                raise TimeoutError(f"waited {timeout:g} s for {name.replace('_', ' ')} in vain") from None

        return wait
