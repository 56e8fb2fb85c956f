"""``p2praft archive list``, ``show``, ``export`` and ``replay``: what a running node has kept of histories that ended."""

from __future__ import annotations

import json
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import click

from p2praft.cli.client import ask, ask_stream
from p2praft.cli.options import Number, group_argument, json_option, node_option
from p2praft.cli.output import emit, execute, print_table
from p2praft.cli.printable import printable
from p2praft.cli.runtime import find_node
from p2praft.cli.words import Words

number_argument = click.argument("number", type=click.IntRange(min=1))


@click.group("archive", cls=Words, short_help="What a node has kept of parts of a group that ended.")
def archive_group() -> None:
    """What a running node has kept of a group's histories that ended: where a group was founded twice, or given up.

    Each has a number, which `archive list` shows. The node must run; an archive that it kept stays where it is.
    """


@archive_group.command("list")
@group_argument
@node_option
@json_option
def list_command(group: str, node: str | None, as_json: bool) -> None:
    """The archives of GROUP on a node, the oldest first."""
    found = execute(ask, node, {"op": "archive", "action": "list", "group": group}, as_json=as_json)
    if as_json:
        for info in found:
            emit(info)
        return
    rows = [
        [
            info["number"],
            info["history"],
            info["ended"],
            info["into"] or "-",
            info["index"],
            info["commands"],
            "yes" if info["whole"] else "no",
        ]
        for info in found
    ]
    if not rows:
        print(f"this node has kept no archive of {printable(group)}")
        return
    print_table(["NUMBER", "HISTORY", "ENDED", "INTO", "INDEX", "COMMANDS", "WHOLE"], rows)
    for info in found:
        if text := info["problem"] or info["aside"]:
            print(f"archive {info['number']}: {printable(text)}")


@archive_group.command("show", short_help="The last entries of archive NUMBER.")
@group_argument
@number_argument
@click.option("--last", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many entries.")
@node_option
@json_option
def show_command(group: str, number: int, last: int, node: str | None, as_json: bool) -> None:
    """The last entries of archive NUMBER of GROUP, with their commands."""
    request = {"op": "archive", "action": "show", "group": group, "number": number, "last": last}
    found = execute(ask, node, request, as_json=as_json)
    if as_json:
        for entry in found:
            emit(entry)
        return
    rows = [
        [
            entry["index"],
            entry["term"],
            datetime.fromtimestamp(entry["time"], UTC).strftime("%Y-%m-%d %H:%M:%S"),
            entry["proposer"][:8],
            entry["kind"],
            " ".join(json.dumps(command, ensure_ascii=False) for command in entry["commands"]),
        ]
        for entry in found
    ]
    print_table(["INDEX", "TERM", "TIME (UTC)", "PROPOSER", "KIND", "COMMANDS"], rows, shrink="COMMANDS")


@archive_group.command("export", short_help="All of archive NUMBER, as lines of JSON.")
@group_argument
@number_argument
@node_option
@json_option
def export_command(group: str, number: int, node: str | None, as_json: bool) -> None:
    """All of archive NUMBER of GROUP, as lines of JSON: what it is, its state at the end, its entries' commands.

    The state comes as `{"state": …}` lines, bytes as `{"base64": …}`. Entries that were compacted are in the state alone.
    """
    execute(_export, node, {"op": "export", "group": group, "number": number}, as_json=as_json)


async def _export(node: str | None, request: dict[str, Any]) -> None:
    async with aclosing(ask_stream(find_node(node), request)) as items:
        async for item in items:
            emit(item)


@archive_group.command("replay", short_help="Execute the commands of archive NUMBER again.")
@group_argument
@number_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--timeout", type=Number(1, 600), default=10.0, show_default=True, help="Seconds to wait for each 256.")
@node_option
@json_option
def replay_command(group: str, number: int, yes: bool, timeout: float, node: str | None, as_json: bool) -> None:
    """Execute the commands of archive NUMBER of GROUP again, in GROUP as it is now.

    They are new commands: one that GROUP has already takes effect a second time, and one that sets a value takes the place
    of a newer one. Look at `archive show` first. Run it once, on one node.
    """
    if not yes:
        request = {"op": "archive", "action": "commands", "group": group, "number": number}
        count = execute(ask, node, request, as_json=as_json)["commands"]
        what = f"Execute {count} commands of archive {number} again in {printable(group)}?"
        question = f"{what} Those that it has already take effect twice"
        if as_json or not click.confirm(question, default=False, err=True):
            raise click.UsageError("nothing was done; pass --yes to execute the archive's commands again")
    request = {"op": "replay", "group": group, "number": number, "timeout": timeout}
    done = execute(_replay, node, request, as_json=as_json)
    if as_json:
        emit(done)
    else:
        failed = f", {done['failed']} of them failed" if done["failed"] else ""
        print(f"executed {done['commands']} commands of archive {number} again in {printable(group)}{failed}")


async def _replay(node: str | None, request: dict[str, Any]) -> Any:
    async with aclosing(ask_stream(find_node(node), request)) as items:
        return await anext(items)
