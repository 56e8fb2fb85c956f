"""How a command speaks to a running node, over a Unix socket: a connection carries one JSON request, a line, and its reply.

A reply is a line ``{"result": …}`` or ``{"error": KIND, "message": …}``. To a request for a stream it is any number of lines
``{"item": …}``, and at last ``{"end": true}`` or an error; the client ends it sooner by closing the connection.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import ByteReceiveStream
from anyio.streams.buffered import BufferedByteReceiveStream

from p2praft.cli.api_client import ask_api, is_api
from p2praft.cli.output import CommandError
from p2praft.cli.runtime import find_node

MAX_LINE = 4 * 1024 * 1024
"""Bytes of one request or reply."""
PATIENCE = 30.0
"""Seconds that a client waits for a reply, beyond the timeout that its request names."""

Request = dict[str, Any]


async def ask(node: str | None, request: Request) -> Any:
    """Ask a running node.

    Raises:
        CommandError: There is none, or it refused.
    """
    node = node or os.environ.get("P2PRAFT_NODE")
    if is_api(node):
        return await ask_api(node, request)
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
                await stream.send(line(request))
                reply = await read_line(stream)
    except TimeoutError:
        raise CommandError("NoAnswer", f"the node did not answer within {patience:g} s") from None
    except (OSError, anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
        raise CommandError("NoNode", "the node stopped before it answered") from None
    if "error" in reply:
        raise CommandError(reply["error"], reply["message"])
    return reply["result"]


async def ask_stream(path: Path, request: Request) -> AsyncGenerator[Any, None]:
    """Ask the node at a control socket for a stream; close the iterator (``aclosing``) to end it.

    Raises:
        CommandError: It refused, or stopped before the stream's end.
    """
    try:
        async with await anyio.connect_unix(path) as stream:
            await stream.send(line(request))
            lines = BufferedByteReceiveStream(stream)
            while "end" not in (reply := json.loads(await lines.receive_until(b"\n", MAX_LINE))):
                if "error" in reply:
                    raise CommandError(reply["error"], reply["message"])
                yield reply["item"]
    except (OSError, anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
        raise CommandError("NoNode", "the node stopped") from None


async def read_line(stream: ByteReceiveStream) -> Any:
    """The next line's value.

    Raises:
        ValueError: It is too long, or not JSON.
    """
    try:
        return json.loads(await BufferedByteReceiveStream(stream).receive_until(b"\n", MAX_LINE))
    except anyio.DelimiterNotFound:
        raise ValueError(f"a line of more than {MAX_LINE} bytes") from None


def line(value: Any) -> bytes:
    """A value as a line."""
    return json.dumps(value, default=str).encode() + b"\n"
