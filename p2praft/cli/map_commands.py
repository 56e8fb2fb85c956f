"""``p2praft map``: the replicated map of a group, through a running node."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, TypeVar

import anyio
import click

from p2praft.cli.client import ask, ask_stream
from p2praft.cli.options import json_option, node_option, timeout_option, weak_option
from p2praft.cli.output import CommandError, emit, execute, print_table
from p2praft.cli.runtime import find_node
from p2praft.cli.words import Words

F = TypeVar("F", bound=Callable[..., Any])


def expected_option(function: F) -> F:
    """``--expect-version``: compare and set."""
    return click.option(
        "--expect-version",
        "--expected",
        "expected",
        type=click.IntRange(0),
        metavar="VERSION",
        help="Only if KEY is still at this version; 0: only if there is none.",
    )(function)


@click.group("map", cls=Words)
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
@expected_option
@click.option("--ttl", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="KEY ends by itself then.")
@timeout_option
@node_option
@json_option
def map_set(
    group: str,
    key: str,
    value: str,
    expected: int | None,
    ttl: float | None,
    timeout: float,
    node: str | None,
    as_json: bool,
) -> None:
    """Set KEY to VALUE: JSON if it parses as JSON, else text."""
    request = {"op": "map", "action": "set", "group": group, "key": key, "value": _as_value(value)}
    result = execute(ask, node, {**request, "expected": expected, "ttl": ttl, "timeout": timeout}, as_json=as_json)
    if as_json:
        emit(result)
    else:
        print(f"version {result['version']}")


@map_group.command("delete")
@click.argument("group")
@click.argument("key")
@expected_option
@timeout_option
@node_option
@json_option
def map_delete(group: str, key: str, expected: int | None, timeout: float, node: str | None, as_json: bool) -> None:
    """Remove KEY."""
    request = {"op": "map", "action": "delete", "group": group, "key": key, "expected": expected, "timeout": timeout}
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


@map_group.command("watch", short_help="Print what changes under PREFIX, as it does.")
@click.argument("group")
@click.argument("prefix", default="")
@click.option(
    "--since",
    type=click.IntRange(0),
    metavar="VERSION",
    help="Go on behind this version; 0: from the start. Else: what comes from now on.",
)
@node_option
@json_option
def map_watch(group: str, prefix: str, since: int | None, node: str | None, as_json: bool) -> None:
    """Print what changes under PREFIX until interrupted; nothing is missed behind --since.

    A `reset` means that changes were missed and all that stands now follows, as `entry` lines up to the next `current`.
    """
    request = {"op": "watch", "group": group, "prefix": prefix, "since": since}
    execute(_watch, node, request, emit if as_json else _print_event, as_json=as_json)


async def _watch(node: str | None, request: dict[str, Any], show: Callable[[dict[str, Any]], None]) -> None:
    """Show a stream; an interrupt is its ordinary end."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:

        async def until_interrupted() -> None:
            async for _ in signals:
                tasks.cancel_scope.cancel()
                return

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until_interrupted)
            async with aclosing(ask_stream(find_node(node), request)) as events:
                async for event in events:
                    show(event)
            raise CommandError("GroupClosed", f"group {request['group']!r} was closed on the node")


def _print_event(event: dict[str, Any]) -> None:
    words = [f"{event['version']:>6}", f"{event['event']:<7}"]
    words += [event["key"]] if "key" in event else []
    words += ["=", _as_text(event["value"])] if "value" in event else []
    print(*words, flush=True)


def _as_value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")  # though Python's parser takes NaN and Infinity


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
