"""What is asked of asyncio itself does as anyio does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import anyio
import pytest

from tests.transport.support import PATIENCE, until
from transport import backend
from transport.backend import asyncio_loop, loop_clock, whenever_readable

pytestmark = pytest.mark.anyio


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """What is sent on the first arrives at the second."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        theirs.setblocking(False)
        yield ours, theirs


@pytest.fixture(params=["readers", "no readers"])
def readers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop has readers, or none as Windows' usual one."""
    if request.param == "no readers":

        def refuse(*_: object) -> None:
            raise NotImplementedError

        monkeypatch.setattr(backend, "_add_reader", refuse)


class Reader:
    """Reads all there is."""

    def __init__(self, sock: socket.socket, breaks: type[BaseException] = ValueError) -> None:
        self.sock = sock
        self.breaks = breaks
        self.read: list[bytes] = []

    def __call__(self) -> None:
        while True:
            try:
                data = self.sock.recv(100)
            except BlockingIOError:
                return
            if data == b"break":
                raise self.breaks("it broke")
            self.read.append(data)


@pytest.mark.usefixtures("readers")
async def test_whoever_reads_is_called_for_all_that_comes_until_it_is_cancelled(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    reader = Reader(theirs)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(whenever_readable, theirs, reader)
        with anyio.fail_after(PATIENCE):
            ours.send(b"1")
            ours.send(b"2")
            await until(lambda: reader.read == [b"1", b"2"])
            ours.send(b"3")
            await until(lambda: reader.read == [b"1", b"2", b"3"])
        tasks.cancel_scope.cancel()
    ours.send(b"4")
    await anyio.sleep(0.01)
    assert len(reader.read) == 3


class Odd(BaseException):
    """Neither an error nor an end."""


@pytest.mark.usefixtures("readers")
@pytest.mark.parametrize("kind", [ValueError, NotImplementedError, Odd])
async def test_what_the_reader_raises_arrives(
    pair: tuple[socket.socket, socket.socket], kind: type[BaseException]
) -> None:
    ours, theirs = pair
    ours.send(b"break")
    with pytest.raises(kind, match="it broke"), anyio.fail_after(PATIENCE):
        await whenever_readable(theirs, Reader(theirs, kind))


def test_anyio_is_at_hand_in_the_reader_whoever_started_the_loop(pair: tuple[socket.socket, socket.socket]) -> None:
    """``asyncio.run`` says nowhere which loop runs, and the reader is no task that could be asked."""
    ours, theirs = pair
    times: list[float] = []

    async def main() -> None:
        event = anyio.Event()

        def read() -> None:
            theirs.recv(100)
            times.append(anyio.current_time())
            event.set()
            anyio.Event()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(whenever_readable, theirs, read)
            ours.send(b"1")
            with anyio.fail_after(PATIENCE):
                await event.wait()
            tasks.cancel_scope.cancel()
        assert times[0] <= anyio.current_time()

    asyncio.run(main())
    assert len(times) == 1


async def test_the_clock_is_that_of_the_loop() -> None:
    before = anyio.current_time()
    now = loop_clock()()
    assert before <= now <= anyio.current_time()


async def test_only_asyncio_has_a_loop_of_asyncio(anyio_backend: str) -> None:
    assert (asyncio_loop() is None) == (anyio_backend == "trio")


def test_without_a_loop_there_is_none() -> None:
    assert asyncio_loop() is None
