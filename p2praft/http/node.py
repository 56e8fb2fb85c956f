"""The node, its peers and its groups."""

from __future__ import annotations

from typing import Any

import anyio
from starlette.requests import Request

from p2praft.http.operation import Api, Arguments, Operation
from p2praft.http.parameters import Parameter
from p2praft.http.problems import Problem
from p2praft.views import archive_view, entry_view, group_detail, group_view, peer_view, status_view
from transport import PeerId

GROUP = Parameter(name="group", where="path", about="The group's name.", low=1, high=255, example="tills")
TIMEOUT = Parameter(name="timeout", kind="number", about="Seconds to wait.", default=10.0, low=0.05, high=60)


async def status(api: Api, request: Request, arguments: Arguments) -> Any:
    """The node at a glance."""
    return status_view(api.network, anyio.current_time() - api.started)


async def peers(api: Api, request: Request, arguments: Arguments) -> Any:
    """Everybody in the catalog."""
    return [peer_view(api.network, peer) for peer in api.network.peers]


async def peer(api: Api, request: Request, arguments: Arguments) -> Any:
    """One peer, and what was tried with it."""
    peer_id = PeerId.parse(arguments["peer"])
    info = api.network.peers.get(peer_id)
    if info is None:
        raise Problem(404, "NoPeer", f"{peer_id.short} is not in the catalog of network {api.network.name!r}")
    return {**peer_view(api.network, info), "explanation": api.network.peers.explain(peer_id)}


async def groups(api: Api, request: Request, arguments: Arguments) -> Any:
    """All groups of this node."""
    return [group_view(group) for group in api.network.groups.values()]


async def group(api: Api, request: Request, arguments: Arguments) -> Any:
    """One group with its members."""
    return group_detail(api.network, api.group(arguments["group"]))


async def archives(api: Api, request: Request, arguments: Arguments) -> Any:
    """What is kept of ended histories."""
    return [archive_view(info) for info in await api.group(arguments["group"]).archives()]


async def archive(api: Api, request: Request, arguments: Arguments) -> Any:
    """The last entries of one archive."""
    group = api.group(arguments["group"])
    number = arguments["number"]
    if not any(info.number == number for info in await group.archives()):
        raise Problem(404, "NoArchive", f"this node has no archive {number} of group {group.name!r}")
    return [entry_view(entry) for entry in await group.archive_show(number, arguments["last"])]


async def transfer(api: Api, request: Request, arguments: Arguments) -> Any:
    """Hand over the leadership."""
    chosen = api.group(arguments["group"])
    beginning = arguments["to"]
    to: PeerId | None = None
    if beginning is not None:
        found = [voter for voter in chosen.voters if str(voter).startswith(beginning)]
        if len(found) != 1:
            text = f"{len(found)} voters of group {chosen.name!r} have ids that begin with {beginning[:52]!r}"
            raise Problem(409, "NoPeer", text)
        to = found[0]
    return {"leader": str(await chosen.transfer_leadership(to, timeout=arguments["timeout"]))}


async def leave(api: Api, request: Request, arguments: Arguments) -> Any:
    """Leave for good."""
    await api.group(arguments["group"]).leave(timeout=arguments["timeout"])
    return {"left": arguments["group"]}


def operations() -> tuple[Operation, ...]:
    """Of this chapter."""
    peer_id = Parameter(name="peer", where="path", about="A peer's id.", low=52, high=52, pattern="^[a-z2-7]{51}[aq]$")
    number = Parameter(name="number", where="path", kind="integer", about="An archive's number.", low=1, high=2**31)
    last = Parameter(name="last", kind="integer", about="How many entries at most.", default=20, low=1, high=1000)
    to = Parameter(name="to", about="A voter's id, or its beginning; without it, whoever suits best.", low=8, high=52)
    return (
        Operation(
            method="GET",
            path="/v1/status",
            name="status",
            about="The node at a glance.",
            handle=status,
            answer="Status",
        ),
        Operation(
            method="GET",
            path="/v1/peers",
            name="peers",
            about="The other nodes of the network that are alive or suspected.",
            handle=peers,
            answer={"type": "array", "items": {"$ref": "#/components/schemas/Peer"}},
        ),
        Operation(
            method="GET",
            path="/v1/peers/{peer}",
            name="peer",
            about="One peer, whatever its status, with what was tried to reach it.",
            handle=peer,
            parameters=(peer_id,),
            answer="ExplainedPeer",
            problems=(404,),
        ),
        Operation(
            method="GET",
            path="/v1/groups",
            name="groups",
            about="The groups that this node serves.",
            handle=groups,
            answer={"type": "array", "items": {"$ref": "#/components/schemas/Group"}},
            tag="groups",
        ),
        Operation(
            method="GET",
            path="/v1/groups/{group}",
            name="group",
            about="One group, with what this node knows of its members.",
            handle=group,
            parameters=(GROUP,),
            answer="GroupDetail",
            problems=(404,),
            tag="groups",
        ),
        Operation(
            method="GET",
            path="/v1/groups/{group}/archives",
            name="archives",
            about="What this node has kept of the group's histories that ended, the oldest first.",
            handle=archives,
            parameters=(GROUP,),
            answer={"type": "array", "items": {"$ref": "#/components/schemas/Archive"}},
            problems=(404, 503),
            tag="groups",
        ),
        Operation(
            method="GET",
            path="/v1/groups/{group}/archives/{number}",
            name="archive",
            about="The last entries of one of them, with their commands.",
            handle=archive,
            parameters=(GROUP, number, last),
            answer={"type": "array", "items": {"$ref": "#/components/schemas/ArchivedEntry"}},
            problems=(404, 503),
            tag="groups",
        ),
        Operation(
            method="POST",
            path="/v1/groups/{group}/transfer",
            name="transfer",
            about="Have this node, which leads the group, hand over; answers with the new leader.",
            handle=transfer,
            parameters=(GROUP, to, TIMEOUT),
            answer={"type": "object", "properties": {"leader": {"type": "string"}}, "required": ["leader"]},
            problems=(404, 409, 503),
            tag="groups",
        ),
        Operation(
            method="POST",
            path="/v1/groups/{group}/leave",
            name="leave",
            about="Have this node leave the group for good: the voter set shrinks.",
            handle=leave,
            parameters=(GROUP, TIMEOUT),
            answer={"type": "object", "properties": {"left": {"type": "string"}}, "required": ["left"]},
            problems=(404, 409, 503),
            tag="groups",
        ),
    )
