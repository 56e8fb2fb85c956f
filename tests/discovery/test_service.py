"""The shell over the memory transport: two back ends for what is short, virtual time for what is long."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio.testing
from anyio.abc import TaskGroup, TaskStatus

from discovery import Discovery
from discovery.state import KnownPeers
from tests.discovery.support import address, key, peer
from transport import Endpoint, HostPort, MemoryNetwork, PeerAddr

pytestmark = pytest.mark.anyio
virtual = pytest.mark.parametrize(
    "anyio_backend", [("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})], ids=["virtual"]
)


class Lab:
    """Nodes on one network in memory, each in a task of its own, so that they can stop in any order."""

    def __init__(self, tasks: TaskGroup, **settings: Any) -> None:
        self.net = MemoryNetwork(seed=1, **settings)
        self.nodes: dict[int, Discovery] = {}
        self.endpoints: dict[int, Endpoint] = {}
        self._tasks = tasks
        self._stopping: dict[int, tuple[anyio.Event, anyio.Event]] = {}

    async def start(
        self,
        number: int,
        *,
        seeds: Sequence[PeerAddr] = (),
        network: str = "factory",
        port: int = 7001,
        state_path: Path | None = None,
    ) -> Discovery:
        """Start a node."""

        async def run(*, task_status: TaskStatus[None]) -> None:
            transport = self.net.transport(f"host{number}")
            stopping = anyio.Event()
            async with transport.bind(key(number), listen=HostPort(f"host{number}", port)) as endpoint:
                async with Discovery(
                    endpoint,
                    key(number),
                    network=network,
                    seeds=seeds,
                    tags=[f"tag{number}"],
                    rng=random.Random(number),
                    state_path=state_path,
                ) as node:
                    self.nodes[number], self.endpoints[number] = node, endpoint
                    self._stopping[number] = (stopping, stopped)
                    task_status.started()
                    await stopping.wait()
            stopped.set()

        stopped = anyio.Event()
        await self._tasks.start(run)
        return self.nodes[number]

    async def stop(self, number: int) -> None:
        """Leave, and wait until it is done."""
        del self.nodes[number]
        stopping, stopped = self._stopping.pop(number)
        stopping.set()
        await stopped.wait()

    async def all_know(self, count: int | None = None) -> None:
        """Wait until every node knows all others."""
        expected = len(self.nodes) - 1 if count is None else count
        for node in list(self.nodes.values()):
            await node.peers.when.known(expected)


@asynccontextmanager
async def lab(size: int = 0, *, patience: float = 10, **settings: Any) -> AsyncIterator[Lab]:
    """Nodes that know each other, the first being the seed of all."""
    with anyio.fail_after(patience):
        async with anyio.create_task_group() as tasks:
            built = Lab(tasks, **settings)
            for number in range(size):
                await built.start(number, seeds=[address(0)])
            await built.all_know()
            yield built
            for number in list(built.nodes):
                await built.stop(number)
            tasks.cancel_scope.cancel()


async def wait_status(node: Discovery, number: int, status: str) -> None:
    while (info := node.peers.get(peer(number))) is None or info.status != status:
        await node.peers.wait_change()


async def test_five_nodes_with_one_seed_know_each_other() -> None:
    async with lab(5) as built:
        info = built.nodes[3].peers.get(peer(1))
        assert info is not None
        assert info.addresses == address(1).endpoints
        assert info.tags == {"tag1"}
        assert info.status == "alive"
        assert [p.peer_id for p in built.nodes[3].peers] == sorted(peer(n) for n in (0, 1, 2, 4))
        assert peer(3) not in built.nodes[3].peers
        assert built.nodes[3].address_of(peer(1)) == address(1)


@virtual
async def test_first_contact_is_fast() -> None:
    began = anyio.current_time()
    async with lab(5, patience=120) as built:
        assert anyio.current_time() - began <= 1.0
        began = anyio.current_time()
        await built.start(5, seeds=[address(2)])
        await built.all_know()
        assert anyio.current_time() - began <= 0.3


async def test_groups_are_announced() -> None:
    async with lab(3) as built:
        events = built.nodes[2].peers.events()
        built.nodes[1].set_groups([b"g" * 16])
        event = await anext(events)
        assert (event.kind, event.peer.peer_id) == ("updated", peer(1))
        assert event.peer.groups == {b"g" * 16}
        assert event.reason


async def test_who_leaves_is_seen_to_leave_at_once() -> None:
    async with lab(3) as built:
        events = built.nodes[0].peers.events()
        began = anyio.current_time()
        await built.stop(2)
        assert anyio.current_time() - began < 2.0
        event = await anext(events)
        assert (event.kind, event.peer.peer_id) == ("left", peer(2))
        await built.all_know(1)
        assert len(built.nodes[0].peers) == 1


async def test_events_end_when_the_network_is_left() -> None:
    async with lab(1) as built:
        events = built.nodes[0].peers.events()
        await built.stop(0)
        assert [event async for event in events] == []


async def test_a_wrong_network_name_is_said_aloud(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="discovery")
    async with lab(1) as built:
        other = await built.start(1, seeds=[address(0)], network="factroy")
        while "another network" not in other.explain(peer(0)):
            await anyio.sleep(0.01)
        assert len(other.peers) == 0
        assert "factroy" in other.explain(peer(0))
        assert any("check the network's name" in record.getMessage() for record in caplog.records)


@virtual
async def test_a_seed_may_start_later() -> None:
    async with lab(patience=120) as built:
        node = await built.start(1, seeds=[address(0)])
        await anyio.sleep(30)
        assert "could not be linked" in node.explain(peer(0))
        await built.start(0)
        with anyio.fail_after(15):
            await built.all_know()


@virtual
async def test_starting_waits_for_nobody() -> None:
    async with lab(patience=120) as built:
        began = anyio.current_time()
        await built.start(1, seeds=[address(0)])
        assert anyio.current_time() == began
        await anyio.sleep(1)
        await built.stop(1)


@virtual
async def test_a_crash_is_suspected_then_lost() -> None:
    async with lab(5, patience=120) as built:
        kinds = built.nodes[1].peers.events()
        await anyio.sleep(2)  # for all to be neighbours
        built.net.crash("host4")
        with anyio.fail_after(20):
            assert [(await anext(kinds)).kind for _ in range(2)] == ["suspect", "lost"]
        assert peer(4) not in built.nodes[1].peers
        assert built.nodes[1].peers.get(peer(4)) is not None
        await anyio.sleep(8)
        said = built.nodes[1].explain(peer(4))
        for words in ("is lost", "at host4:7001", "was unlinked: idle timeout", "could not be linked"):
            assert words in said


@virtual
async def test_a_broken_link_alone_loses_nobody() -> None:
    async with lab(5, patience=120) as built:
        built.net.break_links("host1", "host2")
        await anyio.sleep(30)
        for node in built.nodes.values():
            assert all(p.status == "alive" for p in node.peers)
            assert len(node.peers) == 4


@virtual
async def test_links_that_break_again_and_again_are_made_anew() -> None:
    """Whatever the moment at which a link ends, what the engine holds for a neighbour has a link."""
    dice = random.Random(5)
    async with lab(2, patience=300) as built:
        for round_ in range(40):
            for _ in range(dice.randint(1, 3)):
                built.net.break_links("host0", "host1")
                await anyio.sleep(dice.choice((0, 0.001, 0.002, 0.003, 0.01, 0.11)))
            await anyio.sleep(1.0)
            group = bytes([round_]) * 16
            built.nodes[0].set_groups([group])
            await anyio.sleep(0.2)
            info = built.nodes[1].peers.get(peer(0))
            assert info is not None
            assert info.status == "alive"
            assert info.groups == {group}
            assert "neighbour for gossip" in built.nodes[1].explain(peer(0))


@virtual
async def test_a_long_partition_heals() -> None:
    async with lab(6, patience=900, latency=0.05) as built:
        built.net.partition(["host0", "host1"], ["host2", "host3", "host4", "host5"])
        with anyio.fail_after(60):
            await wait_status(built.nodes[0], 5, "lost")
            await wait_status(built.nodes[5], 0, "lost")
        await anyio.sleep(60)
        built.net.heal()
        with anyio.fail_after(60):
            for number, node in built.nodes.items():
                for other in built.nodes.keys() - {number}:
                    await wait_status(node, other, "alive")


@virtual
async def test_a_restart_elsewhere_with_nothing_remembered() -> None:
    async with lab(4, patience=120) as built:
        built.net.crash("host3")
        crashed = built.nodes.pop(3)
        await built.start(3, seeds=[address(1)], port=7002)
        with anyio.fail_after(30):
            for number in range(3):
                while built.nodes[number].address_of(peer(3)) != address(3, 7002):
                    await built.nodes[number].peers.wait_change()
                await wait_status(built.nodes[number], 3, "alive")
        assert crashed is not built.nodes[3]


@virtual
async def test_with_a_state_file_a_restart_needs_no_seed(tmp_path: Path) -> None:
    state = tmp_path / "peers"
    async with lab(3, patience=120) as built:
        await built.start(3, seeds=[address(0)], state_path=state)
        await built.all_know()
        await built.stop(3)
        await built.start(3, state_path=state)
        with anyio.fail_after(5):
            await built.all_know()


@virtual
async def test_whom_a_node_met_is_kept_soon_enough_for_a_kill(tmp_path: Path) -> None:
    """It is not asked whether it wants to save before it dies."""
    state = tmp_path / "peers"
    async with lab(0, patience=120) as built:
        await built.start(3, state_path=state)
        await anyio.sleep(20)  # it is long past its first saving, and knows nobody
        assert KnownPeers(state).peers == ()
        await built.start(1, seeds=[address(3)])
        await built.nodes[3].peers.when.known(1)
        await anyio.sleep(2)
        assert [known.peer_id for known in KnownPeers(state).peers] == [peer(1)]


@virtual
async def test_connections_are_left_to_others() -> None:
    with anyio.fail_after(30):
        async with lab(2, patience=30) as built:
            transport = built.net.transport("host2")
            async with transport.bind(key(2), listen=HostPort("host2", 7001)) as endpoint:
                async with Discovery(endpoint, key(2), network="factory", seeds=[address(0)]) as node:
                    await node.peers.when.known(2)
                    while len(endpoint.connections) < 2:
                        await anyio.sleep(0.01)
                await anyio.sleep(1)
                assert set(endpoint.connections) == {peer(0), peer(1)}


@virtual
async def test_a_machine_that_moves_is_found_where_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    async with lab(3, patience=60) as built:
        moved = PeerAddr(peer(1), (HostPort("elsewhere", 7001),))
        monkeypatch.setattr(built.endpoints[1], "look_up_address", lambda: moved, raising=False)
        with anyio.fail_after(10):
            while built.nodes[2].address_of(peer(1)) != moved:
                await built.nodes[2].peers.wait_change()


@virtual
async def test_round_trips_are_measured_and_kept() -> None:
    async with lab(2, patience=60, latency=0.02) as built:
        await anyio.sleep(10)
        info = built.nodes[0].peers.get(peer(1))
        assert info is not None
        assert info.rtt == pytest.approx(0.04, abs=0.01)
        await built.stop(1)
        info = built.nodes[0].peers.get(peer(1))
        assert info is not None
        assert info.status == "left"
        assert info.rtt == pytest.approx(0.04, abs=0.01)


@virtual
async def test_a_crowd_leaves_its_seed_few_connections() -> None:
    """Who is told to try others does not stay connected."""
    async with lab(30, patience=120) as built:
        await anyio.sleep(5)
        assert len(built.endpoints[0].connections) <= 16
        assert max(len(end.connections) for end in built.endpoints.values()) <= 20
