"""What an operation of the API is: one entry of the table that routes requests and from which the document is made."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from p2praft.collections import Map, MapMachine
from p2praft.errors import P2PRaftError
from p2praft.groups.group import Group
from p2praft.http.feed import EventLog
from p2praft.http.parameters import Parameter, read_parameters
from p2praft.http.problems import Problem, json_response, problem_response
from p2praft.network import Network
from p2praft.values import MAX_DEPTH

logger = logging.getLogger("p2praft.http")

STILL_HERE = 10.0
"""Seconds of silence after which a comment is sent on a stream, so that both sides notice a dead connection."""
MAX_STREAMS = 64
"""Streams that are served at once."""

Arguments = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Api:
    """What the operations work on.

    Attributes:
        network: The node.
        started: When it started, on anyio's clock.
        events: What happened lately, and what happens from now on.
        metrics: The registry, once somebody has asked for metrics.
        streams: How many are read now.
    """

    network: Network
    started: float
    events: EventLog
    metrics: Any = None
    streams: int = 0

    def group(self, name: str) -> Group:
        """A group of this node.

        Raises:
            Problem: It serves no such group.
        """
        groups = list(self.network.groups.values())
        for group in groups:
            if group.name == name:
                return group
        served = ", ".join(group.name for group in groups) or "none"
        raise Problem(404, "NoGroup", f"this node serves no group {name[:80]!r}; it serves: {served[:400]}")

    def map(self, name: str) -> Map[Any]:
        """The map that a group of this node replicates.

        Raises:
            Problem: There is no such group, or it replicates something else.
        """
        group = self.group(name)
        if not isinstance(group.machine, MapMachine):
            what = group.machine.signature or "nothing"
            raise Problem(404, "NoMap", f"group {name!r} replicates no map but {what!r}")
        return Map(group)

    def stream(self, pieces: AsyncIterator[bytes]) -> Response:
        """A stream of server-sent events.

        Raises:
            Problem: Too many are read already.
        """
        if self.streams >= MAX_STREAMS:
            raise Problem(503, "Busy", f"{MAX_STREAMS} streams are read already; close one", {"retry-after": "5"})
        return EventStream(self, pieces)


class EventStream(Response):
    """A stream, with comments in long silences; it ends when the reader goes, or the node.

    Args:
        api: Counts the streams.
        pieces: Events as they go over the wire. Giving up a wait for the next must lose none.
    """

    media_type = "text/event-stream"

    def __init__(self, api: Api, pieces: AsyncIterator[bytes]) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._api = api
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._api.streams += 1
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_wait_gone, receive, tasks.cancel_scope)
                with contextlib.suppress(TimeoutError):  # a reader that does not read
                    await self._send_all(send)
                tasks.cancel_scope.cancel()
        finally:
            self._api.streams -= 1

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        piece: bytes | None = b"retry: 1000\n\n"
        while piece is not None:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            with anyio.move_on_after(STILL_HERE) as silence:
                piece = await anext(self._pieces, None)
            if silence.cancelled_caught:
                piece = b": still here\n\n"
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _wait_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


Handler = Callable[[Api, Request, Arguments], Awaitable[Any]]
"""Gives a response, or what is to be one in JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that can be asked for.

    Attributes:
        method: GET, PUT, POST or DELETE.
        path: With the names of path parameters in braces; a last one may hold slashes.
        name: Its ``operationId``.
        about: For people.
        handle: Does it.
        parameters: What it takes in the address.
        body: The schema of its JSON body; None if it takes none.
        answer: The schema of its answer: a name of the document, or a schema.
        media: The answer's media type.
        problems: Statuses of the errors it may answer beside 400, 401 and 403.
        problem: The schema of those.
        tag: The document's chapter.
    """

    method: str
    path: str
    name: str
    about: str
    handle: Handler = field(compare=False)
    parameters: tuple[Parameter, ...] = ()
    body: dict[str, Any] | None = None
    answer: str | dict[str, Any] = field(default_factory=dict)
    media: str = "application/json"
    problems: tuple[int, ...] = ()
    problem: str | dict[str, Any] = "Error"
    tag: str = "node"

    def endpoint(self, api: Api) -> Callable[[Request], Awaitable[Response]]:
        """What the router calls: checks the parameters, and turns errors into answers."""

        async def answer(request: Request) -> Response:
            try:
                result = await self.handle(api, request, read_parameters(request, self.parameters))
                return result if isinstance(result, Response) else json_response(result)
            except Problem as problem:
                return problem.response()
            except P2PRaftError as error:
                return problem_response(error)
            except TimeoutError:
                raise
            except Exception as error:
                logger.exception("%s %s failed", self.method, self.path)
                text = f"unexpected {type(error).__name__} in the node; its log has more"
                return Problem(500, "Internal", text).response()

        return answer


async def json_body(request: Request) -> Any:
    """The JSON value that the body holds.

    Raises:
        Problem: It is not JSON, or nested beyond what Python reads; what is stored has narrower bounds.
    """
    body = await request.body()
    if not body:
        raise Problem(400, "BadRequest", "the body is empty; send a JSON value, text in quotation marks")
    try:
        return json.loads(body, parse_constant=_refuse)
    except RecursionError:
        raise Problem(400, "BadRequest", f"the body's JSON is nested too deeply: {MAX_DEPTH} levels at most") from None
    except ValueError as error:  # also UnicodeDecodeError, and numbers with thousands of digits
        raise Problem(400, "BadRequest", f"the body is not JSON ({error}); text stands in quotation marks") from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
