"""A sensor fleet with a failing gateway: three gateways keep the readings, one is killed, no reading is lost or kept twice.

Run it: ``python examples/sensors.py``

The gateways are processes of their own and vote. The sensors only observe: they hand readings in, and never count.
"""

import contextlib
import math
import secrets
import subprocess
import sys
from contextlib import AsyncExitStack
from typing import Any

import anyio

from p2praft import ApplyContext, ConsensusConfig, Group, LeadershipPreference, Network, PeerId, StateMachine

ROUNDS, PAUSE = 24, 0.06
BLOCKS = "▁▂▃▄▅▆▇█"
CONSENSUS = ConsensusConfig(expect=2)  # more than half of the three that may vote


class Readings(StateMachine):
    """Every sensor's readings, in the order in which they were taken."""

    signature = "readings/1"

    def __init__(self) -> None:
        self.readings: dict[str, list[list[Any]]] = {}

    def apply(self, command: Any, ctx: ApplyContext) -> Any:
        sensor, number, value = command
        self.readings.setdefault(sensor, []).append([number, value])
        return len(self.readings[sensor])

    def query(self, query: Any) -> Any:
        return self.readings

    def snapshot(self) -> Any:
        return {sensor: list(readings) for sensor, readings in self.readings.items()}

    def restore(self, snapshot: Any) -> None:
        self.readings = snapshot


async def gateway(*arguments: str) -> None:
    """One gateway: says where it is, and serves until its standard input ends."""
    secret, *seeds = arguments
    async with (
        Network("fleet", listen="127.0.0.1:0", seeds=seeds, tags=["gateway"]) as network,
        network.group("readings", secret=secret, machine=Readings(), consensus=CONSENSUS),
    ):
        print(network.address, flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


async def sensor(name: str, group: Group, gaps: list[float]) -> None:
    """Take a reading every moment and hand it in; a leader that is gone only makes one of them late."""
    for number in range(ROUNDS):
        before = anyio.current_time()
        value = 20 + 5 * math.sin(number / 3 + len(name))
        await group.execute([name, number, round(value, 1)], timeout=30)
        gaps.append(anyio.current_time() - before)
        await anyio.sleep(PAUSE)


def start_gateway(secret: str, seeds: list[str]) -> tuple[subprocess.Popen[str], str]:
    """A gateway's process and its address."""
    process = subprocess.Popen(
        [sys.executable, __file__, secret, *seeds],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for us alone; we end the gateways
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


async def main() -> None:
    """Start the fleet, kill the gateway that leads, and count."""
    secret = secrets.token_hex()
    gateways: dict[str, subprocess.Popen[str]] = {}
    seeds: list[str] = []
    gaps: list[float] = []
    try:
        for _ in range(3):
            process, address = await anyio.to_thread.run_sync(start_gateway, secret, seeds)
            gateways[address.split("@")[0]] = process
            seeds.append(address)
        names = dict(zip(gateways, ("north", "south", "east"), strict=True))

        def name_of(peer: PeerId | None) -> str:
            return names.get(str(peer), "nobody")

        async with AsyncExitStack() as stack:
            groups: dict[str, Group] = {}
            for name in ("boiler", "attic", "greenhouse"):
                network = await stack.enter_async_context(Network("fleet", listen="127.0.0.1:0", seeds=seeds))
                handle = network.group(
                    "readings",
                    secret=secret,
                    machine=Readings(),
                    consensus=CONSENSUS,
                    preference=LeadershipPreference.OBSERVER,
                )
                groups[name] = await stack.enter_async_context(handle)
            group = groups["boiler"]
            for each in groups.values():
                await each.when.online()
            while len(group.voters) < 3:  # a group is founded by two; the third is taken in once it has caught up
                await group.when.committed.advanced()
            leader = group.leader
            print(
                f"three gateways, gateway {name_of(leader)} leads; three sensors report {1 / PAUSE:.0f} times a second"
            )
            async with anyio.create_task_group() as tasks:
                for name, each in groups.items():
                    tasks.start_soon(sensor, name, each, gaps)
                await anyio.sleep(ROUNDS * PAUSE / 3)
                gateways[str(leader)].kill()
                print(f"gateway {name_of(leader)} is killed while they report")
                while (now := group.leader) in (None, leader):
                    await group.when.leader_changed()
                print(f"gateway {name_of(now)} leads now")
            readings = (await group.query(None)).value
        for name, series in readings.items():
            assert [number for number, _ in series] == list(range(ROUNDS)), series
            print(f"{name:>10} {''.join(BLOCKS[int((value - 15) / 10 * 7.99)] for _, value in series)}")
        total = sum(map(len, readings.values()))
        print(f"{total} readings of {3 * ROUNDS}, none lost, none twice; the slowest took {max(gaps) * 1000:.0f} ms")
    finally:
        for process in gateways.values():
            process.kill()
            process.communicate()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        anyio.run(gateway, *sys.argv[1:]) if sys.argv[1:] else anyio.run(main)
