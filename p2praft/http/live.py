"""Server-sent events: everything live."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from p2praft.http.feed import Event, EventLog
from p2praft.http.operation import Api, Arguments, Operation
from p2praft.http.parameters import Parameter
from p2praft.http.problems import Problem

NAMES = ("state", "peers", "peer", "group", "map")


async def events(api: Api, request: Request, arguments: Arguments) -> Response:
    """All that happens, as it happens."""
    wanted = set(arguments["types"].split(","))
    if unknown := wanted - set(NAMES):
        raise Problem(
            400, "BadRequest", f"there are no events of type {min(unknown)[:40]!r}; there are: {', '.join(NAMES)}"
        )
    last = request.headers.get("last-event-id") or arguments["last_event_id"]
    return api.stream(NodeEvents(api.events, wanted | {"reset"}, last, arguments["recent"]))


class NodeEvents:
    """The node's events as pieces of a stream.

    Args:
        log: Where the events come from.
        wanted: The names of those to send.
        last: Id of the last event that the reader had; None for a new reader.
        recent: How many events of the past a new reader gets.
    """

    def __init__(self, log: EventLog, wanted: set[str], last: str | None, recent: int) -> None:
        self._log = log
        self._wanted = wanted
        self._events = log.subscribe(last, recent)
        self._missed = 0
        self._held: Event | None = None

    def __aiter__(self) -> NodeEvents:
        return self

    async def __anext__(self) -> bytes:
        while True:
            event = self._held if self._held is not None else await anext(self._events)
            self._held = None
            if self._events.missed > self._missed:
                self._missed, self._held = self._events.missed, event
                event = self._log.lost()
            if event.name in self._wanted:
                return written(event, self._log.boot)


def written(event: Event, boot: str) -> bytes:
    """As it goes over the wire (HTML standard, section 9.2.5)."""
    number = f"id: {boot}-{event.serial}\n" if event.serial else ""
    return f"{number}event: {event.name}\ndata: {event.data}\n\n".encode()


def operations() -> tuple[Operation, ...]:
    """Of this chapter."""
    about = (
        "Server-sent events: `state` (this node and its groups) and `peers` at first and whenever they change; `peer` and "
        "`group` as they happen. Those have an id: a reader that comes back with `Last-Event-ID` is told what it missed, or "
        "gets a `reset` if that is no longer known. `map` tells of changes, `many` where they are too many to tell: "
        "`/v1/watch` tells all."
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
