"""``p2praft map``: the replicated map of a group, through a running node."""

from __future__ import annotations

import json
from typing import Any

import click

from p2praft.cli.control import ask
from p2praft.cli.options import json_option, node_option, timeout_option, weak_option
from p2praft.cli.output import emit, execute, print_table


@click.group("map")
def map_group() -> None:
    """The replicated map of a group."""


@map_group.command("get")
@click.argument("group")
@click.argument("key")
@weak_option
@node_option
@json_option
def map_get(group: str, key: str, weak: bool, node: str | None, as_json: bool) -> None:
    """Print the value of KEY."""
    request = {"op": "map", "action": "get", "group": group, "key": key, "weak": weak}
    entry = execute(ask, node, request, as_json=as_json)
    if as_json:
        emit(entry)
    else:
        print(_as_text(entry["value"]))


@map_group.command("set", context_settings={"ignore_unknown_options": True})  # values such as -5
@click.argument("group")
@click.argument("key")
@click.argument("value")
@click.option(
    "--expected",
    type=click.IntRange(0),
    metavar="VERSION",
    help="Only if KEY is still at this version; 0: only if new.",
)
@timeout_option
@node_option
@json_option
def map_set(
    group: str, key: str, value: str, expected: int | None, timeout: float, node: str | None, as_json: bool
) -> None:
    """Set KEY to VALUE: JSON if it parses as JSON, else text."""
    request = {"op": "map", "action": "set", "group": group, "key": key, "value": _as_value(value)}
    result = execute(ask, node, {**request, "expected": expected, "timeout": timeout}, as_json=as_json)
    if as_json:
        emit(result)
    else:
        print(f"version {result['version']}")


@map_group.command("delete")
@click.argument("group")
@click.argument("key")
@timeout_option
@node_option
@json_option
def map_delete(group: str, key: str, timeout: float, node: str | None, as_json: bool) -> None:
    """Remove KEY."""
    request = {"op": "map", "action": "delete", "group": group, "key": key, "timeout": timeout}
    result = execute(ask, node, request, as_json=as_json)
    if as_json:
        emit(result)
    else:
        print(f"version {result['version']}")


@map_group.command("list")
@click.argument("group")
@click.argument("prefix", default="")
@weak_option
@node_option
@json_option
def map_list(group: str, prefix: str, weak: bool, node: str | None, as_json: bool) -> None:
    """Print all keys that begin with PREFIX, with their values."""
    request = {"op": "map", "action": "list", "group": group, "prefix": prefix, "weak": weak}
    entries = execute(ask, node, request, as_json=as_json)
    if as_json:
        for entry in entries:
            emit(entry)
    else:
        print_table("", ["KEY", "VALUE", "VERSION"], [[e["key"], _as_text(e["value"]), e["version"]] for e in entries])


def _as_value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")  # though Python's parser takes NaN and Infinity


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
