"""The way to a peer: does anything answer, and how large may datagrams be?

A QUIC endpoint answers a first packet of a version that it does not know with the versions that it knows (RFC 9000,
section 6), and keeps nothing of it. So a probe of any size from 1200 bytes on shows whether datagrams of that size arrive.
"""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import anyio

from p2praft.cli.doctor.findings import Finding, faulty, fine
from transport import HostPort, routes

UNKNOWN_VERSION = 0x1A2A3A4A
"""A version that no endpoint knows: reserved for this (RFC 9000, section 15)."""
SMALLEST = routes.SMALLEST
SIZES = (1232, 1252, 1340, 1372, 1392, 1412, 1424, 1440, 1452, 1464, 1472, 2000, 4000, 8000, 8972, 12_000, 16_000)
"""Bytes of the datagrams that are tried: what fits the usual MTUs (1280, 1400, 1420, 1440, 1492, 1500, 9000)."""
ROUNDS = 6
"""How often each size is sent: some may be lost."""
PAUSE = 0.5
"""Seconds between two rounds."""
IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IP_PMTUDISC_PROBE = 10, 0, 3
IPV6_MTU_DISCOVER = 23
TCP_PATIENCE = 1.0
MAX_ADDRESSES = 4
"""Addresses of one name that are tried."""


@dataclass(slots=True)
class Probed:
    """What came of the probes.

    Attributes:
        answered: The sizes that were answered.
        refused: The host said that nothing listens.
        error: Sending failed for good, with this error number.
        too_large: Sizes that this machine's own interface does not take.
    """

    answered: set[int] = field(default_factory=set)
    refused: bool = False
    error: int = 0
    too_large: set[int] = field(default_factory=set)


async def examine_path(where: HostPort) -> list[Finding]:
    """Look at the way to an address; more can be tried there if all findings are fine."""
    check = f"path to {where}"
    try:
        found = await anyio.getaddrinfo(where.host, where.port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return [faulty(check, "name-unknown", f"the name {where.host!r} cannot be resolved")]
    first: list[Finding] | None = None
    for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found[:MAX_ADDRESSES]):
        findings = await _examine_address(check, where, family, address)
        if findings[0].ok:
            return findings
        first = first or findings
    assert first is not None, "a name that is resolved has an address"
    return first


async def _examine_address(check: str, where: HostPort, family: int, address: tuple[Any, ...]) -> list[Finding]:
    """Of several addresses that a name has, one that answers is enough."""
    route = routes.datagram_size(address, family)
    sizes = [SMALLEST, *(size for size in SIZES if size < route), *([route] if route > SMALLEST else [])]
    probed = await _probe(family, address, sizes, fragments=False)
    if SMALLEST in probed.answered or probed.answered:
        return _judge_sizes(check, where, route, probed)
    if probed.refused:
        return [faulty(check, "nothing-listens", f"nothing listens on UDP port {where.port} of {where.host}")]
    if probed.error in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN):
        return [faulty(check, "no-route", f"there is no route from here to {where.host}")]
    if probed.error in (errno.EPERM, errno.EACCES):
        return [faulty(check, "udp-forbidden", f"this machine does not let us send UDP to {where}")]
    fragmented = await _probe(family, address, [SMALLEST], fragments=True)
    if fragmented.answered or SMALLEST in probed.too_large:
        text = f"datagrams of {SMALLEST} bytes reach {where} only in fragments: the path's MTU is below {SMALLEST + 28}"
        return [faulty(check, "mtu-too-small", text)]
    if fragmented.refused:
        return [faulty(check, "nothing-listens", f"nothing listens on UDP port {where.port} of {where.host}")]
    alive = await _host_answers(family, address)
    host = "the host is up (it answers TCP)" if alive else "the host does not answer TCP either"
    return [faulty(check, "udp-blocked", f"no answer to any UDP datagram sent to {where}; {host}")]


def _judge_sizes(check: str, where: HostPort, route: int, probed: Probed) -> list[Finding]:
    largest = max(probed.answered)
    if largest >= route:
        return [fine(check, f"{where} answers; datagrams of up to {largest} bytes pass, as the route says")]
    text = f"{where} answers, but only datagrams of up to {largest} bytes pass; this machine's route says {route}"
    return [fine(check, f"{where} answers"), faulty("mtu", "mtu-smaller", text)]


async def _probe(family: int, address: tuple[Any, ...], sizes: list[int], *, fragments: bool) -> Probed:
    probed = Probed()
    tokens = {secrets.token_bytes(8): size for size in sizes}
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        _set_fragments(sock, fragments)
        try:
            sock.connect(address)
        except OSError as error:
            probed.error = error.errno or 0
            return probed
        for _ in range(ROUNDS):
            for token, size in tokens.items():
                if size not in probed.answered:
                    _send(sock, _packet(token, size), probed, size)
            with anyio.move_on_after(PAUSE):
                while len(probed.answered) + len(probed.too_large) < len(sizes) and not probed.refused:
                    await anyio.wait_readable(sock)
                    for token in _answers(sock, probed):
                        if token in tokens:
                            probed.answered.add(tokens[token])
            if probed.refused or probed.error or len(probed.answered) + len(probed.too_large) >= len(sizes):
                break
    return probed


def _set_fragments(sock: socket.socket, allowed: bool) -> None:
    """Whether datagrams may be cut on the way (Linux)."""
    level, option = (socket.IPPROTO_IP, IP_MTU_DISCOVER)
    if sock.family == socket.AF_INET6:
        level, option = (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER)
    with suppress(OSError):
        sock.setsockopt(level, option, IP_PMTUDISC_DONT if allowed else IP_PMTUDISC_PROBE)


def _send(sock: socket.socket, data: bytes, probed: Probed, size: int) -> None:
    try:
        sock.send(data)
    except BlockingIOError:
        return  # as if it were lost
    except ConnectionRefusedError:
        probed.refused = True
    except OSError as error:
        if error.errno == errno.EMSGSIZE:
            probed.too_large.add(size)
        else:
            probed.error = error.errno or 0


def _answers(sock: socket.socket, probed: Probed) -> Iterator[bytes]:
    """The tokens of the probes that were answered."""
    while True:
        try:
            data = sock.recv(2048)
        except BlockingIOError:
            return
        except ConnectionRefusedError:
            probed.refused = True
            return
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                continue  # a router on the way takes only smaller ones: those come, or they do not
            probed.error = error.errno or 0
            return
        # A version negotiation packet: long header, version 0, and our source id as its destination.
        if len(data) >= 14 and data[0] & 0x80 and data[1:5] == bytes(4) and data[5] == 8:
            yield data[6:14]


def _packet(token: bytes, size: int) -> bytes:
    """A first packet of an unknown version (RFC 9000, section 17.2.2), padded to ``size`` bytes."""
    head = bytes([0xC0]) + UNKNOWN_VERSION.to_bytes(4, "big")
    head += bytes([8]) + secrets.token_bytes(8) + bytes([8]) + token + bytes([0])  # no retry token
    rest = size - len(head) - 2
    return head + (0x4000 | rest).to_bytes(2, "big") + bytes(rest)


async def _host_answers(family: int, address: tuple[Any, ...]) -> bool:
    """Whether the host answers at all: TCP to the same port is accepted, or refused at once."""
    with anyio.move_on_after(TCP_PATIENCE):
        try:
            stream = await anyio.connect_tcp(str(address[0]), int(str(address[1])))
        except OSError as error:
            cause: BaseException | None = error
            while cause is not None:
                if isinstance(cause, ConnectionRefusedError):
                    return True
                cause = cause.__cause__
            return False
        await stream.aclose()
        return True
    return False
