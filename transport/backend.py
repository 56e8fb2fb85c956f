"""What anyio does at a price that the hot paths cannot pay, asked of asyncio itself where that is the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import socket
from collections.abc import Awaitable, Callable

import anyio

Waiter = asyncio.Future[None] | anyio.Event
"""What one task waits for."""


def asyncio_loop() -> asyncio.AbstractEventLoop | None:
    """The loop whose task we are, if it is asyncio's."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return None
    return task.get_loop() if task is not None else None  # none: trio, as a guest of asyncio's loop


def loop_clock() -> Callable[[], float]:
    """What gives :func:`anyio.current_time` in this event loop, without asking each time which one that is."""
    loop = asyncio_loop()
    return anyio.current_time if loop is None else loop.time


def new_waiter() -> Waiter:
    """One for the present task: on asyncio a bare future, at a quarter of the price of an event."""
    loop = asyncio_loop()
    return anyio.Event() if loop is None else loop.create_future()


def wait_for(waiter: Waiter) -> Awaitable[None]:
    """What is to be awaited, once, by the task that it was made for."""
    return waiter.wait() if isinstance(waiter, anyio.Event) else waiter


def wake(waiter: Waiter) -> None:
    """The wait is over."""
    if isinstance(waiter, anyio.Event):
        waiter.set()
    elif not waiter.done():  # else its task was cancelled
        waiter.set_result(None)


async def whenever_readable(sock: socket.socket, call: Callable[[], None]) -> None:
    """Call ``call``, which is to read what there is, whenever ``sock`` can be read, until cancelled.

    On asyncio its loop makes the call: to register for each datagram anew, and to change tasks for it, takes a sixth of the
    processor time of a commit. There ``call`` runs in no task, so it must not ask which is the current one.

    Raises:
        BaseException: Whatever ``call`` raised; it is not called again.
    """
    loop = asyncio_loop()
    if loop is not None:
        failure: asyncio.Future[None] = loop.create_future()
        try:
            _add_reader(loop, sock, call, failure)
        except NotImplementedError:
            pass  # a loop without readers, as Windows' usual one
        else:
            try:
                return await failure
            finally:
                loop.remove_reader(sock)
    while True:
        await anyio.wait_readable(sock)
        call()


def _add_reader(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, call: Callable[[], None], failure: asyncio.Future[None]
) -> None:
    def ready() -> None:
        try:
            call()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            loop.remove_reader(sock)
            if not failure.done():
                failure.set_exception(error)

    context = contextvars.copy_context()
    with contextlib.suppress(ImportError):  # anyio asks it, where it is installed, and it finds asyncio's tasks only
        from sniffio import current_async_library_cvar

        context.run(current_async_library_cvar.set, "asyncio")
    context.run(loop.add_reader, sock, ready)
