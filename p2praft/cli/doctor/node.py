"""A running node looks at itself and at its peers."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from p2praft.cli.doctor.findings import Finding, faulty, fine
from p2praft.cli.doctor.peer import Examiner, GroupFacts
from p2praft.groups.group import Group
from p2praft.network import Network
from p2praft.raft.histories.states import State, Wait
from transport import HostPort, PeerAddr, PeerId

MAX_PEERS = 8
"""Peers that are looked at unless one is named; all at the same time."""


async def examine_node(network: Network, target: PeerAddr | HostPort | None) -> list[Finding]:
    """What a running node finds out about itself, and about one peer or those that it should see.

    Args:
        network: The node.
        target: The peer; None for the seeds and the peers in the catalog.
    """
    findings = [
        fine("node", f"{network.address} runs in network {network.name!r} and knows {len(network.peers)} other node(s)")
    ]
    for group in network.groups.values():
        findings.append(_examine_own(network, group))
        findings += _examine_archives(group)
    targets: Sequence[PeerAddr | HostPort] = [target] if target is not None else _targets(network)
    if not targets:
        text = "it knows no other node, was given no --seed, and nobody has joined it"
        return [*findings, faulty("peers", "alone", text)]
    results: list[list[Finding]] = [[] for _ in targets]
    groups = [GroupFacts(name=name, key=key, signature=signature) for name, key, signature in network.group_facts()]
    examiner = Examiner(endpoint=network.endpoint, network=network.name, groups=groups)

    async def look(at: int) -> None:
        where = targets[at]
        found = [finding async for finding in examiner.examine(where)]
        proven = any(finding.check == "identity" and finding.ok for finding in found)
        if target is None and isinstance(where, PeerAddr) and not proven and (moved := _moved(network, where)):
            # It is here: that the given address is out of date is no fault while the node knows the present one.
            text = f"{moved.peer_id.short} is not at {_places(where)} any more; it lives at {_places(moved)} now"
            found = [fine("seed", text), *[finding async for finding in examiner.examine(moved)]]
        results[at] += found

    async with anyio.create_task_group() as tasks:
        for at in range(len(targets)):
            tasks.start_soon(look, at)
    return [*findings, *(finding for result in results for finding in result)]


def _targets(network: Network) -> list[PeerAddr]:
    """The seeds, at the addresses that were given, then whom else it knows."""
    seeds = {seed.peer_id: seed for seed in network.seeds if seed.peer_id != network.peer_id}
    others = {peer.peer_id: PeerAddr(peer.peer_id, peer.addresses) for peer in network.peers}
    places: dict[PeerId, PeerAddr] = {**seeds, **{peer: where for peer, where in others.items() if peer not in seeds}}
    return list(places.values())[:MAX_PEERS]


def _moved(network: Network, seed: PeerAddr) -> PeerAddr | None:
    """Where a peer that is here says it is, if that is elsewhere."""
    for peer in network.peers:
        if peer.peer_id == seed.peer_id and peer.status == "alive":
            places = tuple(place for place in peer.addresses if place not in seed.endpoints)
            return PeerAddr(peer.peer_id, places) if places else None
    return None


def _places(address: PeerAddr) -> str:
    return ", ".join(map(str, address.endpoints))


def _examine_own(network: Network, group: Group) -> Finding:
    check = "group"
    if group.failure is not None:
        return faulty(check, "data-corrupt", str(group.failure))
    status = group._worker.engine.status()
    if status.differs:
        text = f"group {group.name!r}: this node's log differs from its leader's at the same position, so it agrees to nothing"
        return faulty(check, "log-differs", text)
    if status.waits is not None and status.waits[0] is Wait.OPERATOR:
        return faulty(check, "asks", f"group {group.name!r} works, and {group.waits_for}")
    if not group.online:
        here = [voter for voter in group.voters if voter == network.peer_id or voter in group.bonds]
        waits_for = group.waits_for
        if waits_for is not None and not group.voters:
            return faulty(check, "not-founded", f"group {group.name!r} is not founded yet: it {waits_for}")
        if status.state is State.SEALED:
            return faulty(check, "sealed", f"group {group.name!r} has ended here: it {waits_for}")
        text = f"group {group.name!r} has no leader: {len(here)} of its {len(group.voters)} voters are here"
        text += f"; it {waits_for}" if waits_for is not None else ""
        stranded = status.waits is not None and status.waits[0] is Wait.VOTERS
        return faulty(check, "stranded" if stranded else "no-leader", text)
    missing = [
        peer.peer_id.short
        for peer in network.peers
        if group.announced_by(peer) and peer.peer_id not in group.bonds and peer.status == "alive"
    ]
    if missing:
        return faulty(check, "not-bonded", f"group {group.name!r} works, but has no bond with {', '.join(missing)}")
    return fine(check, f"group {group.name!r} works: {group.role} in term {group.term}, {len(group.bonds)} bond(s)")


def _examine_archives(group: Group) -> list[Finding]:
    """No fault, for what was kept stays kept; but somebody should look at it once."""
    advice = f"look at it: `p2praft archive show {group.name} NUMBER`; `archive replay` executes its commands again"
    return [
        Finding(check="archive", ok=True, message=f"group {group.name!r}: {text}", advice=advice)
        for _, text in sorted(group.left_aside.items())
    ]
