"""Server-sent events: everything live."""

from __future__ import annotations

import contextlib
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from p2praft.http.feed import Event, EventLog
from p2praft.http.operations import Api, Arguments, Operation
from p2praft.http.parameters import Parameter
from p2praft.http.problems import Problem

STILL_HERE = 10.0
"""Seconds of silence after which a comment is sent, so that both sides notice a dead connection."""
MAX_READERS = 64
"""Streams that are served at once."""
NAMES = ("state", "peers", "peer", "group", "map")


async def events(api: Api, request: Request, arguments: Arguments) -> Response:
    """All that happens, as it happens."""
    wanted = set(arguments["types"].split(","))
    if unknown := wanted - set(NAMES):
        raise Problem(
            400, "BadRequest", f"there are no events of type {min(unknown)[:40]!r}; there are: {', '.join(NAMES)}"
        )
    last = request.headers.get("last-event-id") or arguments["last_event_id"]
    if api.events.readers >= MAX_READERS:
        raise Problem(503, "Busy", f"{MAX_READERS} streams are read already; close one", {"retry-after": "5"})
    return EventStream(api.events, wanted | {"reset"}, last, arguments["recent"])


class EventStream(Response):
    """A stream of events, with comments in long silences; it ends when the reader goes, or the node.

    Args:
        log: Where the events come from.
        wanted: The names of those to send.
        last: Id of the last event that the reader had; None for a new reader.
        recent: How many events of the past a new reader gets.
    """

    media_type = "text/event-stream"

    def __init__(self, log: EventLog, wanted: set[str], last: str | None, recent: int = 0) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._log = log
        self._wanted = wanted
        self._last = last
        self._recent = recent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._log.readers += 1
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_wait_gone, receive, tasks.cancel_scope)
                with contextlib.suppress(TimeoutError):  # a reader that does not read
                    await self._send_all(send)
                tasks.cancel_scope.cancel()
        finally:
            self._log.readers -= 1

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await _send(send, b"retry: 1000\n\n")
        subscription = self._log.subscribe(self._last, self._recent)
        missed = 0
        while True:
            with anyio.move_on_after(STILL_HERE) as silence:
                event = await anext(subscription, None)
            if silence.cancelled_caught:
                await _send(send, b": still here\n\n")
                continue
            if event is None:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            if subscription.missed > missed:
                missed = subscription.missed
                await _send(send, written(self._log.lost(), self._log.boot))
            if event.name in self._wanted:
                await _send(send, written(event, self._log.boot))


async def _send(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _wait_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def written(event: Event, boot: str) -> bytes:
    """As it goes over the wire (HTML standard, section 9.2.5)."""
    number = f"id: {boot}-{event.serial}\n" if event.serial else ""
    return f"{number}event: {event.name}\ndata: {event.data}\n\n".encode()


def operations() -> tuple[Operation, ...]:
    """Of this chapter."""
    about = (
        "Server-sent events: `state` (this node and its groups) and `peers` at first and whenever they change; `peer`, "
        "`group` and `map` as they happen. Those have an id: a reader that comes back with `Last-Event-ID` is told what it "
        "missed, or gets a `reset` if that is no longer known."
    )
    types: dict[str, Any] = {"type": "string"}
    return (
        Operation(
            method="GET",
            path="/v1/events",
            name="events",
            about=about,
            handle=events,
            parameters=(
                Parameter(
                    name="types", about="Which, with commas.", default=",".join(NAMES), high=100, example="group"
                ),
                Parameter(
                    name="recent",
                    kind="integer",
                    about="Past events that a new reader gets.",
                    default=0,
                    low=0,
                    high=2048,
                ),
                Parameter(name="last_event_id", about="For readers that cannot set the header.", high=64),
            ),
            answer=types,
            media="text/event-stream",
            problems=(503,),
            tag="live",
        ),
    )
