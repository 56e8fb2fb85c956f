"""What the operating system knows of routes: sizes and addresses. Sends nothing."""

from __future__ import annotations

import socket
import struct

from transport.address import HostPort

IP_MTU = 14
IPV6_MTU = 24
SMALLEST, LARGEST = 1200, 16_000
"""Bounds of the datagram size: QUIC's least (RFC 9000, section 14.1), and what Python gains nothing beyond."""

SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6 = 2, 3
IP_RECVERR, IPV6_RECVERR = 11, 25
MSG_ERRQUEUE = 0x2000


def datagram_size(address: tuple[object, ...], family: int) -> int:
    """Payload bytes that one datagram to ``address`` may carry, by the route's MTU where the system tells it."""
    level, option, headers = (
        (socket.IPPROTO_IP, IP_MTU, 28) if family == socket.AF_INET else (socket.IPPROTO_IPV6, IPV6_MTU, 48)
    )
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)
            mtu = probe.getsockopt(level, option)
    except OSError:
        return SMALLEST
    return max(SMALLEST, min(LARGEST, mtu - headers))


def socket_address(found: tuple[object, ...]) -> tuple[object, ...]:
    """An address as the socket itself reports it: of an IPv6 peer with flow and scope, which a resolver leaves out."""
    host, port = str(found[0]), found[1]
    if ":" not in host or len(found) == 4:
        return found
    host, _, scope = host.partition("%")
    index = int(scope) if scope.isdigit() else socket.if_nametoindex(scope) if scope else 0
    return (host, port, 0, index)


def outbound_host(family: int) -> str:
    """The address that this machine would use towards others; loopback if it has no route."""
    anywhere, loopback = ("192.0.2.1", "127.0.0.1") if family == socket.AF_INET else ("2001:db8::1", "::1")
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((anywhere, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return loopback


def advertised(bound: HostPort, family: int) -> tuple[HostPort, ...]:
    """What others can dial, if a socket is bound to ``bound``."""
    if bound.host in ("0.0.0.0", "::"):
        return (HostPort(outbound_host(family), bound.port),)
    return (bound,)


def ask_for_errors(sock: socket.socket) -> bool:
    """Have the system report refused datagrams (Linux); whether it will."""
    try:
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    except OSError:
        return False
    return hasattr(sock, "recvmsg")


def refused_addresses(sock: socket.socket) -> list[tuple[object, ...]]:
    """Where datagrams were refused since the last call: nothing listens there."""
    refused: list[tuple[object, ...]] = []
    while True:
        try:
            _, ancillary, _, address = sock.recvmsg(64, 512, MSG_ERRQUEUE)
        except OSError:
            return refused
        for _, _, data in ancillary:
            if len(data) >= 16:
                errno, origin = struct.unpack_from("=IB", data)
                if origin in (SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6) and errno == 111:  # ECONNREFUSED
                    refused.append(address)
