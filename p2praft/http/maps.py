"""The replicated map of a group."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from p2praft.collections import MapReader, MapReset
from p2praft.collections.map import MAX_KEY, MAX_TTL
from p2praft.groups.group import Consistency
from p2praft.http.node import GROUP, TIMEOUT
from p2praft.http.operation import Api, Arguments, Operation, json_body
from p2praft.http.parameters import Parameter
from p2praft.http.problems import to_json
from p2praft.map_operations import change_view, entry_view, map_delete, map_get, map_set
from p2praft.values import MAX_VERSION

KEY = Parameter(
    name="key",
    where="path",
    about="The entry's key; slashes are part of it.",
    low=1,
    high=MAX_KEY,
    example="fruit/apple",
)
CONSISTENCY = Parameter(
    name="consistency",
    about="`strong`: linearizable, needs a leader. `weak`: this node's own state, however old.",
    choices=("strong", "weak"),
    default="strong",
)
EXPECTED = Parameter(
    name="expected",
    kind="integer",
    about="Only if the entry still has this version; 0: only if there is no entry. Else 409, with the version it has.",
    low=0,
    high=MAX_VERSION,
)
TTL = Parameter(
    name="ttl",
    kind="number",
    about="Seconds after which the entry ends by itself, by the log's time; without it, it stays.",
    low=0.001,
    high=MAX_TTL,
)


async def read(api: Api, request: Request, arguments: Arguments) -> Any:
    """One entry."""
    return await map_get(api.map(arguments["group"]), arguments["key"], Consistency(arguments["consistency"]))


async def write(api: Api, request: Request, arguments: Arguments) -> Any:
    """Set an entry."""
    replicated = api.map(arguments["group"])
    return await map_set(
        replicated,
        arguments["key"],
        await json_body(request),
        expected=arguments["expected"],
        ttl=arguments["ttl"],
        timeout=arguments["timeout"],
    )


async def remove(api: Api, request: Request, arguments: Arguments) -> Any:
    """Delete an entry."""
    replicated = api.map(arguments["group"])
    return await map_delete(replicated, arguments["key"], expected=arguments["expected"], timeout=arguments["timeout"])


async def listing(api: Api, request: Request, arguments: Arguments) -> Any:
    """Entries in the order of their keys, as of one moment."""
    view = await api.map(arguments["group"]).view(arguments["prefix"], Consistency(arguments["consistency"]))
    found = view.scan(after=arguments["after"])
    return [entry_view(key, entry) for key, entry in islice(found, arguments["limit"])]


async def watch(api: Api, request: Request, arguments: Arguments) -> Response:
    """Changes of a map, none missed."""
    replicated = api.map(arguments["group"])
    last = request.headers.get("last-event-id", "")
    # A version is the same on every member, so a reader may go on at another node.
    since = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else arguments["since"]
    return api.stream(MapEvents(replicated, arguments["prefix"], since))


class MapEvents:
    """A map's changes as pieces of a stream.

    Args:
        replicated: The map.
        prefix: Of the keys.
        since: The last version that the reader has seen; None for what comes from now on.
    """

    def __init__(self, replicated: MapReader[Any], prefix: str, since: int | None) -> None:
        self._watch = replicated.watch(prefix, since=since)
        self._current = since is None
        self._entries: Iterator[bytes] = iter(())

    def __aiter__(self) -> MapEvents:
        return self

    async def __anext__(self) -> bytes:
        if self._current:
            self._current = False
            return self._piece("current", {"version": self._watch.version}, self._watch.version)
        if (piece := next(self._entries, None)) is not None:
            return piece
        event = await anext(self._watch)
        if isinstance(event, MapReset):
            self._entries = self._reset(event)
            return next(self._entries)
        return self._piece(event.kind, change_view(event), event.version)

    def _reset(self, event: MapReset[Any]) -> Iterator[bytes]:
        """All that stands; only behind the last of it may a reader go on from here."""
        yield self._piece("reset", {"version": event.version})
        for key, entry in event.entries.scan():
            yield self._piece("entry", entry_view(key, entry))
        yield self._piece("current", {"version": event.version}, event.version)

    @staticmethod
    def _piece(name: str, data: dict[str, Any], version: int | None = None) -> bytes:
        number = "" if version is None else f"id: {version}\n"
        return f"{number}event: {name}\ndata: {to_json(data)}\n\n".encode()


def operations() -> tuple[Operation, ...]:
    """Of this chapter."""
    prefix = Parameter(name="prefix", about="What the keys begin with.", default="", high=MAX_KEY)
    after = Parameter(name="after", about="Only keys behind this one: the last of the page before.", high=MAX_KEY)
    limit = Parameter(name="limit", kind="integer", about="Entries at most.", default=1000, low=1, high=10_000)
    since = Parameter(
        name="since",
        kind="integer",
        about="The last version seen; without it, what comes from now on.",
        low=0,
        high=MAX_VERSION,
    )
    return (
        Operation(
            method="GET",
            path="/v1/map/{group}",
            name="map_list",
            about="The entries of a group's map, in the order of their keys.",
            handle=listing,
            parameters=(GROUP, prefix, after, limit, CONSISTENCY),
            answer={"type": "array", "items": {"$ref": "#/components/schemas/Entry"}},
            problems=(404, 503),
            tag="map",
        ),
        Operation(
            method="GET",
            path="/v1/map/{group}/{key}",
            name="map_get",
            about="One entry.",
            handle=read,
            parameters=(GROUP, KEY, CONSISTENCY),
            answer="Entry",
            problems=(404, 503),
            tag="map",
        ),
        Operation(
            method="PUT",
            path="/v1/map/{group}/{key}",
            name="map_set",
            about="Set an entry to the JSON value in the body; answers once a majority of the voters has it.",
            handle=write,
            parameters=(GROUP, KEY, EXPECTED, TTL, TIMEOUT),
            body={"description": "Any JSON value; whole numbers within 64 bits, and 512 KiB at most."},
            answer="Written",
            problems=(404, 409, 413, 503, 504),
            tag="map",
        ),
        Operation(
            method="DELETE",
            path="/v1/map/{group}/{key}",
            name="map_delete",
            about="Delete an entry.",
            handle=remove,
            parameters=(GROUP, KEY, EXPECTED, TIMEOUT),
            answer="Written",
            problems=(404, 409, 503, 504),
            tag="map",
        ),
        Operation(
            method="GET",
            path="/v1/watch/{group}",
            name="map_watch",
            about="Server-sent events of a map: `set`, `delete` and `expire`, each change once. Their ids are versions, the same "
            "on every member: come back with `Last-Event-ID`, at this node or another, and nothing is missed. Where changes are "
            "no longer held comes a `reset`, an `entry` for all that stands, then `current`.",
            handle=watch,
            parameters=(GROUP, prefix, since),
            answer={"type": "string"},
            media="text/event-stream",
            problems=(404, 503),
            tag="live",
        ),
    )
