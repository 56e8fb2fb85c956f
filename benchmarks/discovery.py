"""``python -m benchmarks.discovery``: what the gossip promises, measured: a figure a line.

Networks of 10, 100 and 1000 nodes are the engines themselves in virtual time, from one seed: latency 20 ms (10 to 30), QUIC's
retransmission of what is lost after 100 ms, then doubled; all start in the same tenth of a second and know one of them. (How far
that is from what the engines do where 30 % is lost, ``python -m benchmarks.lossy`` shows: a quiet link of aioquic is worse.) At
the end 20 real processes on this machine. Each line ends with the bound that it must keep; if one is broken, the exit code is 1.
"""

from __future__ import annotations

import argparse
import gc
import math
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection

import anyio

from discovery.catalog import Status
from discovery.messages import Message, News, Ping, Pong
from tests.discovery.support import peer
from tests.discovery.world import World

LATENCY = 0.02
SIZES = (10, 100, 1000)
LOSS_RUNS = 30
NEWS_RUNS = 30
CRASHES = 5
MINUTES = 60.0
SPLIT_FROM = 500
PROCESSES = 20


class Report:
    """Prints figures and remembers whether all were in bounds."""

    def __init__(self) -> None:
        self.good = True

    def line(self, size: int, what: str, figure: str, bound: str, good: bool) -> None:
        """One figure."""
        self.good &= good
        print(f"{size:>5} nodes  {what:<42} {figure:<46} {bound}{'' if good else '   MISSED'}", flush=True)


def network(size: int, seed: int) -> tuple[World, float]:
    """A network that has just come to know itself, and the virtual seconds that it took."""
    world = World(seed, latency=LATENCY, wire=False)
    world.tell = False
    for number in range(size):
        world.start(number, seeds=[0])
    took = world.run_until(world.converged, within=120.0, step=0.1)
    return world, took


def time_to_know(world: World, number: int) -> float:
    """Seconds until every node has the present entry of one, or a newer one."""
    version, who = world.nodes[number].own.entry.version, peer(number)
    waiting = [node.catalog for other, node in world.nodes.items() if other != number]

    def known() -> bool:
        while waiting:
            record = waiting[-1].get(who)
            if record is None or record.version < version:
                return False
            waiting.pop()
        return True

    return world.run_until(known, within=60.0, step=0.01)


def news(world: World, runs: int, *, salt: int = 0) -> list[float]:
    """How long each of some changes, by random nodes, takes to reach all."""
    times = []
    for run in range(runs):
        number = world.rng.choice(sorted(world.nodes))
        world.update(number, (run + 1000 * salt).to_bytes(16, "big"))
        times.append(time_to_know(world, number))
        world.run(0.5)
    return times


def crash(world: World) -> float:
    """Seconds until all know that a random node has vanished without a word."""
    number = world.rng.choice(sorted(world.nodes))
    gone = peer(number)
    world.crash(number)
    nodes = list(world.nodes.values())

    def known() -> bool:
        records = (node.catalog.get(gone) for node in nodes)
        return all(record is not None and record.status is Status.LOST for record in records)

    return world.run_until(known, within=60.0, step=0.1)


def long_run(world: World, minutes: float, part: int) -> tuple[int, int]:
    """How many suspicions, and how many wrong losses, so many minutes with 5 % loss bring; each part by dice of its own."""
    world.rng.seed(f"long run {world.seed}, part {part}")
    world.loss, world.tell = 0.05, True
    suspicions = lost = 0
    for _ in range(math.ceil(minutes)):
        world.run(60.0)
        lost += sum(told.kind in ("lost", "left") for told in world.told)
        suspicions += sum(told.kind == "suspect" for told in world.told)
        world.told.clear()
    return suspicions, lost


def aside(work: Callable[[], tuple[int, int]]) -> Callable[[], tuple[int, int]]:
    """Do some work on a copy of this process, on another core; the result is waited for later."""
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)

    def run(answer: Connection) -> None:
        answer.send(work())

    process = context.Process(target=run, args=(sending,))
    process.start()
    sending.close()

    def wait() -> tuple[int, int]:
        result: tuple[int, int] = receiving.recv()
        process.join()
        return result

    return wait


def idle(world: World, seconds: float = 60.0) -> tuple[float, float, float]:
    """Messages and bytes that a node sends in a second while nothing happens, and how many of the bytes are signs of life."""
    messages, size = world.messages, world.bytes
    world.kinds.clear()
    world.weigh = True
    world.run(seconds)
    world.weigh = False
    share = len(world.nodes) * seconds
    alive = world.kinds[Ping] + world.kinds[Pong]
    return (world.messages - messages) / share, (world.bytes - size) / share, alive / share


