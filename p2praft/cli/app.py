"""The command's words and options; what they do stands in the modules beside."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import click

from p2praft import __version__
from p2praft.cli.map_commands import map_group
from p2praft.cli.node_commands import (
    groups_command,
    leave_command,
    peers_command,
    recover_command,
    status_command,
    transfer_command,
)
from p2praft.cli.options import checked, json_option
from p2praft.cli.output import emit, execute, fail
from p2praft.cli.up import UpOptions, read_secret, up
from p2praft.config import ConsensusConfig, LeadershipPreference
from p2praft.errors import P2PRaftError
from transport import HostPort, PeerAddr, SecretKey, TransportError

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="p2praft")
def command() -> None:
    """Nodes that find each other and become one replicated, fault-tolerant state machine.

    Try `p2praft demo` first.
    """
    level = os.environ.get("P2PRAFT_LOG_LEVEL", "WARNING").upper()
    if level not in LOG_LEVELS:
        raise click.UsageError(f"P2PRAFT_LOG_LEVEL={level!r} is not a level: choose from {', '.join(LOG_LEVELS)}")
    logging.basicConfig(
        level=level,
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
@click.option("--lan", is_flag=True, help="Find nodes of the local network by mDNS, and be found (extra: lan).")
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
    lan: bool,
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
        lan=lan,
        group=group,
        secret=secret,
        secret_file=secret_file,
        preference=preference,
        expect=expect,
        tags=tags,
        data_dir=data_dir,
        exit_with_parent=exit_with_parent,
        as_json=as_json,
    )
    execute(up, options, as_json=as_json)


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


for _subcommand in (
    status_command,
    peers_command,
    groups_command,
    transfer_command,
    leave_command,
    recover_command,
    map_group,
):
    command.add_command(_subcommand)
