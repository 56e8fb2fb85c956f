"""Finding neighbours in the local network by multicast DNS, so that no seed is needed there: the extra ``lan``.

Source: RFC 6762 (multicast DNS) and RFC 6763 (service discovery). A node announces its PeerId, its network's id (a hash of the
name) and where it listens; what is heard serves as a seed, and whoever answers there must prove that it is that peer.

zeroconf works in threads of its own. What they find waits in a bounded queue until the gossip's shell takes it.
"""

from __future__ import annotations

import ipaddress
import logging
from collections import deque
from threading import Lock

from discovery.entry import NetworkId
from transport import HostPort, PeerAddr, PeerId
from transport.address import MAX_ENDPOINTS
from transport.errors import AddressError, ConfigError

try:
    from zeroconf import IPVersion, ServiceBrowser, ServiceInfo, ServiceListener, Zeroconf
except ImportError:
    raise ConfigError(
        "finding neighbours in the local network needs the extra 'lan': pip install 'p2praft[lan]', or give seeds instead"
    ) from None

logger = logging.getLogger("discovery")

SERVICE = "_p2praft._udp.local."
MAX_FOUND = 1024
"""Addresses that wait to be taken, at most; beyond, the oldest are dropped."""
RESOLVE_TIMEOUT = 3000
"""Milliseconds that a neighbour has to say where it is."""


class Lan:
    """Announces one node, and hears of others of its network. Its methods block for up to a second: call them in threads.

    Args:
        address: Of the node.
        network: Whose nodes are looked for.
    """

    def __init__(self, address: PeerAddr, network: NetworkId) -> None:
        self._address = address
        self._network = network
        self._found: deque[PeerAddr] = deque(maxlen=MAX_FOUND)
        self._zeroconf: Zeroconf | None = None
        self._lock = Lock()

    def open(self) -> None:
        """Announce and listen.

        Raises:
            OSError: No interface takes multicasts.
        """
        hosts = [endpoint.host for endpoint in self._address.endpoints]
        addresses = [host for host in hosts if _is_numeric(host)]
        inside = addresses and all(ipaddress.ip_address(host).is_loopback for host in addresses)
        with self._lock:
            if inside:  # who listens on loopback alone is announced there alone
                self._zeroconf = Zeroconf(interfaces=["127.0.0.1"], use_asyncio=False)
            else:
                self._zeroconf = Zeroconf(use_asyncio=False)
            info = ServiceInfo(
                SERVICE,
                f"{self._address.peer_id}-{self._network.short}.{SERVICE}",
                port=self._address.endpoints[0].port,
                properties={"v": "1", "id": str(self._address.peer_id), "net": str(self._network)},
                server=f"p2praft-{self._address.peer_id.short}.local.",
                parsed_addresses=addresses,
            )
            # The name holds the PeerId, so nobody else has it, and there is nothing to probe for.
            self._zeroconf.register_service(info, cooperating_responders=True)
            ServiceBrowser(self._zeroconf, SERVICE, listener=_Listener(self))

    def take(self) -> list[PeerAddr]:
        """Addresses found since the last call."""
        taken = []
        while self._found:
            taken.append(self._found.popleft())
        return taken

    def close(self) -> None:
        """Say goodbye and fall silent."""
        with self._lock:
            if self._zeroconf is not None:
                self._zeroconf.close()
                self._zeroconf = None

    # --- in zeroconf's thread

    def resolve(self, zeroconf: Zeroconf, name: str) -> None:
        """Take the address behind a name, if it is one of our network's."""
        try:
            info = zeroconf.get_service_info(SERVICE, name, RESOLVE_TIMEOUT)
        except Exception as error:  # as when it is being closed; nobody listens to what this thread raises
            logger.debug("cannot resolve %s: %s", name, error)
            return
        address = address_of(info, self._network) if info is not None else None
        if address is not None and address.peer_id != self._address.peer_id:
            self._found.append(address)


class _Listener(ServiceListener):
    def __init__(self, lan: Lan) -> None:
        self._lan = lan

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self._lan.resolve(zc, name)

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self._lan.resolve(zc, name)

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """Who leaves says so by gossip, signed."""


def address_of(info: ServiceInfo, network: NetworkId) -> PeerAddr | None:
    """The address that an announcement names; None if it is of another network, or no proper one."""
    said = info.decoded_properties
    if said.get("net") != str(network) or not info.port:
        return None
    hosts = info.parsed_scoped_addresses(IPVersion.All)[:MAX_ENDPOINTS]
    try:
        return (
            PeerAddr(PeerId.parse(said.get("id") or ""), tuple(HostPort(host, info.port) for host in hosts))
            if hosts
            else None
        )
    except AddressError:
        logger.debug("%s announces itself without a proper peer id", info.name)
        return None


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
