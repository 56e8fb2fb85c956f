"""The replicated map of a group."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from p2praft.collections.map import MAX_KEY, MapEntry
from p2praft.groups.group import Consistency
from p2praft.http.node import GROUP, TIMEOUT
from p2praft.http.operations import Api, Arguments, Operation, json_body
from p2praft.http.parameters import Parameter
from p2praft.http.problems import Problem

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
    high=2**53,
)


def entry_view(key: str, entry: MapEntry) -> dict[str, Any]:
    """An entry as it is shown."""
    return {"key": key, "value": entry.value, "version": entry.version}


def _missing(arguments: Arguments) -> Problem:
    return Problem(404, "NoSuchKey", f"there is no key {arguments['key']!r} in map {arguments['group']!r}")


async def read(api: Api, request: Request, arguments: Arguments) -> Any:
    """One entry."""
    found = await api.map(arguments["group"]).get(arguments["key"], Consistency(arguments["consistency"]))
    if found is None:
        raise _missing(arguments)
    return entry_view(arguments["key"], found)


async def write(api: Api, request: Request, arguments: Arguments) -> Any:
    """Set an entry."""
    replicated = api.map(arguments["group"])
    value = await json_body(request)
    version = await replicated.set(
        arguments["key"], value, expected=arguments["expected"], timeout=arguments["timeout"]
    )
    return {"key": arguments["key"], "version": version}


async def remove(api: Api, request: Request, arguments: Arguments) -> Any:
    """Delete an entry."""
    version = await api.map(arguments["group"]).delete(arguments["key"], timeout=arguments["timeout"])
    if version is None:
        raise _missing(arguments)
    return {"key": arguments["key"], "version": version}


async def listing(api: Api, request: Request, arguments: Arguments) -> Any:
    """Entries in the order of their keys."""
    entries = await api.map(arguments["group"]).items(arguments["prefix"], Consistency(arguments["consistency"]))
    return [entry_view(key, entry) for key, entry in entries.items()]


def operations() -> tuple[Operation, ...]:
    """Of this chapter."""
    prefix = Parameter(name="prefix", about="What the keys begin with.", default="", high=MAX_KEY)
    return (
        Operation(
            method="GET",
            path="/v1/map/{group}",
            name="map_list",
            about="The entries of a group's map, in the order of their keys.",
            handle=listing,
            parameters=(GROUP, prefix, CONSISTENCY),
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
            parameters=(GROUP, KEY, EXPECTED, TIMEOUT),
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
            parameters=(GROUP, KEY, TIMEOUT),
            answer="Written",
            problems=(404, 503, 504),
            tag="map",
        ),
    )
