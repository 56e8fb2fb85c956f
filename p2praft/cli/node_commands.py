"""Commands that ask a running node: what it is, whom it knows, and to hand over or leave."""

from __future__ import annotations

import click

from p2praft.cli.client import ask
from p2praft.cli.options import Number, checked, group_argument, json_option, node_option
from p2praft.cli.output import emit, execute, print_table
from p2praft.cli.printable import printable
from transport import PeerId


@click.command("status")
@node_option
@json_option
def status_command(node: str | None, as_json: bool) -> None:
    """What a running node is."""
    status = execute(ask, node, {"op": "status"}, as_json=as_json)
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
        if waits_for := group.get("waits_for"):  # a node of an older release does not say
            print(f"         not founded yet: it {printable(waits_for)}")


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
        if waits_for := group.get("waits_for"):
            print(f"{printable(group['name'])} is not founded yet: it {printable(waits_for)}")


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
    them, and a lost voter must never come back with its old data."""
    found = execute(ask, node, {"op": "recover", "group": group, "dry_run": True}, as_json=as_json)
    lost = found["lost"]
    if lost and not found["online"] and not yes:
        names = ", ".join(map(_short, lost))
        question = f"Declare {names} lost for ever? They must never come back with their old data"
        if as_json or not click.confirm(question, default=False, err=True):
            raise click.UsageError("nothing was done; pass --yes to declare the unreachable voters lost")
    request = {"op": "recover", "group": group, "lost": lost, "timeout": timeout}
    result = execute(ask, node, request, as_json=as_json)
    if as_json:
        emit(result)
    else:
        print(f"{group} goes on without {', '.join(map(_short, result['lost']))}")


def _short(peer: str | None) -> str:
    return peer[:8] if peer else "-"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"
