"""The same shell over real sockets."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack

import anyio
import pytest

from discovery import Discovery
from tests.discovery.support import key, peer
from transport import HostPort, PeerAddr, QuicTransport

pytestmark = pytest.mark.anyio


async def test_nodes_on_loopback_find_each_other_and_see_one_leave() -> None:
    with anyio.fail_after(20):
        async with AsyncExitStack() as stack:
            nodes: list[Discovery] = []
            seeds: list[PeerAddr] = []
            for number in range(4):
                binding = QuicTransport().bind(key(number), listen=HostPort("127.0.0.1", 0))
                endpoint = await stack.enter_async_context(binding)
                seeds = seeds or [endpoint.address]
                node = Discovery(endpoint, key(number), network="factory", seeds=seeds)
                nodes.append(await stack.enter_async_context(node))
            for node in nodes:
                await node.peers.when.known(3)
            events = nodes[0].peers.events()
            binding = QuicTransport().bind(key(9), listen=HostPort("127.0.0.1", 0))
            async with binding as endpoint, Discovery(endpoint, key(9), network="factory", seeds=seeds) as guest:
                await guest.peers.when.known(4)
                while (await anext(events)).peer.peer_id != peer(9):
                    pass
            while (event := await anext(events)).kind != "left":
                pass
            assert event.peer.peer_id == peer(9)


async def test_all_dialling_all_at_once_suspects_nobody() -> None:
    """Two connections between the same two nodes are made, and one given up: that is no failure."""
    with anyio.fail_after(20):
        async with AsyncExitStack() as endpoints_up:
            endpoints = [
                await endpoints_up.enter_async_context(QuicTransport().bind(key(n), listen=HostPort("127.0.0.1", 0)))
                for n in range(5)
            ]
            seeds = [endpoint.address for endpoint in endpoints]
            nodes = [Discovery(end, key(n), network="factory", seeds=seeds) for n, end in enumerate(endpoints)]
            feeds = [node.peers.events() for node in nodes]
            async with AsyncExitStack() as nodes_up:
                for node in nodes:
                    await nodes_up.enter_async_context(node)
                for node in nodes:
                    await node.peers.when.known(4)
                await anyio.sleep(0.5)  # real time: what would go wrong comes right after
            for feed in feeds:
                assert {event.kind async for event in feed} <= {"joined", "updated", "left"}


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
async def test_nodes_find_each_other_over_ipv6_and_pass_over_a_dead_endpoint() -> None:
    """The seed is given with an endpoint where nothing answers before the one where it listens."""
    with anyio.fail_after(20):
        async with (
            QuicTransport().bind(key(1), listen=HostPort("::1", 0)) as first,
            QuicTransport().bind(key(2), listen=HostPort("::1", 0)) as second,
        ):
            seed = PeerAddr(peer(1), (HostPort("::1", 9), *first.address.endpoints))
            async with (
                Discovery(first, key(1), network="factory") as a,
                Discovery(second, key(2), network="factory", seeds=[seed]) as b,
            ):
                await a.peers.when.known(1)
                await b.peers.when.known(1)
                assert b.address_of(peer(1)) == first.address
