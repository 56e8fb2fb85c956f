"""What the command and the HTTP API show of nodes, peers and groups; the JSON keys are the attributes' names."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from discovery import PeerInfo
from p2praft.groups.archives import ArchiveInfo, ShownEntry, plain
from p2praft.groups.group import Group
from p2praft.groups.key import GroupTag
from p2praft.groups.merging import MergeInfo
from p2praft.network import Network


def status_view(network: Network, uptime: float) -> dict[str, Any]:
    """The node at a glance."""
    return {
        "peer_id": str(network.peer_id),
        "address": str(network.address),
        "network": network.name,
        "uptime": round(uptime, 3),
        "peers": len(network.peers),
        "groups": [group_view(group) for group in network.groups.values()],
    }


def peer_view(network: Network, peer: PeerInfo) -> dict[str, Any]:
    """A peer as in the catalog.

    Its ``groups`` are the ids of those that this node is in as well. Of the others there is only the peer's tag to show.
    """
    shared = {
        tag: str(group.id) for group in network.groups.values() if (tag := group.tag_of(peer.peer_id)) in peer.groups
    }
    return {
        "peer_id": str(peer.peer_id),
        "addresses": [str(address) for address in peer.addresses],
        "tags": sorted(peer.tags),
        "groups": sorted(shared.get(tag) or str(GroupTag(tag)) for tag in peer.groups),
        "rtt": peer.rtt,
        "status": peer.status,
    }


def group_view(group: Group) -> dict[str, Any]:
    """A group as this member sees it."""
    return {
        "name": group.name,
        "id": str(group.id),
        "role": group.role,
        "term": group.term,
        "leader": str(group.leader) if group.leader else None,
        "is_leader": group.is_leader,
        "committed": group.committed,
        "log_position": {"term": group.log_position.term, "index": group.log_position.index},
        "voters": [str(peer) for peer in group.voters],
        "bonds": [{"peer_id": str(peer), "rtt": bond.rtt} for peer, bond in sorted(group.bonds.items())],
        "online": group.online,
        "waits_for": group.waits_for,
        "safe": group.safe,
    }


def group_detail(network: Network, group: Group) -> dict[str, Any]:
    """A group with all that is known of its members; those seen in the catalog alone are neither bonded nor voters."""
    members = {info.peer_id: info for info in group.members}
    views = [
        {
            "peer_id": str(info.peer_id),
            "self": info.peer_id == network.peer_id,
            "voter": info.voter,
            "observer": info.observer,
            "leader": info.leader,
            "bonded": info.bonded,
            "rtt": info.rtt,
            "match": info.match,
        }
        for info in members.values()
    ]
    views += [
        {
            "peer_id": str(peer.peer_id),
            "self": False,
            "voter": False,
            "observer": None,
            "leader": False,
            "bonded": False,
            "rtt": None,
            "match": None,
        }
        for peer in network.peers
        if group.announced_by(peer) and peer.peer_id not in members
    ]
    return {**group_view(group), "applied": group.applied, "members": sorted(views, key=lambda view: view["peer_id"])}


def archive_view(info: ArchiveInfo) -> dict[str, Any]:
    """An archive, in a line."""
    return asdict(info)


def entry_view(entry: ShownEntry) -> dict[str, Any]:
    """One entry of an archive: bytes in its commands as ``{"base64": …}``, times as ISO 8601."""
    return {**asdict(entry), "commands": [plain(command) for command in entry.commands]}


def merge_view(info: MergeInfo) -> dict[str, Any]:
    """Two parts of a group that met."""
    view = asdict(info)
    for part in (view["this"], view["other"]):
        part["commands"] = list(part["commands"])
    return view
