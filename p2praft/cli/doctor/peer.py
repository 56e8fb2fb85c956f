"""Who is at an address: its identity, its network, its clock, and whether its group is ours."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from discovery import NetworkId
from p2praft.about import ELSEWHERE, About, ask_about
from p2praft.cli.doctor.findings import Finding, faulty, fine
from p2praft.cli.doctor.path import examine_path
from p2praft.collections import MapMachine
from p2praft.groups.key import GroupId, GroupKey, Tags
from p2praft.groups.legacy import beginning
from p2praft.groups.machine import MachineName, NoMachine
from transport import (
    AddressError,
    Connection,
    DialError,
    Endpoint,
    HostPort,
    LinkClosed,
    PeerAddr,
    PeerId,
    ProofFailed,
    SecretKey,
    VersionMismatch,
    WrongIdentity,
)

CLOCK = 10.0
"""Seconds that two clocks may differ."""
MACHINES = (MapMachine.signature, NoMachine.signature)
"""State machines that a group may have instead of the one that is expected here."""
_ID = re.compile(r"\bthis is ([a-z2-7]{52})\b")


def peer_or_place(text: str) -> PeerAddr | HostPort:
    """A peer's address, or just a host and a port.

    Raises:
        AddressError: It is neither.
    """
    if "@" in text:
        return PeerAddr.parse(text)
    try:
        return HostPort.parse(text)
    except AddressError:
        raise AddressError(f"{text!r} is neither <peer-id>@host:port nor host:port") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFacts:
    """A group as this side knows it.

    Attributes:
        name: What it is called.
        key: Its secret.
        signature: Its state machine's.
    """

    name: str
    key: GroupKey
    signature: str = MapMachine.signature

    @property
    def machine(self) -> str:
        """The state machine's name."""
        return MachineName.parse(self.signature).name

    def tag(self, network: NetworkId, peer: PeerId, machine: str) -> bytes:
        """What a member announces if this is its group, with a state machine of that name."""
        group = GroupId.of(self.key, network=network, name=self.name, machine=machine)
        return Tags(self.key, group).of(peer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examiner:
    """Looks at peers.

    Attributes:
        endpoint: Dials.
        network: The network's name; None if only the way there and the identity matter.
        groups: Groups that the peer should serve as well.
    """

    endpoint: Endpoint
    network: str | None
    groups: Sequence[GroupFacts] = ()

    async def examine(self, target: PeerAddr | HostPort) -> AsyncIterator[Finding]:
        """Everything that can be found out from here, in the order in which things depend on each other."""
        endpoints = target.endpoints if isinstance(target, PeerAddr) else (target,)
        reachable = []
        for where in endpoints:
            findings = await examine_path(where)
            for finding in findings:
                yield finding
            if findings[0].ok:
                reachable.append(where)
        if not reachable:
            return
        connection: Connection | None = None
        async for step in self._connect(target, reachable[0]):
            if isinstance(step, Finding):
                yield step
            else:
                connection = step
        if connection is not None and self.network is not None:
            async for finding in self._examine_member(connection, NetworkId.of(self.network)):
                yield finding

    async def _connect(self, target: PeerAddr | HostPort, where: HostPort) -> AsyncIterator[Finding | Connection]:
        known = isinstance(target, PeerAddr)
        address = target if isinstance(target, PeerAddr) else PeerAddr(SecretKey.generate().peer_id, (where,))
        try:
            connection = await self.endpoint.connect(address)
        except WrongIdentity as error:
            named = _ID.search(str(error))
            if known or named is None:
                is_it = f"it is {named[1]}; its address is {named[1]}@{where}" if named else str(error)
                text = f"another node answers at {where} than {address.peer_id}: {is_it}"
                yield faulty("identity", "wrong-identity", text)
                return
            # Nobody said who should be there: whoever is there has told us, in its refusal. Now ask for that one.
            address = PeerAddr(PeerId.parse(named[1]), (where,))
            try:
                connection = await self.endpoint.connect(address)
            except DialError as again:
                yield _of_dial(again)
                return
        except DialError as error:
            yield _of_dial(error)
            return
        who = address.peer_id if known else address
        size = connection.datagram_size
        datagrams = f", datagrams of {size} bytes" if size else ""
        yield fine("identity", f"the node there has proven to be {who} (wire {connection.wire}{datagrams})")
        yield connection

    async def _examine_member(self, connection: Connection, network: NetworkId) -> AsyncIterator[Finding]:
        try:
            about, ahead = await ask_about(connection, network.key)
        except LinkClosed as closed:
            if closed.reason == ELSEWHERE:
                text = f"the peer is not in network {self.network!r}: its own has another name"
                yield faulty("network", "other-network", text)
            else:
                text = f"the peer does not speak to us about its network: {closed}"
                yield faulty("network", "handshake", text)
            return
        except TimeoutError:
            yield faulty("network", "handshake", "the peer does not speak to us about its network: no answer in time")
            return
        yield fine("network", f"the peer is in network {self.network!r} as well")
        yield _examine_clock(about, ahead)
        for group in self.groups:
            yield _examine_group(group, network, connection.peer_id, about)


def _of_dial(error: DialError) -> Finding:
    if isinstance(error, VersionMismatch):
        return faulty("identity", "version", str(error))
    if isinstance(error, ProofFailed):
        return faulty("identity", "unproven", str(error))
    return faulty("identity", "handshake", f"the address answers, but no connection comes about: {error}")


def _examine_clock(about: About, ahead: float) -> Finding:
    if abs(ahead) > CLOCK:
        way = "ahead of" if ahead > 0 else "behind"
        return faulty("clock", "clock-off", f"the peer's clock is {_duration(abs(ahead))} {way} this machine's")
    return fine("clock", f"the clocks agree to {abs(ahead):.1f} s; the peer runs p2praft {about.release}")


def _examine_group(group: GroupFacts, network: NetworkId, peer: PeerId, about: About) -> Finding:
    served = about.groups
    if group.tag(network, peer, group.machine) in served:
        return fine("group", f"the peer serves group {group.name!r} with the same secret")
    for machine in {MachineName.parse(signature).name for signature in MACHINES}:
        if group.tag(network, peer, machine) in served:
            text = f"the peer's group {group.name!r} has the same secret, but its state machine is {machine}, ours {group.machine}"
            return faulty("group", "other-machine", text)
    if any(one.startswith(beginning(network, group.name)) for one in served):
        text = f"the peer serves a group called {group.name!r}, but runs an older release ({about.release})"
        return faulty("group", "older-release", text)
    text = (
        f"the peer serves {len(served)} group(s), but none that is called {group.name!r} and has the same secret"
        if served
        else "the peer serves no group"
    )
    return faulty("group", "no-such-group", text)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return (
        f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.0f} h"
        if seconds < 172_800
        else (f"{seconds / 86_400:.0f} days")
    )
