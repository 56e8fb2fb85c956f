"""Very many links and peers that come and go, and what is left of them: nothing may be.

Everything that could pile up is counted before and after, by a :class:`Census`: memory, tasks, file descriptors,
connections, routes, timers, links, tails of streams.
"""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio

from tests.transport.support import ECHO, MAIN, Say, echo, until
from transport import QuicTransport, SecretKey
from transport.endpoint import QuicEndpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """What there is.

    Attributes:
        rss: Resident memory, MiB.
        tasks: Of the event loop.
        files: Open file descriptors.
        objects: What Python's collector knows.
        inner: Whatever the endpoints keep by connection, stream or peer, in all.
    """

    rss: float
    tasks: int
    files: int
    objects: int
    inner: int

    def __str__(self) -> str:
        return (
            f"{self.rss:7.1f} MiB, {self.tasks} tasks, {self.files} files, {self.objects} objects, "
            f"{self.inner} inner records"
        )


def census(*endpoints: QuicEndpoint) -> Census:
    """Count."""
    gc.collect()
    return Census(
        rss=_rss(),
        tasks=len(anyio.get_running_tasks()),
        files=len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0,
        objects=len(gc.get_objects()),
        inner=sum(map(inner_records, endpoints)),
    )


def inner_records(endpoint: QuicEndpoint) -> int:
    """Everything that an endpoint keeps, apart from what a single live connection needs."""
    kept = (
        endpoint._routes,
        endpoint._peers,
        endpoint._unproven,
        endpoint._live,
        endpoint._dials,
        endpoint._places,
        endpoint._dirty,
        endpoint._timers,
    )
    streams = sum(len(peer.links) + len(peer._tails) + len(peer._early) for peer in endpoint._peers)
    return sum(map(len, kept)) + streams + endpoint._door.sources


def _rss() -> float:
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def many_links(count: int, tell: Callable[[str], None] = lambda _: None) -> tuple[Census, Census]:
    """Open ``count`` links one after the other on one connection, say something, close; the counts a tenth in, and at the end."""
    transport = QuicTransport()
    async with (
        transport.bind(SecretKey.generate(), listen=MAIN) as a,
        transport.bind(SecretKey.generate(), listen=MAIN) as b,
    ):
        assert isinstance(a, QuicEndpoint)
        assert isinstance(b, QuicEndpoint)
        b.serve(ECHO, echo)
        connection = await a.connect(b.address)
        before = None
        for number in range(count):
            link = await connection.open(ECHO)
            await link.send(Say(number=number % 1000))
            await link.receive()
            link.close()
            if number == count // 10:
                before = await _settled(a, b)
                tell(f"after {number:7} links: {before}")
        after = await _settled(a, b)
        tell(f"after {count:7} links: {after}")
        assert before is not None
        return before, after


async def many_peers(count: int, tell: Callable[[str], None] = lambda _: None) -> tuple[Census, Census]:
    """Have ``count`` peers come, talk and go, every third of them without a word."""
    transport = QuicTransport()
    async with transport.bind(SecretKey.generate(), listen=MAIN) as hub:
        assert isinstance(hub, QuicEndpoint)
        hub.serve(ECHO, echo)
        before = None
        for number in range(count):
            async with transport.bind(SecretKey.generate(), listen=MAIN) as guest:
                assert isinstance(guest, QuicEndpoint)
                link = await (await guest.connect(hub.address)).open(ECHO)
                await link.send(Say(number=number % 1000))
                await link.receive()
                if number % 3 == 0:
                    for peer in list(guest._peers):
                        guest.abandon(peer, RuntimeError("as if its process were gone"))
            if number == count // 10:
                before = await _settled(hub)
                tell(f"after {number:7} peers: {before}")
        after = await _settled(hub)
        tell(f"after {count:7} peers: {after}")
        assert before is not None
        return before, after


async def _settled(*endpoints: QuicEndpoint) -> Census:
    """The census once what is on its way out has gone: closing and silent connections have their timeouts."""
    with anyio.move_on_after(30):
        await until(lambda: all(len(end._peers) <= 1 and not end._dirty for end in endpoints))
        if len(endpoints) == 1:
            await until(lambda: not endpoints[0]._peers)
            # Timers of what has ended hold it until their time comes, up to an idle timeout later.
            await until(lambda: not endpoints[0]._timers)
    await anyio.sleep(0.2)
    return census(*endpoints)
