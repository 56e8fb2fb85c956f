"""``p2praft map``: the replicated map of a group, through a running node."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, TypeVar

import anyio
import click

from p2praft.cli.client import ask, ask_stream
from p2praft.cli.options import UNICODE, Number, group_argument, json_option, node_option, timeout_option, weak_option
from p2praft.cli.output import CommandError, emit, execute, print_table
from p2praft.cli.printable import printable
from p2praft.cli.runtime import find_node
from p2praft.cli.words import Words
from p2praft.values import MAX_VERSION, TOO_DEEP, fault_in

F = TypeVar("F", bound=Callable[..., Any])


def expected_option(function: F) -> F:
    """``--expect-version``: compare and set."""
    return click.option(
        "--expect-version",
        "--expected",
        "expected",
        type=click.IntRange(0, MAX_VERSION),
        metavar="VERSION",
        help="Only if KEY is still at this version; 0: only if there is none.",
    )(function)


@click.group("map", cls=Words)
def map_group() -> None:
    """The replicated map of a group."""


@map_group.command("get")
@group_argument
@click.argument("key", type=UNICODE)
@weak_option
@node_option
@json_option
def map_get(group: str, key: str, weak: bool, node: str | None, as_json: bool) -> None:
    """Print the value of KEY."""
    request = {"op": "map", "action": "get", "group": group, "key": key, "weak": weak}
    entry = execute(_read, node, request, as_json=as_json)
    if as_json:
        emit(entry)
    else:
        text = _as_text(entry["value"])
        print(printable(text, keep="\n\t") if sys.stdout.isatty() else text)  # a script gets the text as it is


@map_group.command("set", context_settings={"ignore_unknown_options": True})  # values such as -5
@group_argument
@click.argument("key", type=UNICODE)
@click.argument("value", type=UNICODE)
@expected_option
@click.option("--ttl", type=Number(0, min_open=True), metavar="SECONDS", help="KEY ends by itself then.")
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
    request: dict[str, Any] = {"op": "map", "action": "set", "group": group, "key": key}
    request.update(expected=expected, ttl=ttl, timeout=timeout)
    result = execute(_set, node, request, value, as_json=as_json)
    if as_json:
        emit(result)
    else:
        print(f"version {result['version']}")


@map_group.command("delete")
@group_argument
@click.argument("key", type=UNICODE)
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
@group_argument
@click.argument("prefix", type=UNICODE, default="")
@weak_option
@node_option
@json_option
def map_list(group: str, prefix: str, weak: bool, node: str | None, as_json: bool) -> None:
    """Print all keys that begin with PREFIX, with their values."""
    request = {"op": "map", "action": "list", "group": group, "prefix": prefix, "weak": weak}
    entries = execute(_read, node, request, as_json=as_json)
    if as_json:
        for entry in entries:
            emit(entry)
    else:
        rows = [[e["key"], _as_text(e["value"]), e["version"]] for e in entries]
        print_table(["KEY", "VALUE", "VERSION"], rows, shrink="VALUE")


@map_group.command("watch", short_help="Print what changes under PREFIX, as it does.")
@group_argument
@click.argument("prefix", type=UNICODE, default="")
@click.option(
    "--since",
    type=click.IntRange(0, MAX_VERSION),
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


async def _set(node: str | None, request: dict[str, Any], text: str) -> Any:
    return await ask(node, {**request, "value": _as_value(request["key"], text)})


async def _read(node: str | None, request: dict[str, Any]) -> Any:
    """Ask for a read; the way out that the library names is said in the command's words."""
    try:
        return await ask(node, request)
    except CommandError as error:
        raise CommandError(error.kind, str(error).replace("Consistency.WEAK", "--weak")) from None


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
    print(*map(printable, words), flush=True)


def _as_value(key: str, text: str) -> Any:
    """What was typed.

    Raises:
        CommandError: It is JSON, or would be if JSON had NaN, and no map stores it.
    """
    try:
        value = json.loads(text)
        fault = fault_in(value)
    except ValueError:
        return text
    except RecursionError:
        fault = TOO_DEEP
    if fault:
        hint = "text stands in quotation marks of its own"
        raise CommandError("StructureError", f"the value of {key!r} cannot be stored: {fault} ({hint})")
    return value


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
