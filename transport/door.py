"""Who may come in: bounds on the connections that others dial, in all and for each source address. Pure.

A datagram's source address can be forged until somebody has answered from there. So what has not answered gets little room, in
all and for each address, and everything beyond is asked to come back with a token first (Retry, RFC 9000, section 8.1.2),
which costs no memory. An address that has answered gets more, but never so much that others find no room.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import Literal

MAX_UNPROVEN = 256
"""Accepted connections without proof of identity at most; more are not answered."""
MAX_UNPROVEN_PER_SOURCE = 64
"""Of them, from one source."""
RETRY_ABOVE = 32
"""From this many unproven ones on, addresses must be validated first."""
RETRY_ABOVE_PER_SOURCE = 8
"""From this many unproven ones of one source on, it must. Who forges an honest peer's address gets no further than this."""
MAX_CONNECTIONS = 4096
"""Connections of any kind at most; more are not answered. Dialling is bounded by those who dial."""
MAX_PER_SOURCE = 1024
"""Of them, accepted from one source."""

TOO_MANY = "too many connections"
TOO_MANY_FROM_ONE = "too many connections from one address"


def source_of(host: str) -> str:
    """What counts as one source: an IPv4 address, or the /64 that one IPv6 host can choose its addresses from."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 6 and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)


class Door:
    """Counts who is inside, and decides about who knocks."""

    def __init__(self) -> None:
        self._unproven: Counter[str] = Counter()
        self._inside: Counter[str] = Counter()
        self._all_unproven = 0

    @property
    def unproven(self) -> int:
        """Accepted connections without proof."""
        return self._all_unproven

    @property
    def sources(self) -> int:
        """Sources that are remembered: those with a connection, no others."""
        return len(self._inside)

    def answer(self, source: str, *, connections: int, validated: bool) -> Literal["accept", "retry"] | str:
        """What to do with a first datagram.

        Args:
            source: From where it came.
            connections: How many there are of any kind.
            validated: Whether it carries a token that only this source can have.

        Returns:
            ``accept``, ``retry``, or why it is not answered at all.
        """
        if self._all_unproven >= MAX_UNPROVEN or connections >= MAX_CONNECTIONS:
            return TOO_MANY
        if self._unproven[source] >= MAX_UNPROVEN_PER_SOURCE or self._inside[source] >= MAX_PER_SOURCE:
            return TOO_MANY_FROM_ONE
        crowded = self._all_unproven >= RETRY_ABOVE or self._unproven[source] >= RETRY_ABOVE_PER_SOURCE
        return "retry" if crowded and not validated else "accept"

    def enter(self, source: str) -> None:
        """A connection was accepted."""
        self._inside[source] += 1
        self._unproven[source] += 1
        self._all_unproven += 1

    def prove(self, source: str) -> None:
        """An accepted connection proved who it is, or is over."""
        self._all_unproven -= 1
        _decrement(self._unproven, source)

    def leave(self, source: str) -> None:
        """An accepted connection is forgotten."""
        _decrement(self._inside, source)


def _decrement(counts: Counter[str], source: str) -> None:
    counts[source] -= 1
    if counts[source] <= 0:
        del counts[source]