def simulate(size: int, report: Report, idle_at: dict[int, float], *, minutes: float) -> Callable[[], None]:
    """All figures of one size; what is left to do when the hour is over."""
    world, took = network(size, seed=size)
    report.line(size, "cold start from one seed, all know all", f"{took:.1f} s", "<= 30 s", took <= 30)
    world.run(20.0)
    most = world.most_connections()
    report.line(size, "connections of any node, at most", f"{most}", "<= 16", most <= 16)
    sent = statistics.mean(len(node.neighbours) for node in world.nodes.values())

    # A thousand nodes keep a core busy for long: what they do in an hour is made up of shorter runs side by side.
    parts = (os.cpu_count() or 1) if size >= SPLIT_FROM and minutes > 1 else 1
    pending = [aside(partial(long_run, world, minutes / parts, part)) for part in range(parts)] if minutes else []
    copies = 0

    def count(message: Message) -> None:
        nonlocal copies
        copies += len(message.entries) if isinstance(message, News) else 0

    world.on_send = count
    times = news(world, NEWS_RUNS)
    world.on_send = None
    median, worst = statistics.median(times), max(times)
    report.line(
        size,
        f"a change reaches all ({NEWS_RUNS} changes)",
        f"median {median:.2f} s, most {worst:.2f} s",
        "median < 1 s, most <= 2 s",
        median < 1 and worst <= 2,
    )
    each = copies / NEWS_RUNS / (size - 1)
    report.line(
        size, "copies of an entry that a node is sent", f"{each:.2f} ({sent:.1f} neighbours)", "<= 1.25", each <= 1.25
    )
    messages, volume, alive = idle(world)
    idle_at[size] = volume
    reference = idle_at.get(100, volume)
    report.line(
        size,
        "idle, a node sends each second",
        f"{volume:.0f} bytes ({alive:.0f} signs of life), {messages:.1f} messages",
        "<= twice that of 100 nodes",
        size <= 100 or volume <= 2 * reference,
    )
    world.loss = 0.3
    lossy = news(world, LOSS_RUNS, salt=1)
    report.line(
        size,
        f"with 30 % loss a change reaches all ({LOSS_RUNS} runs)",
        f"median {statistics.median(lossy):.2f} s, most {max(lossy):.2f} s",
        "each <= 5 s",
        max(lossy) <= 5,
    )
    world.loss = 0.0
    world.run(30.0)
    crashes = []
    for _ in range(min(CRASHES, size // 5)):
        crashes.append(crash(world))
        world.run(10.0)
    report.line(
        size,
        f"a crash is known to all ({len(crashes)} crashes)",
        f"median {statistics.median(crashes):.1f} s, most {max(crashes):.1f} s",
        "<= 10 s",
        max(crashes) <= 10,
    )

    def finish() -> None:
        results = [wait() for wait in pending]
        if not results:
            return
        suspicions, lost = (sum(column) for column in zip(*results, strict=True))
        what = f"{minutes:g} minutes with 5 % loss" + (f", as {parts} runs" if parts > 1 else "")
        report.line(size, what, f"{lost} lost wrongly, {suspicions} suspicions refuted", "0 lost", lost == 0)

    return finish


# --- real processes


async def member(count: int, ready: Connection, go: Connection) -> None:
    """A node in a process of its own: says where it is, waits for the start, and tells when it knows all."""
    from p2praft import Network

    ready.send("imported")
    seed: str = await anyio.to_thread.run_sync(go.recv)
    async with Network("bench", listen="127.0.0.1:0", seeds=[seed] if seed else []) as net:
        ready.send(str(net.address))
        await net.peers.when.known(count - 1)
        ready.send(time.monotonic())
        await anyio.to_thread.run_sync(go.recv)


def processes(report: Report, count: int) -> None:
    """Real nodes on this machine, one of them the seed of all, started together."""
    context = multiprocessing.get_context("spawn")
    nodes = []
    for _ in range(count):
        (there, ready), (go, starter) = context.Pipe(duplex=False), context.Pipe(duplex=False)
        process = context.Process(target=run_member, args=(count, ready, go), daemon=True)
        process.start()
        nodes.append((process, there, starter))
    for _, there, _ in nodes:
        there.recv()  # all have imported what they need
    nodes[0][2].send("")
    seed = nodes[0][1].recv()
    began = time.monotonic()
    for _, _, starter in nodes[1:]:
        starter.send(seed)
    for _, there, _ in nodes[1:]:
        there.recv()
    took = max(there.recv() for _, there, _ in nodes) - began
    for _, _, starter in nodes:
        starter.send("stop")
    for process, _, _ in nodes:
        process.join(10)
    report.line(count, "real processes from one seed, all know all", f"{took:.2f} s", "<= 5 s", took <= 5)


def run_member(count: int, ready: Connection, go: Connection) -> None:
    """The entry point of such a process."""
    anyio.run(member, count, ready, go)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.discovery", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="how many nodes, smallest first")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of the long run with loss, virtual; 0 for none")
    parser.add_argument("--processes", type=int, default=PROCESSES, help="real ones; 0 for none")
    options = parser.parse_args(arguments)
    gc.disable()  # nothing here is garbage before its network is: the collector only costs
    report, idle_at = Report(), dict[int, float]()
    if options.processes:
        processes(report, options.processes)
    rest = [simulate(size, report, idle_at, minutes=options.minutes) for size in options.sizes]
    for finish in rest:
        finish()
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
