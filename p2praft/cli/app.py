"""The command's words and options; what they do stands in the modules beside."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from p2praft import __version__
from p2praft.cli.control import ask
from p2praft.cli.output import console, emit, execute, fail, print_table
from p2praft.cli.up import UpOptions, read_secret, up
from p2praft.config import ConsensusConfig, LeadershipPreference
from p2praft.errors import P2PRaftError
from transport import HostPort, PeerAddr, PeerId, SecretKey, TransportError

F = TypeVar("F", bound=Callable[..., Any])


def run() -> None:
    """The command; usage errors exit with 2, and with --json they are JSON too."""
    try:
        status = command.main(standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        if "--json" in sys.argv[1:]:
            emit({"error": "Usage", "message": error.format_message()})
        else:
            error.show()
        sys.exit(error.exit_code)


def checked(parse: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback that turns a malformed value into a usage error with the parser's own words."""

    def callback(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        for text in value if isinstance(value, tuple) else (value,) if value is not None else ():
            try:
                parse(text)
            except (P2PRaftError, TransportError) as error:
                raise click.BadParameter(str(error), context, parameter) from None
        return value

    return callback


def json_option(function: F) -> F:
    """``--json``: the same for every command."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object a line on standard output.")(function)


def node_option(function: F) -> F:
    """``--node``: the same for every command that asks a running node."""
    return click.option(
        "--node", metavar="DIR|ID", help="Which running node: its data directory, or its id's beginning."
    )(function)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="p2praft")
def command() -> None:
    """Nodes that find each other and become one replicated, fault-tolerant state machine.

    Try `p2praft demo` first.
    """
    logging.basicConfig(
        level=os.environ.get("P2PRAFT_LOG_LEVEL", "WARNING").upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("quic").setLevel(logging.CRITICAL)  # each refused datagram would be a warning


@command.group("id")
def identity() -> None:
    """Identity key files."""


@identity.command("new")
@click.argument("file", type=click.Path(dir_okay=False))
@json_option
def id_new(file: str, as_json: bool) -> None:
    """Make a key and keep it in FILE."""
    key = SecretKey.generate()
    try:
        key.save(file)
    except TransportError as error:
        fail(type(error).__name__, str(error), as_json=as_json)
    _show_id(key, file, as_json)


@identity.command("show")
@click.argument("file", type=click.Path(dir_okay=False))
@json_option
def id_show(file: str, as_json: bool) -> None:
    """Show the peer id of the key in FILE."""
    try:
        key = SecretKey.load(file)
    except TransportError as error:
        fail(type(error).__name__, str(error), as_json=as_json)
    _show_id(key, file, as_json)


def _show_id(key: SecretKey, file: str, as_json: bool) -> None:
    if as_json:
        emit({"peer_id": str(key.peer_id), "file": file})
    else:
        print(key.peer_id)


@command.command("up")
@click.option("--network", required=True, metavar="NAME", help="The network to join.")
@click.option(
    "--identity", metavar="FILE", help="Key file; made on first use. Default: in --data-dir, else a fresh key."
)
@click.option(
    "--listen",
    default="0.0.0.0:0",
    show_default=True,
    metavar="HOST:PORT",
    callback=checked(HostPort.parse),
    help="UDP.",
)
@click.option(
    "--advertise",
    multiple=True,
    metavar="HOST:PORT",
    callback=checked(HostPort.parse),
    help="Where others reach this node.",
)
@click.option(
    "--seed",
    "seeds",
    multiple=True,
    metavar="ADDR",
    callback=checked(PeerAddr.parse),
    help="Any member's address; repeatable.",
)
@click.option("--group", metavar="NAME", help="Join a group and serve its replicated map.")
@click.option(
    "--secret-file", metavar="FILE", help="The group's secret. P2PRAFT_SECRET in the environment does as well."
)
@click.option("--observer", is_flag=True, help="Follow, but never vote or lead.")
@click.option("--reluctant", is_flag=True, help="Lead only if no other can.")
@click.option(
    "--expect",
    default=1,
    show_default=True,
    metavar="N",
    help="Found the group only once N members that may vote are there; all members need the same N.",
)
@click.option("--tag", "tags", multiple=True, metavar="T", help="A word that others see; repeatable.")
@click.option("--data-dir", metavar="DIR", help="Keep identity and logs there; without it all lives in memory.")
@click.option("--exit-with-parent", is_flag=True, hidden=True)
@json_option
def up_command(
    network: str,
    identity: str | None,
    listen: str,
    advertise: tuple[str, ...],
    seeds: tuple[str, ...],
    group: str | None,
    secret_file: str | None,
    observer: bool,
    reluctant: bool,
    expect: int,
    tags: tuple[str, ...],
    data_dir: str | None,
    exit_with_parent: bool,
    as_json: bool,
) -> None:
    """Run a node. Prints its address first; Ctrl-C stops it."""
    if observer and reluctant:
        raise click.UsageError("--observer and --reluctant exclude each other")
    secret: str | None = None
    if group is not None:
        try:
            secret = read_secret(secret_file) if secret_file else os.environ.get("P2PRAFT_SECRET")
        except TransportError as error:
            fail(type(error).__name__, str(error), as_json=as_json)
        if not secret:
            raise click.UsageError("--group needs its secret: give --secret-file FILE, or set P2PRAFT_SECRET")
    elif secret_file is not None or observer or reluctant:
        raise click.UsageError("--secret-file, --observer and --reluctant go with --group")
    try:
        ConsensusConfig(expect=expect)
    except P2PRaftError as error:
        raise click.UsageError(str(error)) from None
    preference = LeadershipPreference.NORMAL
    if observer:
        preference = LeadershipPreference.OBSERVER
    elif reluctant:
        preference = LeadershipPreference.reluctant()
    options = UpOptions(
        network=network,
        identity=identity,
        listen=listen,
        advertise=advertise,
        seeds=seeds,
        group=group,
        secret=secret,
        preference=preference,
        expect=expect,
        tags=tags,
        data_dir=data_dir,
        exit_with_parent=exit_with_parent,
        as_json=as_json,
    )
    execute(up, options, as_json=as_json)


@command.command("status")
@node_option
@json_option
def status_command(node: str | None, as_json: bool) -> None:
    """What a running node is."""
    status = execute(ask, node, {"op": "status"}, as_json=as_json)
    if as_json:
        emit(status)
        return
    out = console()
    out.print(f"node     {status['address']}")
    out.print(f"network  {status['network']}, {status['peers']} other nodes, up for {status['uptime']:.0f} s")
    for group in status["groups"]:
        leader = "it leads" if group["is_leader"] else f"leader {_short(group['leader'])}"
        out.print(
            f"group    {group['name']}: {group['role']} in term {group['term']}, {leader}, {group['committed']} committed"
        )


@command.command("peers")
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
    print_table("", ["PEER", "STATUS", "RTT", "ADDRESSES", "GROUPS", "TAGS"], rows)


@command.command("groups")
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
    print_table("", ["GROUP", "ROLE", "TERM", "LEADER", "COMMITTED", "VOTERS", "BONDS", "ONLINE"], rows)


@command.command("transfer")
@click.argument("group")
@click.argument("peer", required=False, callback=checked(PeerId.parse))
@node_option
@json_option
def transfer_command(group: str, peer: str | None, node: str | None, as_json: bool) -> None:
    """Have the node, which leads GROUP, hand over to PEER, or to whom it finds best."""
    result = execute(ask, node, {"op": "transfer", "group": group, "to": peer}, as_json=as_json)
    if as_json:
        emit(result)
    else:
        print(f"{result['leader']} leads now")


@command.command("leave")
@click.argument("group")
@node_option
@json_option
def leave_command(group: str, node: str | None, as_json: bool) -> None:
    """Have the node leave GROUP for good: the voter set shrinks."""
    result = execute(ask, node, {"op": "leave", "group": group}, as_json=as_json)
    if as_json:
        emit(result)
    else:
        print(f"left {group}")


@command.group("map")
def map_group() -> None:
    """The replicated map of a group."""


def weak_option(function: F) -> F:
    """``--weak``: read this node's own state."""
    return click.option("--weak", is_flag=True, help="This node's own state, however old; needs no leader.")(function)


def timeout_option(function: F) -> F:
    """``--timeout``: how long a write may take."""
    return click.option(
        "--timeout", default=10.0, show_default=True, type=click.FloatRange(0.05, 3600), help="Seconds."
    )(function)


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


@map_group.command("set")
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


@command.command("demo")
@click.option(
    "--nodes", default=5, show_default=True, type=click.IntRange(4, 15), help="Processes, observers included."
)
@click.option("--observers", default=1, show_default=True, type=click.IntRange(0, 5), help="How many only observe.")
@click.option("--data-dir", metavar="DIR", help="Keep the nodes' logs there, durably.")
@click.option("--watch", is_flag=True, help="Stay live at the end, until Ctrl-C.")
@json_option
def demo_command(nodes: int, observers: int, data_dir: str | None, watch: bool, as_json: bool) -> None:
    """Watch real processes find each other, elect, replicate, lose their leader, and lose nothing."""
    from p2praft.cli.demo import Demo

    if nodes - observers < 3:
        raise click.UsageError("at least three nodes must be able to vote, so that one can be lost: raise --nodes")
    demo = Demo(
        nodes=nodes, observers=observers, data_dir=Path(data_dir) if data_dir else None, watch=watch, as_json=as_json
    )
    execute(demo.run, as_json=as_json)


def _as_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _short(peer: str | None) -> str:
    return peer[:8] if peer else "-"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"
