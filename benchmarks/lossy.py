"""``python -m benchmarks.lossy``: how long a message and its answer take over a real link that loses datagrams.

The simulation of discovery (:mod:`tests.discovery.world`) has QUIC send again what is lost after a tenth of a second, then after
twice that, and so on. This shows what the engines really do, over a path of 20 ms (10 to 30) each way that loses the same share
in both directions: on *quiet* links, where nothing else is under way for two seconds, and on *busy* ones, ten messages a second,
whose acknowledgements show what is missing.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import TaskGroup

from tests.transport.support import ECHO, MAIN, Say, echo
from transport import QuicConfig, QuicTransport, SecretKey
from transport.endpoint import QuicEndpoint
from transport.engine import EngineName
from transport.link import Link

LINKS = 20
INTERVALS = {"quiet": 2.0, "busy": 0.1}


@dataclass
class Path:
    """What every datagram of the measurement passes through.

    Attributes:
        loss: Probability that a datagram vanishes, once ``bad``.
        tasks: Where late datagrams wait.
    """

    loss: float
    tasks: TaskGroup
    bad: bool = False
    dice: random.Random = field(default_factory=lambda: random.Random(1))

    def worsen(self, side: QuicEndpoint) -> None:
        """Put the path before an endpoint's socket."""
        send = side._send_raw

        async def later(data: bytes, address: tuple[Any, ...]) -> None:
            await anyio.sleep(self.dice.uniform(0.01, 0.03))
            send(data, address)

        def unreliably(data: bytes, address: tuple[Any, ...]) -> bool:
            if not self.bad:
                return send(data, address)
            if self.dice.random() >= self.loss:
                self.tasks.start_soon(later, data, address)
            return True

        side._send_raw = unreliably  # type: ignore[method-assign]


async def measure(link: Link, interval: float, count: int, times: list[float]) -> None:
    """Send ``count`` messages, one an interval, and note how long each answer takes."""
    sent: list[float] = []

    async def listen() -> None:
        for number in range(count):
            await link.receive()
            times.append(anyio.current_time() - sent[number])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        for number in range(count):
            sent.append(anyio.current_time())
            await link.send(Say(number=number))
            await anyio.sleep(interval)


async def run(engine: EngineName, loss: float, seconds: float) -> None:
    """Measure one engine and print a line for each kind of link."""
    transport = QuicTransport(QuicConfig(engine=engine, datagram_size=1200))
    async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
        path = Path(loss, tasks)

        async def bind() -> QuicEndpoint:
            side = await stack.enter_async_context(transport.bind(SecretKey.generate(), listen=MAIN))
            assert isinstance(side, QuicEndpoint)
            path.worsen(side)
            return side

        server = await bind()
        server.serve(ECHO, echo)
        times: dict[str, list[float]] = {kind: [] for kind in INTERVALS}
        links = [
            (kind, await (await (await bind()).connect(server.address)).open(ECHO)) for kind in LINKS * list(times)
        ]
        path.bad = True
        async with anyio.create_task_group() as measuring:
            for kind, link in links:
                interval = INTERVALS[kind]
                measuring.start_soon(measure, link, interval, round(seconds / interval), times[kind])
        for kind, found in times.items():
            found.sort()
            tenth = found[len(found) * 9 // 10]
            late = sum(time > 1 for time in found) / len(found)
            print(
                f"{engine:>8}  {loss:.0%} lost  {kind:<6} median {found[len(found) // 2]:.3f} s, 9 of 10 within {tenth:.3f} s, "
                f"most {found[-1]:.2f} s, {late:.1%} over 1 s ({len(found)} messages)",
                flush=True,
            )
        tasks.cancel_scope.cancel()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lossy", description=__doc__)
    parser.add_argument("--loss", type=float, nargs="+", default=[0.0, 0.05, 0.3], help="shares of datagrams to lose")
    parser.add_argument("--seconds", type=float, default=40.0, help="how long each measurement takes")
    parser.add_argument("--engines", nargs="+", default=["aioquic", "qh3"], choices=["aioquic", "qh3"])
    options = parser.parse_args(arguments)
    for engine in options.engines:
        for loss in options.loss:
            anyio.run(run, engine, loss, options.seconds)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
