"""Nothing is promised before it is durable: groups on disks that are slow and, when the power fails, lose their last writes."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import anyio
import pytest

from p2praft import ConsensusConfig, Group, GroupKey, Network, SecretKey
from p2praft.raft.effects import ChunkWrite, Write
from p2praft.storage import MemoryStorage
from tests.groups.conftest import Counter
from transport import MemoryNetwork

pytestmark = pytest.mark.anyio
KEY = GroupKey(b"k" * 32)
IDENTITIES = [SecretKey.generate() for _ in range(3)]
CONFIG = ConsensusConfig(expect=2)


class SlowDisk(MemoryStorage):
    """A disk whose writes take their time. Whatever has not returned when the power fails is lost."""

    blocking = True

    def __init__(self, incarnation: bytes | None = None) -> None:
        super().__init__(incarnation=incarnation, keep=True)
        self.volatile = False
        self._rng = random.Random(1)

    def write(self, writes: Sequence[Write | ChunkWrite]) -> None:
        time.sleep(self._rng.uniform(0, 0.02))
        super().write(writes)

    def power_fails(self) -> SlowDisk:
        """The disk as the next boot finds it."""
        found = SlowDisk(self.incarnation)
        found.put(self.load(), list(self._chunks.values()))
        return found


async def start(
    stack: AsyncExitStack,
    net: MemoryNetwork,
    number: int,
    disk: SlowDisk,
    seeds: list[Network],
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Network, Group]:
    host = f"host-{number}"
    network = await stack.enter_async_context(
        Network(
            "n",
            identity=IDENTITIES[number],
            listen=f"{host}:0",
            seeds=[n.address for n in seeds],
            transport=net.transport(host),
        )
    )
    monkeypatch.setattr(network, "_storage", lambda group_id: disk)
    group = await stack.enter_async_context(network.group("g", secret=KEY, machine=Counter(), consensus=CONFIG))
    return network, group


async def cluster(
    stack: AsyncExitStack, disks: list[SlowDisk], monkeypatch: pytest.MonkeyPatch, seed: int
) -> list[Group]:
    net = MemoryNetwork(seed)
    networks: list[Network] = []
    groups: list[Group] = []
    for number, disk in enumerate(disks):
        network, group = await start(stack, net, number, disk, networks[:1], monkeypatch)
        networks.append(network)
        groups.append(group)
    with anyio.fail_after(30):
        for group in groups:
            await group.when.online()
        while len(groups[0].voters) < 3:
            await anyio.sleep(0.01)
    return groups


async def test_what_is_acknowledged_stands_on_a_majority_of_disks_at_that_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disks = [SlowDisk() for _ in range(3)]
    async with AsyncExitStack() as stack:
        groups = await cluster(stack, disks, monkeypatch, seed=1)
        for _ in range(25):
            index = await groups[1].feed(1)
            await groups[1].when.committed.reaches(index)
            holders = sum(len(disk.load().entries) >= index for disk in disks)
            assert holders >= 2, f"entry {index} is acknowledged, and {holders} disk holds it"


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_power_failure_of_everything_loses_nothing_acknowledged(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    disks = [SlowDisk() for _ in range(3)]
    acknowledged = 0
    async with AsyncExitStack() as stack:
        groups = await cluster(stack, disks, monkeypatch, seed)

        async def client(group: Group) -> None:
            nonlocal acknowledged
            while True:
                await group.execute(1)
                acknowledged += 1

        async with anyio.create_task_group() as tasks:
            for group in groups * 3:
                tasks.start_soon(client, group)
            await anyio.sleep(rng.uniform(0.2, 0.6))
            promised = acknowledged
            after = [disk.power_fails() for disk in disks]  # what is in the threads and the queues is gone
            tasks.cancel_scope.cancel()
    assert promised > 0
    async with AsyncExitStack() as stack:
        groups = await cluster(stack, after, monkeypatch, seed)
        assert (await groups[0].query(None)).value >= promised
