"""Long lives in short: the same runs as ``python -m tests.longlife``, scaled down; and cancellation at every await."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
import trio

from tests.longlife.run import inner_records, many_links, many_peers
from tests.transport.support import ECHO, MAIN, PATIENCE, Say, echo, until
from transport import DialError, Endpoint, QuicTransport, SecretKey
from transport.endpoint import QuicEndpoint

pytestmark = pytest.mark.anyio


async def test_links_without_number_leave_nothing_behind() -> None:
    with anyio.fail_after(4 * PATIENCE):
        before, after = await many_links(600)
        assert after.tasks <= before.tasks
        assert after.files <= before.files
        assert after.inner <= before.inner + 150  # timers that others have replaced
        assert after.objects <= before.objects + 1000


async def test_peers_without_number_leave_nothing_behind() -> None:
    logging.getLogger("transport").setLevel(logging.ERROR)
    try:
        with anyio.fail_after(4 * PATIENCE):
            before, after = await many_peers(24)
    finally:
        logging.getLogger("transport").setLevel(logging.NOTSET)
    assert after.tasks <= before.tasks
    assert after.files <= before.files
    assert after.inner <= before.inner + 150
    assert after.objects <= before.objects + 1000


# --- cancellation at every checkpoint

Operation = Callable[[Endpoint, Endpoint], Awaitable[None]]


class CancelAt(trio.abc.Instrument):
    """Cancels a scope when its task is about to run for the n-th time: at every await in turn."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.steps = 0
        self.task: trio.lowlevel.Task | None = None
        self.scope = trio.CancelScope()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.steps += 1

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task and self.steps == self.at:
            self.scope.cancel()


async def converse(a: Endpoint, b: Endpoint) -> None:
    connection = await a.connect(b.address)
    link = await connection.open(ECHO)
    await link.send(Say(number=1))
    await link.receive()
    link.close()
    connection.close("that was it")
    await connection.wait_closed()


async def bind_and_leave(a: Endpoint, b: Endpoint) -> None:
    async with QuicTransport().bind(SecretKey.generate(), listen=MAIN) as own:
        link = await (await own.connect(b.address)).open(ECHO)
        await link.send(Say(number=2, data=bytes(20_000)))
        await link.receive()


async def steps_of(operation: Operation, a: QuicEndpoint, b: QuicEndpoint, at: int) -> tuple[int, bool]:
    """Run an operation cancelled at its ``at``-th step; how many it took, and whether it was cancelled."""
    instrument = CancelAt(at)
    trio.lowlevel.add_instrument(instrument)
    try:
        with instrument.scope:
            instrument.task = trio.lowlevel.current_task()
            await operation(a, b)
    finally:
        instrument.task = None
        trio.lowlevel.remove_instrument(instrument)
    return instrument.steps, instrument.scope.cancelled_caught


@asynccontextmanager
async def two() -> AsyncIterator[tuple[QuicEndpoint, QuicEndpoint]]:
    transport = QuicTransport()
    async with (
        transport.bind(SecretKey.generate(), listen=MAIN) as a,
        transport.bind(SecretKey.generate(), listen=MAIN) as b,
    ):
        assert isinstance(a, QuicEndpoint)
        assert isinstance(b, QuicEndpoint)
        b.serve(ECHO, echo)
        yield a, b


@pytest.mark.parametrize("anyio_backend", ["trio"])
@pytest.mark.parametrize("operation", [converse, bind_and_leave])
async def test_cancellation_at_any_await_leaves_nothing_behind(anyio_backend: str, operation: Operation) -> None:
    with trio.fail_after(4 * PATIENCE):
        async with two() as (a, b):
            await anyio.sleep(0.1)
            tasks = len(anyio.get_running_tasks())
            whole, caught = await steps_of(operation, a, b, 10**9)
            assert whole > 5
            assert not caught
            cancelled = 0
            for at in range(1, whole + 1):
                _, caught = await steps_of(operation, a, b, at)
                cancelled += caught
                for connection in list(a.connections.values()):
                    connection.close("the next one begins anew")
                await until(lambda: not b.connections and not b._unproven and len(anyio.get_running_tasks()) == tasks)
                assert not a._dials
                assert not a._places
                assert not a._live
                assert all(peer.ended is not None and not peer.links for peer in a._peers | b._peers)
            assert cancelled >= 4, "the end of an endpoint is shielded, and bounded; what comes before can be cancelled"
            await until(lambda: not a._peers and not b._peers)
            assert inner_records(a) == len(a._timers)
            assert inner_records(b) == len(b._timers)
            await converse(a, b)


async def test_leaving_twice_and_while_cancelled_is_bounded() -> None:
    with anyio.fail_after(PATIENCE):
        async with two() as (a, b):
            await converse(a, b)
            await a.connect(b.address)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await a.stop()
            await a.stop()
            await b.stop()
            with pytest.raises(DialError, match="has stopped"):
                await a.connect(b.address)
