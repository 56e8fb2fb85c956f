"""How a command speaks to a running node: one JSON request and one JSON reply a connection, over a Unix socket."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import ByteReceiveStream, SocketStream, TaskStatus
from anyio.streams.buffered import BufferedByteReceiveStream

from p2praft.cli.output import CommandError
from p2praft.cli.runtime import find_node
from p2praft.cli.views import group_view, peer_view, status_view
from p2praft.collections import Map
from p2praft.errors import P2PRaftError
from p2praft.groups.group import Consistency, Group
from p2praft.network import Network
from transport import PeerId, TransportError

logger = logging.getLogger("p2praft.control")

MAX_LINE = 4 * 1024 * 1024
"""Bytes of one request or reply."""
IDLE = 10.0
"""Seconds that a client has to send its request, and to take its reply."""
PATIENCE = 30.0
"""Seconds that a client waits for a reply, beyond the timeout that its request names."""
CLIENTS = 64
"""Requests that are served at once; more wait."""

Request = dict[str, Any]


class ControlServer:
    """Answers for one node.

    Args:
        network: The node.
        started: When it started, on anyio's clock.
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
            "explain": self._explain,
        }

    async def serve(self, path: Path, *, task_status: TaskStatus[None]) -> None:
        """Answer until cancelled."""
        path.unlink(missing_ok=True)
        listener = await anyio.create_unix_listener(path, mode=0o600)
        task_status.started()
        try:
            async with listener:
                await listener.serve(self._client)
        finally:
            path.unlink(missing_ok=True)

    async def _client(self, stream: SocketStream) -> None:
        async with stream, self._room:
            try:
                with anyio.fail_after(IDLE):
                    request = await _read_line(stream)
                reply = _line(await self._answer(request))
                if len(reply) > MAX_LINE:
                    text = f"the answer is larger than {MAX_LINE} bytes; ask for less, such as a longer prefix"
                    reply = _line({"error": "TooLarge", "message": text})
                with anyio.fail_after(IDLE):
                    await stream.send(reply)
            except Exception as error:  # whatever a client does, or a bug here: the node goes on
                logger.debug("a control request failed: %r", error)

    async def _answer(self, request: Any) -> Any:
        try:
            operation = self._operations[request["op"]]
            return {"result": await operation(request)}
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
        return [peer_view(peer) for peer in self._network.peers]

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
            bonded = {*group.bonds, self._network.peer_id}
            return {"lost": [str(voter) for voter in group.voters if voter not in bonded], "online": group.online}
        lost = [PeerId.parse(text) for text in request["lost"]]
        return {"lost": [str(peer) for peer in await group.recover(lost, timeout=request["timeout"])]}

    async def _explain(self, request: Request) -> Any:
        return {"text": self._network.peers.explain(PeerId.parse(request["peer"]))}

    async def _map(self, request: Request) -> Any:
        replicated = Map(self._group(request["group"]))
        consistency = Consistency.WEAK if request.get("weak") else Consistency.STRONG
        match request["action"]:
            case "get":
                entry = await replicated.get(request["key"], consistency)
                if entry is None:
                    raise CommandError("NoSuchKey", f"there is no key {request['key']!r} in map {request['group']!r}")
                return {"key": request["key"], "value": entry.value, "version": entry.version}
            case "set":
                version = await replicated.set(
                    request["key"], request["value"], expected=request.get("expected"), timeout=request["timeout"]
                )
                return {"key": request["key"], "version": version}
            case "delete":
                deleted = await replicated.delete(request["key"], timeout=request["timeout"])
                if deleted is None:
                    raise CommandError("NoSuchKey", f"there is no key {request['key']!r} in map {request['group']!r}")
                return {"key": request["key"], "version": deleted}
            case "list":
                entries = await replicated.items(request.get("prefix", ""), consistency)
                return [{"key": key, "value": entry.value, "version": entry.version} for key, entry in entries.items()]
        raise KeyError(request["action"])

    def _group(self, name: str) -> Group:
        groups = list(self._network.groups.values())
        for group in groups:
            if group.name == name:
                return group
        served = ", ".join(group.name for group in groups) or "none"
        raise CommandError("NoGroup", f"this node serves no group {name!r}; it serves: {served}")


async def ask(node: str | None, request: Request) -> Any:
    """Ask a running node.

    Raises:
        CommandError: There is none, or it refused.
    """
    return await ask_at(find_node(node), request)


async def ask_at(path: Path, request: Request) -> Any:
    """Ask the node at a control socket.

    Raises:
        CommandError: It does not answer, or it refused.
    """
    patience = PATIENCE + float(request.get("timeout") or 0)
    try:
        with anyio.fail_after(patience):
            async with await anyio.connect_unix(path) as stream:
                await stream.send(_line(request))
                reply = await _read_line(stream)
    except TimeoutError:
        raise CommandError("NoAnswer", f"the node did not answer within {patience:g} s") from None
    except (OSError, anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
        raise CommandError("NoNode", "the node stopped before it answered") from None
    if "error" in reply:
        raise CommandError(reply["error"], reply["message"])
    return reply["result"]


async def _read_line(stream: ByteReceiveStream) -> Any:
    try:
        return json.loads(await BufferedByteReceiveStream(stream).receive_until(b"\n", MAX_LINE))
    except anyio.DelimiterNotFound:
        raise ValueError(f"a line of more than {MAX_LINE} bytes") from None


def _line(value: Any) -> bytes:
    return json.dumps(value, default=str).encode() + b"\n"
