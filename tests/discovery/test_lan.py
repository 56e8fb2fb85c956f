"""Finding neighbours by multicast DNS, on loopback; what a node announces, and what it does without the extra."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import anyio
import pytest

from discovery import Discovery, NetworkId
from tests.discovery.support import NETWORK, address, key, peer
from transport import HostPort, MemoryNetwork, QuicTransport
from transport.errors import ConfigError

zeroconf = pytest.importorskip("zeroconf", reason="the extra 'lan' is not installed")
pytestmark = pytest.mark.anyio


def announced(**changes: Any) -> Any:
    said = {"id": str(peer(1)), "net": str(NETWORK), "v": "1", **changes}
    return zeroconf.ServiceInfo(
        "_p2praft._udp.local.",
        "x._p2praft._udp.local.",
        port=said.pop("port", 7001),
        parsed_addresses=said.pop("addresses", ["10.0.0.5", "fd00::5"]),
        properties=said,
    )


def test_an_announcement_names_an_address() -> None:
    from discovery.lan import address_of

    found = address_of(announced(), NETWORK)
    assert found is not None
    assert found.peer_id == peer(1)
    assert set(found.endpoints) == {HostPort("10.0.0.5", 7001), HostPort("fd00::5", 7001)}


@pytest.mark.parametrize(
    "changes",
    [
        {"net": str(NetworkId.of("elsewhere"))},
        {"net": None},
        {"id": "nobody"},
        {"id": None},
        {"addresses": []},
        {"port": 0},
    ],
    ids=str,
)
def test_what_is_no_address_of_our_network_is_passed_over(changes: dict[str, Any]) -> None:
    from discovery.lan import address_of

    assert address_of(announced(**changes), NETWORK) is None


def multicast_works() -> bool:
    from discovery.lan import Lan

    lan = Lan(address(1), NETWORK)
    try:
        lan.open()
    except OSError:
        return False
    lan.close()
    return True


async def test_nodes_without_seeds_find_each_other_in_the_local_network() -> None:
    if not await anyio.to_thread.run_sync(multicast_works):
        pytest.skip("no interface takes multicasts here")
    with anyio.fail_after(30):
        async with (
            QuicTransport().bind(key(1), listen=HostPort("127.0.0.1", 0)) as first,
            QuicTransport().bind(key(2), listen=HostPort("127.0.0.1", 0)) as second,
            Discovery(first, key(1), network="lan test", lan=True) as a,
            Discovery(second, key(2), network="lan test", lan=True) as b,
        ):
            await a.peers.when.known(1)
            await b.peers.when.known(1)
            assert "was found in the local network" in a.explain(peer(2)) + b.explain(peer(1))


async def test_without_the_extra_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    importing = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "zeroconf":
            raise ImportError(name)
        return importing(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "discovery.lan", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    async with MemoryNetwork().transport("host").bind(key(1), listen=HostPort("host", 7001)) as endpoint:
        with pytest.raises(ConfigError, match=r"pip install 'p2praft\[lan\]'"):
            Discovery(endpoint, key(1), network="factory", lan=True)
