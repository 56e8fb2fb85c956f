"""The network in memory: its faults, in virtual time and from a seed."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest

from tests.transport.support import ECHO, Links, Say, echo, until
from transport import BindError, Endpoint, HostPort, LinkClosed, MemoryNetwork, SecretKey, Unreachable
from transport.link import REPLACED, Replaced

pytestmark = pytest.mark.anyio

HOUR = 3600.0


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    """Virtual time only: what takes long here takes no time."""
    return virtual_clock


@pytest.fixture
def network() -> MemoryNetwork:
    """Hosts a tenth of a second apart."""
    return MemoryNetwork(seed=1, latency=0.1)


class Hosts(AsyncExitStack):
    """Endpoints by host, all left at the end."""

    def __init__(self, network: MemoryNetwork) -> None:
        super().__init__()
        self.network = network

    async def bind(self, host: str, port: int = 0) -> Endpoint:
        """A node on a host that echoes."""
        endpoint = await self.enter_async_context(
            self.network.transport(host).bind(SecretKey.generate(), listen=HostPort(host, port))
        )
        endpoint.serve(ECHO, echo)
        return endpoint


async def test_a_round_trip_takes_twice_the_latency(network: MemoryNetwork) -> None:
    async with Hosts(network) as hosts:
        a, b = await hosts.bind("a"), await hosts.bind("b")
        connection = await a.connect(b.address)
        link = await connection.open(ECHO)
        began = anyio.current_time()
        await link.send(Say())
        await link.receive()
        assert anyio.current_time() - began == pytest.approx(0.2)
        assert connection.rtt == pytest.approx(0.2)


async def test_one_seed_gives_one_history() -> None:
    async def history(seed: int) -> list[float]:
        network = MemoryNetwork(seed, latency=0.01, jitter=0.05, loss=0.2)
        async with Hosts(network) as hosts:
            a, b = await hosts.bind("a"), await hosts.bind("b")
            link = await (await a.connect(b.address)).open(ECHO)
            began, times = anyio.current_time(), []
            for number in range(30):
                await link.send(Say(number=number))
                assert (await link.receive()).number == number
                times.append(round(anyio.current_time() - began, 6))
        return times

    assert await history(3) == await history(3) != await history(4)


async def test_loss_and_jitter_keep_the_order() -> None:
    network = MemoryNetwork(seed=5, latency=0.01, jitter=0.5, loss=0.3)
    async with Hosts(network) as hosts:
        a, b = await hosts.bind("a"), await hosts.bind("b")
        link = await (await a.connect(b.address)).open(ECHO)
        for number in range(200):
            link.send_nowait(Say(number=number))
        assert [(await link.receive()).number for _ in range(200)] == list(range(200))


async def test_a_short_cut_delays_and_loses_nothing(network: MemoryNetwork) -> None:
    async with Hosts(network) as hosts:
        a, b = await hosts.bind("a"), await hosts.bind("b")
        link = await (await a.connect(b.address)).open(ECHO)
        network.cut("a", "b")
        began = anyio.current_time()
        link.send_nowait(Say(number=1))
        await anyio.sleep(network.idle_timeout / 2)
        network.heal()
        assert (await link.receive()).number == 1
        assert anyio.current_time() - began > network.idle_timeout / 2


async def test_a_long_cut_breaks_the_connection_on_both_sides(network: MemoryNetwork) -> None:
    async with Hosts(network) as hosts:
        a, b = await hosts.bind("a"), await hosts.bind("b")
        connection = await a.connect(b.address)
        link = await connection.open(ECHO)
        network.cut("a", "b")
        with anyio.fail_after(2 * network.idle_timeout):
            with pytest.raises(LinkClosed, match="idle timeout"):
                await link.receive()
            await until(lambda: not b.connections)
        assert await connection.wait_closed() == "idle timeout"
        with pytest.raises(Unreachable):
            await a.connect(b.address, timeout=5)
        network.heal()
        assert (await a.connect(b.address)).binding != connection.binding


async def test_a_one_way_cut_breaks_it_too(network: MemoryNetwork) -> None:
    async with Hosts(network) as hosts:
        a, b = await hosts.bind("a"), await hosts.bind("b")
        await a.connect(b.address)
        network.cut("a", "b", one_way=True)
        with anyio.fail_after(2 * network.idle_timeout):
            await until(lambda: not a.connections and not b.connections)


async def test_a_partition_leaves_those_on_one_side_together(network: MemoryNetwork) -> None:
    async with Hosts(network) as hosts:
        a, b, c = [await hosts.bind(host) for host in "abc"]
        await a.connect(b.address)
        await a.connect(c.address)
        network.partition({"a", "b"}, {"c"})
        await anyio.sleep(2 * network.idle_timeout)
        assert set(a.connections) == {b.peer_id}
        assert not c.connections


async def test_a_crashed_host_falls_silent_and_its_address_is_free(network: MemoryNetwork) -> None:
    async with Hosts(network) as hosts:
        a, b = await hosts.bind("a"), await hosts.bind("b", 7001)
        connection = await a.connect(b.address)
        link = await connection.open(ECHO)
        network.crash("b")
        link.send_nowait(Say())
        with anyio.move_on_after(network.idle_timeout / 2) as early:
            await connection.wait_closed()
        assert early.cancelled_caught
        with anyio.fail_after(network.idle_timeout):
            assert await connection.wait_closed() == "idle timeout"
        await until(lambda: not b.connections)  # what crashed hears nobody either
        with pytest.raises(Unreachable):
            await b.connect(a.address, timeout=1)
        again = await hosts.bind("b", 7001)
        assert (await a.connect(again.address)).peer_id == again.peer_id


async def test_broken_links_are_noticed_at_once(network: MemoryNetwork) -> None:
    async with Hosts(network) as hosts:
        a, b = await hosts.bind("a"), await hosts.bind("b")
        links = Links()
        b.serve(ECHO, links)
        link = await (await a.connect(b.address)).open(ECHO)
        theirs = await links.wait_first()
        network.break_links("a", "b")
        for end in (link, theirs):
            with pytest.raises(LinkClosed, match="the connection broke"):
                await end.receive()
        assert await a.connect(b.address)


async def test_a_quiet_connection_lives(network: MemoryNetwork) -> None:
    async with Hosts(network) as hosts:
        a, b = await hosts.bind("a"), await hosts.bind("b")
        connection = await a.connect(b.address)
        await anyio.sleep(HOUR)
        assert a.connections == {b.peer_id: connection}


async def test_an_address_is_taken_once(network: MemoryNetwork) -> None:
    async with Hosts(network) as hosts:
        await hosts.bind("a", 7001)
        with pytest.raises(BindError, match="a:7001"):
            await hosts.bind("a", 7001)


async def test_who_was_replaced_by_another_process_hears_it_and_leaves_the_peer_in_peace_for_a_while(
    network: MemoryNetwork,
) -> None:
    key = SecretKey.generate()
    async with Hosts(network) as hosts:
        third = await hosts.bind("third")
        old, new = [
            await hosts.enter_async_context(network.transport(host).bind(key, listen=HostPort(host, 0)))
            for host in ("old", "new")
        ]
        first = await old.connect(third.address)
        second = await new.connect(third.address)
        assert await first.wait_closed() == REPLACED
        assert third.connections[key.peer_id].binding == second.binding
        before = anyio.current_time()
        again = await old.connect(third.address)
        assert anyio.current_time() - before >= Replaced.PAUSE
        assert third.connections[key.peer_id].binding == again.binding
        assert await second.wait_closed() == REPLACED
