"""The node's end of what a command asks: see :mod:`p2praft.cli.client`."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
from anyio.abc import SocketStream, TaskStatus

from p2praft.cli.client import MAX_LINE, Request, line, read_line
from p2praft.cli.doctor.node import examine_node
from p2praft.cli.doctor.peer import peer_or_place
from p2praft.cli.measure import measure
from p2praft.cli.output import CommandError
from p2praft.cli.runtime import answers
from p2praft.cli.snapshot import operations as backups
from p2praft.collections import Map, MapReader
from p2praft.errors import P2PRaftError
from p2praft.groups.group import Consistency, Group
from p2praft.map_operations import map_delete, map_get, map_list, map_set, map_watch
from p2praft.network import Network
from p2praft.views import archive_view, entry_view, group_detail, group_view, merge_view, peer_view, status_view
from transport import PeerId, TransportError

logger = logging.getLogger("p2praft.control")

IDLE = 10.0
"""Seconds that a client has to send its request, and to take its reply."""
CLIENTS = 64
"""Requests that are served at once; more wait."""
STREAMS = 256
"""Streams that are served at once; more are refused."""


class ControlServer:
    """Answers for one node.

    Args:
        network: The node.
        started: When it started, on anyio's clock.

    Attributes:
        streaming: Streams that are served now.
    """

    def __init__(self, network: Network, started: float) -> None:
        self._network = network
        self._started = started
        self._room = anyio.Semaphore(CLIENTS)
        self._operations: dict[str, Callable[[Request], Awaitable[Any]]] = {
            "status": self._status,
            "peers": self._peers,
            "groups": self._groups,
            "map": self._map,
            "transfer": self._transfer,
            "leave": self._leave,
            "recover": self._recover,
            "abandon": self._abandon,
            "merge": self._merge,
            "archive": self._archive,
            "explain": self._explain,
            "doctor": self._doctor,
            "top": self._top,
            "measure": self._measure,
            "restore": self._restore,
        }
        self._streams: dict[str, Callable[[Request], AsyncGenerator[Any, None]]] = {
            "watch": self._watch,
            "backup": self._backup,
            "export": self._export,
            "replay": self._replay,
        }
        self.streaming = 0

    async def serve(self, path: Path, *, task_status: TaskStatus[None]) -> None:
        """Answer until cancelled.

        Raises:
            CommandError: Another node answers there: two with one identity would take each other's place everywhere.
        """
        if answers(path):
            raise CommandError(
                "Running",
                "another node with this identity runs here; stop it first, or give this node an identity of its own",
            )
        # A socket that is bound but does not listen yet looks like a killed node's, and whoever looks for nodes removes it.
        beside = path.with_suffix(".new")
        beside.unlink(missing_ok=True)
        listener = await anyio.create_unix_listener(beside, mode=0o600)
        beside.rename(path)
        task_status.started()
        try:
            async with listener:
                await listener.serve(self._client)
        finally:
            path.unlink(missing_ok=True)

    async def _client(self, stream: SocketStream) -> None:
        async with stream:
            try:
                async with self._room:
                    with anyio.fail_after(IDLE):
                        request = await read_line(stream)
                    if not isinstance(request, dict) or request.get("op") not in self._streams:
                        reply = line(await self._answer(request))
                        if len(reply) > MAX_LINE:
                            text = f"the answer is larger than {MAX_LINE} bytes; ask for less, such as a longer prefix"
                            reply = line({"error": "TooLarge", "message": text})
                        with anyio.fail_after(IDLE):
                            await stream.send(reply)
                        return
                await self._stream(stream, request)
            except Exception as error:  # whatever a client does, or a bug here: the node goes on
                logger.debug("a control request failed: %r", error)

    async def _stream(self, stream: SocketStream, request: Request) -> None:
        """Serve a stream until it ends or the client closes; a client that takes nothing only holds up itself."""
        if self.streaming >= STREAMS:
            await stream.send(line({"error": "TooMany", "message": f"the node serves {STREAMS} streams already"}))
            return
        self.streaming += 1
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_until_closed, stream, tasks.cancel_scope)
                last = await self._answer_from(self._send_items, stream, request)
                await stream.send(line(last if "error" in last else {"end": True}))
                tasks.cancel_scope.cancel()
        finally:
            self.streaming -= 1

    async def _send_items(self, stream: SocketStream, request: Request) -> None:
        async with aclosing(self._streams[request["op"]](request)) as items:
            async for item in items:
                await stream.send(line({"item": item}))

    async def _answer(self, request: Any) -> Any:
        async def operate() -> Any:
            return await self._operations[request["op"]](request)

        return await self._answer_from(operate)

    async def _answer_from(self, operation: Callable[..., Awaitable[Any]], *arguments: Any) -> dict[str, Any]:
        try:
            return {"result": await operation(*arguments)}
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise  # the client has gone
        except (P2PRaftError, TransportError, CommandError) as error:
            kind = error.kind if isinstance(error, CommandError) else type(error).__name__
            return {"error": kind, "message": str(error)}
        except (KeyError, TypeError) as error:
            return {"error": "BadRequest", "message": f"the node does not understand the request ({error!r})"}
        except Exception as error:
            logger.exception("a control request failed")
            return {"error": "Internal", "message": f"unexpected {type(error).__name__} in the node: {error}"}

    async def _status(self, request: Request) -> Any:
        return status_view(self._network, anyio.current_time() - self._started)

    async def _peers(self, request: Request) -> Any:
        return [peer_view(self._network, peer) for peer in self._network.peers]

    async def _groups(self, request: Request) -> Any:
        return [group_view(group) for group in self._network.groups.values()]

    async def _transfer(self, request: Request) -> Any:
        group = self._group(request["group"])
        to: PeerId | None = None
        if request.get("to"):
            found = [peer for peer in group.voters if str(peer).startswith(request["to"])]
            if len(found) != 1:
                text = f"{len(found)} voters of group {group.name!r} have ids that begin with {request['to']!r}"
                raise CommandError("NoPeer", text)
            to = found[0]
        return {"leader": str(await group.transfer_leadership(to))}

    async def _leave(self, request: Request) -> Any:
        await self._group(request["group"]).leave()
        return {"left": request["group"]}

    async def _recover(self, request: Request) -> Any:
        group = self._group(request["group"])
        if request.get("dry_run"):
            return {"lost": [str(peer) for peer in group.losable], "online": group.online}
        lost = [PeerId.parse(text) for text in request["lost"]]
        return {"lost": [str(peer) for peer in await group.recover(lost, timeout=request["timeout"])]}

    async def _abandon(self, request: Request) -> Any:
        group = self._group(request["group"])
        if request.get("dry_run"):
            return {"position": group.log_position.index, "committed": group.committed, "online": group.online}
        await group.abandon(timeout=request["timeout"])
        return {"abandoned": request["group"]}

    async def _merge(self, request: Request) -> Any:
        group = self._group(request["group"])
        if request.get("dry_run"):
            if (met := group.met) is None:
                raise CommandError(
                    "NotAuthorized",
                    f"group {group.name!r} has met no other part of itself here; its leader hears of what the others meet: ask it",
                )
            return merge_view(met)
        await group.merge(timeout=request["timeout"])
        return {"merged": request["group"]}

    async def _archive(self, request: Request) -> Any:
        group = self._group(request["group"])
        match request["action"]:
            case "list":
                return [archive_view(info) for info in await group.archives()]
            case "show":
                shown = await group.archive_show(request["number"], request.get("last", 20))
                return [entry_view(entry) for entry in shown]
            case "commands":
                return {"commands": len(await group.archive_commands(request["number"]))}
        raise KeyError(request["action"])

    async def _replay(self, request: Request) -> AsyncGenerator[Any, None]:
        """A stream, for it takes as long as it takes; a client that goes ends it."""
        group = self._group(request["group"])
        yield asdict(await group.archive_replay(request["number"], timeout=request["timeout"]))

    async def _export(self, request: Request) -> AsyncGenerator[Any, None]:
        for at, value in enumerate(await self._group(request["group"]).archive_export(request["number"])):
            if len(line({"item": value})) > MAX_LINE:
                raise CommandError(
                    "TooLarge",
                    f"a piece of archive {request['number']} is larger than {MAX_LINE} bytes as JSON; in Python, "
                    "`Group.archive_export` has no such bound",
                )
            if at % 64 == 0:
                await anyio.lowlevel.checkpoint()  # the node goes on meanwhile
            yield value

    async def _explain(self, request: Request) -> Any:
        return {"text": self._network.peers.explain(PeerId.parse(request["peer"]))}

    async def _measure(self, request: Request) -> Any:
        return await measure(self._group(request["group"]), request["what"], request["count"], request["at_once"])

    def _backup(self, request: Request) -> AsyncGenerator[Any, None]:
        return backups.give(MapReader(self._group(request["group"])), self._network.name)

    async def _restore(self, request: Request) -> Any:
        replicated: Map[Any] = Map(self._group(request["group"]))
        match request["step"]:
            case "look":
                return await backups.look(replicated)
            case "take":
                return await backups.take(replicated, request["block"])
            case "drop":
                return await backups.drop(replicated, request["keys"])
        raise KeyError(request["step"])

    async def _top(self, request: Request) -> Any:
        groups = [group_detail(self._network, group) for group in self._network.groups.values()]
        return {**await self._status(request), "groups": groups, "known": await self._peers(request)}

    async def _doctor(self, request: Request) -> Any:
        target = peer_or_place(request["target"]) if request.get("target") else None
        found = await examine_node(self._network, target)
        return [finding.as_json() for finding in found]

    async def _map(self, request: Request) -> Any:
        replicated: Map[Any] = Map(self._group(request["group"]))
        consistency = Consistency.WEAK if request.get("weak") else Consistency.STRONG
        match request["action"]:
            case "get":
                return await map_get(replicated, request["key"], consistency)
            case "set":
                return await map_set(
                    replicated,
                    request["key"],
                    request["value"],
                    expected=request.get("expected"),
                    ttl=request.get("ttl"),
                    timeout=request["timeout"],
                )
            case "delete":
                return await map_delete(
                    replicated, request["key"], expected=request.get("expected"), timeout=request["timeout"]
                )
            case "list":
                return await map_list(replicated, request.get("prefix", ""), consistency)
        raise KeyError(request["action"])

    def _watch(self, request: Request) -> AsyncGenerator[Any, None]:
        replicated: MapReader[Any] = MapReader(self._group(request["group"]))
        return map_watch(replicated, request.get("prefix", ""), request.get("since"))

    def _group(self, name: str) -> Group:
        groups = list(self._network.groups.values())
        for group in groups:
            if group.name == name:
                return group
        served = ", ".join(group.name for group in groups) or "none"
        raise CommandError("NoGroup", f"this node serves no group {name!r}; it serves: {served}")


async def _until_closed(stream: SocketStream, scope: anyio.CancelScope) -> None:
    """End a stream when its client has closed; whatever else the client says is ignored."""
    try:
        while True:
            await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        scope.cancel()
