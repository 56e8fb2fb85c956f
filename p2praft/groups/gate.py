"""Who may found a group: a pure decision on what a node knows of its network.

A second history is begun by a node that does not know of the first. So a node that was told where others are meets them
before it founds, and one that knows of another member bonds with it. Who was told of nobody has nobody to wait for.

==================================  ==========================================================  ===============
what the node knows                 what it waits for                                           code
==================================  ==========================================================  ===============
``found=True``                      nothing: an operator says that it may go ahead alone        -
``found=False``                     it never founds                                             ``FORBIDDEN``
somebody is named to it, no link    a link; however long, for the network may just be late      ``NO_LINK``
a link, no catalog compared yet     the end of the first comparison                             ``NO_CATALOG``
members that are not bonded         a bond with each, or that it is lost or has left, or that   ``MEMBERS``
                                    bonding has failed for three bootstrap delays
nobody is named to it, no members   nothing
==================================  ==========================================================  ===============

Once the group has a history that this node holds, the answer matters no more.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from transport import HostPort, PeerAddr, PeerId

PATIENCE = 3
"""Bootstrap delays for which bonding with a member may fail before a group is founded without it."""
MAX_NAMED = 4
"""Peers and addresses that a sentence names."""


class Wait(StrEnum):
    """Why a node may not found now."""

    FORBIDDEN = "forbidden"
    NO_LINK = "no link"
    NO_CATALOG = "no catalog"
    MEMBERS = "members"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a node knows of its network, as far as founding is concerned.

    Attributes:
        told: Where others are said to be: seeds, peers of an earlier run, finds in the local network; not the node itself.
        linked: Whether a link or a bond with another node stands.
        compared: Whether the catalog was compared with another node's since the start.
        members: Living peers in the catalog that announce the group and may be members of it.
        bonded: Peers that are bonded.
        failing: Since when bonding with a peer has been failing, on the clock that ``now`` is of; a peer that was not tried yet, or
            that was bonded since, is not in it.
    """

    told: tuple[PeerAddr, ...] = ()
    linked: bool = False
    compared: bool = False
    members: Collection[PeerId] = ()
    bonded: Collection[PeerId] = ()
    failing: Mapping[PeerId, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """What a node waits for before it may found.

    Attributes:
        code: Of which kind it is.
        addresses: With ``NO_LINK``, where others are said to be.
        peers: With ``MEMBERS``, who is to be bonded, in order.
        until: When time alone may change the answer, on the clock that ``now`` was of; ``inf`` if it never does.
    """

    code: Wait
    addresses: tuple[PeerAddr, ...] = ()
    peers: tuple[PeerId, ...] = ()
    until: float = math.inf


def waits_for(around: Surroundings, *, found: bool | None, bootstrap_delay: float, now: float) -> Waits | None:
    """What the node waits for before it may found; None if it may found now.

    Args:
        around: What it knows.
        found: An operator's word: True to go ahead alone, False never to found, None for the rule.
        bootstrap_delay: The group's, in seconds.
        now: The clock, in seconds.
    """
    if found is not None:
        return None if found else Waits(code=Wait.FORBIDDEN)
    if around.told and not around.linked:
        return Waits(code=Wait.NO_LINK, addresses=around.told)
    if around.told and not around.compared:
        return Waits(code=Wait.NO_CATALOG)
    until = {
        peer: around.failing.get(peer, math.inf) + PATIENCE * bootstrap_delay
        for peer in around.members
        if peer not in around.bonded
    }
    awaited = tuple(sorted(peer for peer, end in until.items() if now < end))
    if not awaited:
        return None
    return Waits(code=Wait.MEMBERS, peers=awaited, until=min(until[peer] for peer in awaited))


def in_words(waits: Waits) -> str:
    """What a node waits for, for people: a clause that begins with a verb and whose subject is the group on this node."""
    match waits.code:
        case Wait.FORBIDDEN:
            return "waits for a member that has it, for this node only joins (--join, found=False)"
        case Wait.NO_LINK:
            places = _some([_places(address) for address in waits.addresses])
            return (
                f"waits for a link with its network: nobody answers at {places}; if this node is to begin alone, start it "
                "with --found (found=True)"
            )
        case Wait.NO_CATALOG:
            return "waits to learn who is in the network: its catalog was not compared with a neighbour's yet"
        case Wait.MEMBERS:
            several = len(waits.peers) > 1
            return f"waits to bond with {_some([p.short for p in waits.peers])}, which {'are' if several else 'is'} in this group"


def expected_in_words(expect: int, here: int) -> str:
    """As :func:`in_words`, of a node that may found: it needs ``expect`` members that may vote, and ``here`` of them are here."""
    if here >= expect:
        return f"waits a moment for others before it is founded; {here} members that may vote are here"
    return f"waits for {expect} members that may vote; so far, {here} of them here"


def _places(address: PeerAddr) -> str:
    """Host and port alone: the PeerId in full makes a sentence unreadable."""
    places: tuple[HostPort, ...] = address.endpoints
    return " or ".join(map(str, places))


def _some(texts: list[str]) -> str:
    more = len(texts) - MAX_NAMED
    return ", ".join(texts[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
