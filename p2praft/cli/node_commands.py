"""Commands that ask a running node: what it is, whom it knows, and to hand over or leave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import click

from p2praft.cli.client import ask
from p2praft.cli.options import Number, checked, group_argument, json_option, node_option
from p2praft.cli.output import CommandError, emit, execute, print_table
from p2praft.cli.printable import printable, waiting
from transport import PeerId

POLL = 0.25
"""Seconds between two looks of ``--wait``."""


@click.command("status")
@click.option("--wait", type=click.Choice(("online", "safe")), help="Wait until all groups of the node are so.")
@click.option("--timeout", type=Number(1, 86400), default=120.0, show_default=True, help="Seconds that --wait takes.")
@node_option
@json_option
def status_command(wait: str | None, timeout: float, node: str | None, as_json: bool) -> None:
    """What a running node is.

    With `--wait safe`, answer once any one voter of its groups may be stopped: every voter is there and caught up. A rolling
    restart waits for it behind each node."""
    status = execute(_status, node, wait, timeout, as_json=as_json)
    if as_json:
        emit(status)
        return
    print(f"node     {status['address']}")
    others = "1 other node" if status["peers"] == 1 else f"{status['peers']} other nodes"
    print(f"network  {printable(status['network'])}, {others}, up for {status['uptime']:.0f} s")
    for group in status["groups"]:
        leader = "it leads" if group["is_leader"] else f"leader {_short(group['leader'])}"
        name = printable(group["name"])
        print(f"group    {name}: {group['role']} in term {group['term']}, {leader}, {group['committed']} committed")
        if waits := waiting(group):
            print(f"         {waits}")


async def _status(node: str | None, wait: str | None, timeout: float) -> Any:
    """The node's status, now or once its groups are as ``wait`` says; a node that restarts is waited for as well.

    Raises:
        CommandError: It does not answer, or they were not so in time.
    """
    deadline = anyio.current_time() + timeout
    while True:
        problem: CommandError | None = None
        try:
            status = await ask(node, {"op": "status"})
        except CommandError as error:
            if wait is None or error.kind != "NoNode":
                raise
            problem = error
        else:
            not_so = [group for group in status["groups"] if wait is not None and not group[wait]]
            if not not_so:
                return status
            names = ", ".join(printable(group["name"]) for group in not_so)
            hints = "".join(f"; {printable(group['name'])}: {text}" for group in not_so if (text := waiting(group)))
            problem = CommandError("Waiting", f"not {wait} within {timeout:g} s: {names}{hints}")
        if anyio.current_time() >= deadline:
            raise problem
        await anyio.sleep(POLL)


@click.command("peers")
@node_option
@json_option
def peers_command(node: str | None, as_json: bool) -> None:
    """The other nodes that a running node knows."""
    peers = execute(ask, node, {"op": "peers"}, as_json=as_json)
    if as_json:
        for peer in peers:
            emit(peer)
        return
    rows = [
        [
            _short(p["peer_id"]),
            p["status"],
            _ms(p["rtt"]),
            ",".join(p["addresses"]),
            len(p["groups"]),
            ",".join(p["tags"]),
        ]
        for p in peers
    ]
    print_table(["PEER", "STATUS", "RTT", "ADDRESSES", "GROUPS", "TAGS"], rows, shrink="ADDRESSES")


@click.command("groups")
@node_option
@json_option
def groups_command(node: str | None, as_json: bool) -> None:
    """The groups that a running node serves."""
    groups = execute(ask, node, {"op": "groups"}, as_json=as_json)
    if as_json:
        for group in groups:
            emit(group)
        return
    rows = [
        [
            g["name"],
            g["role"],
            g["term"],
            _short(g["leader"]),
            f"{g['committed']}/{g['log_position']['index']}",
            ",".join(map(_short, g["voters"])),
            len(g["bonds"]),
            "yes" if g["online"] else "no",
        ]
        for g in groups
    ]
    columns = ["GROUP", "ROLE", "TERM", "LEADER", "COMMITTED", "VOTERS", "BONDS", "ONLINE"]
    print_table(columns, rows, shrink="VOTERS")
    for group in groups:
        if waits := waiting(group):
            print(f"{printable(group['name'])}: {waits}")


def peer_id_or_beginning(text: str) -> str:
    """A peer id, or what `groups` shows of it: its first characters, 8 at the least.

    Raises:
        AddressError: It is neither.
    """
    if not 8 <= len(text) < 52 or not set(text) <= set("abcdefghijklmnopqrstuvwxyz234567"):
        PeerId.parse(text)
    return text


@click.command("transfer", short_help="Have the node hand its leadership over.")
@group_argument
@click.argument("peer", required=False, callback=checked(peer_id_or_beginning))
@node_option
@json_option
def transfer_command(group: str, peer: str | None, node: str | None, as_json: bool) -> None:
    """Have the node, which leads GROUP, hand over to PEER, or to whom it finds best.

    PEER is a peer id or its beginning, as `p2praft groups` shows it."""
    result = execute(ask, node, {"op": "transfer", "group": group, "to": peer}, as_json=as_json)
    if as_json:
        emit(result)
    else:
        print(f"{result['leader']} leads now")


@click.command("leave", short_help="Have the node leave a group for good.")
@group_argument
@node_option
@json_option
def leave_command(group: str, node: str | None, as_json: bool) -> None:
    """Have the node leave GROUP for good: the voter set shrinks."""
    result = execute(ask, node, {"op": "leave", "group": group}, as_json=as_json)
    if as_json:
        emit(result)
    else:
        print(f"left {group}")


@click.command("recover", short_help="Declare unreachable voters lost for ever: disks that burnt.")
@group_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--timeout", type=Number(1, 600), default=30.0, show_default=True, help="Seconds to wait.")
@node_option
@json_option
def recover_command(group: str, yes: bool, timeout: float, node: str | None, as_json: bool) -> None:
    """Declare GROUP's unreachable voters lost for ever, so that the rest goes on.

    For disks that burnt. While a voter can still come back, start it instead: what only lost voters held is lost with
    them. One that comes back all the same joins as a new member."""
    found = execute(ask, node, {"op": "recover", "group": group, "dry_run": True}, as_json=as_json)
    lost = found["lost"]
    if lost and not found["online"] and not yes:
        names = ", ".join(map(_short, lost))
        question = f"Declare {names} lost for ever? What only they hold is lost with them"
        if as_json or not click.confirm(question, default=False, err=True):
            raise click.UsageError("nothing was done; pass --yes to declare the unreachable voters lost")
    request = {"op": "recover", "group": group, "lost": lost, "timeout": timeout}
    result = execute(ask, node, request, as_json=as_json)
    if as_json:
        emit(result)
    else:
        print(f"{group} goes on without {', '.join(map(_short, result['lost']))}")


@click.command("abandon", short_help="Give up what a node that waits in vain holds, and join the part that works.")
@group_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--timeout", type=Number(1, 600), default=30.0, show_default=True, help="Seconds to wait.")
@node_option
@json_option
def abandon_command(group: str, yes: bool, timeout: float, node: str | None, as_json: bool) -> None:
    """Give up what the node holds of GROUP, and join the part of GROUP that works.

    For a node that waits for others in vain, while GROUP goes on elsewhere. What it held is kept in an archive; what was
    acknowledged here and is not known there is in that archive alone."""
    found = execute(ask, node, {"op": "abandon", "group": group, "dry_run": True}, as_json=as_json)
    if found["position"] and not found["online"] and not yes:
        question = (
            f"Give up what this node holds of {group}, {found['position']} entries? They are kept in an archive; those that the "
            "part that works does not have are lost to it"
        )
        if as_json or not click.confirm(question, default=False, err=True):
            raise click.UsageError("nothing was done; pass --yes to give up what this node holds")
    result = execute(ask, node, {"op": "abandon", "group": group, "timeout": timeout}, as_json=as_json)
    if as_json:
        emit(result)
    else:
        print(f"{group} works on this node again, with what the others hold")


@click.command("merge", short_help="With --on-meeting ask: end this part of a group in favour of the other.")
@group_argument
@click.option("--dry-run", is_flag=True, help="Only say which two parts met, and which of them ends.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--timeout", type=Number(1, 600), default=30.0, show_default=True, help="Seconds to wait.")
@node_option
@json_option
def merge_command(group: str, dry_run: bool, yes: bool, timeout: float, node: str | None, as_json: bool) -> None:
    """Let this part of GROUP end in favour of the other part that it has met; ask its leader.

    What it holds is carried over as far as the state machine can, and all of it is kept in an archive."""
    met = execute(ask, node, {"op": "merge", "group": group, "dry_run": True}, as_json=as_json)
    if dry_run:
        if as_json:
            emit(met)
        else:
            _print_merge(group, met)
        return
    if met["waits"] and not yes:
        this, other = met["this"], met["other"]
        question = (
            f"End this part of {group} ({_part(this)}) in favour of the other ({_part(other)})? Where both say something of the "
            "same thing, the other's counts; what is not carried over is in an archive alone"
        )
        if as_json or not click.confirm(question, default=False, err=True):
            raise click.UsageError("nothing was done; pass --yes to end this part of the group")
    result = execute(ask, node, {"op": "merge", "group": group, "timeout": timeout}, as_json=as_json)
    if as_json:
        emit(result)
    else:
        print(f"{group} is one again on this node")


def _print_merge(group: str, met: Mapping[str, Any]) -> None:
    ends = "this" if met["this_ends"] else "other"
    for name in ("this", "other"):
        print(f"{name:5}  {_part(met[name])}: {'ends' if name == ends else 'goes on'}")
    if met["waits"]:
        print(f"{printable(group)} waits for `p2praft merge` here")
    elif met["this_ends"]:
        print("it ends by itself, or waits for `p2praft merge` at its leader")
    else:
        print(
            "there is nothing to say here: the other part ends by itself, or waits for `p2praft merge` at its own leader"
        )


def _part(part: Mapping[str, Any]) -> str:
    least, most = part["commands"]
    count = f"{least}" if least == most else f"{least} to {most}"
    return f"history {part['history']}, up to {part['voters']} voters, {part['disks']} with disks, {count} entries with commands"


def _short(peer: str | None) -> str:
    return peer[:8] if peer else "-"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"
