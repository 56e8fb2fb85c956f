"""The words and options of ``p2praft up``."""

from __future__ import annotations

import os

import click
from click.core import ParameterSource

from p2praft.cli import logs
from p2praft.cli.config_file import Configurable, config_option
from p2praft.cli.options import UNICODE, checked, is_unicode, json_option
from p2praft.cli.output import execute, fail
from p2praft.cli.secret import read_secret
from p2praft.cli.up import UpOptions, up
from p2praft.config import ConsensusConfig, LeadershipPreference
from p2praft.errors import P2PRaftError
from transport import HostPort, PeerAddr, TransportError


@click.command("up", cls=Configurable)
@config_option
@click.option("--network", type=UNICODE, metavar="NAME", help="The network to join. Required.")
@click.option(
    "--identity",
    type=click.Path(),
    metavar="FILE",
    help="Key file; made on first use. Default: in --data-dir, else a fresh key.",
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
@click.option("--group", type=UNICODE, metavar="NAME", help="Join a group and serve its replicated map.")
@click.option(
    "--secret-file",
    type=click.Path(),
    metavar="FILE",
    help="The group's secret. P2PRAFT_SECRET in the environment does as well.",
)
@click.option("--observer", is_flag=True, help="Follow, but never vote or lead.")
@click.option("--reluctant", is_flag=True, help="Lead only if no other can.")
@click.option(
    "--expect",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="Found the group only once N members that may vote are there; give all members the same N.",
)
@click.option("--found", is_flag=True, help="Begin the group alone if need be, though the seeds do not answer.")
@click.option("--join", is_flag=True, help="Never begin the group; wait for a member that has it.")
@click.option(
    "--on-meeting",
    type=click.Choice(["seal", "ask"]),
    default="seal",
    show_default=True,
    help="Where two parts of the group meet that were founded apart: end the lower one, or ask.",
)
@click.option("--tag", "tags", type=UNICODE, multiple=True, metavar="T", help="A word that others see; repeatable.")
@click.option(
    "--data-dir", type=click.Path(), metavar="DIR", help="Keep identity and logs there; without it all lives in memory."
)
@click.option(
    "--qlog",
    type=click.Path(),
    metavar="DIR",
    help="Write what each QUIC connection does into DIR, a .qlog file each (for qvis).",
)
@logs.log_options
@click.option(
    "--api",
    metavar="HOST:PORT",
    callback=checked(HostPort.parse),
    help="Serve the HTTP API and the dashboard there, such as 127.0.0.1:8600.",
)
@click.option(
    "--api-token-file", metavar="FILE", help="What callers of the API must know; needed anywhere but on loopback."
)
@click.option("--exit-with-parent", is_flag=True, hidden=True)
@json_option
@click.pass_context
def up_command(
    context: click.Context,
    network: str | None,
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
    found: bool,
    join: bool,
    on_meeting: str,
    tags: tuple[str, ...],
    data_dir: str | None,
    qlog: str | None,
    log_level: str | None,
    log_json: bool,
    api: str | None,
    api_token_file: str | None,
    exit_with_parent: bool,
    as_json: bool,
) -> None:
    """Run a node. Prints its address first; Ctrl-C stops it.

    Each option can also stand in the environment, as P2PRAFT_<OPTION>, or in a --config file. The command line wins
    over the environment, and that over the file.
    """
    logs.configure_behind(context)
    if not network:
        raise click.UsageError(
            "which network? Give --network NAME, the same on all nodes (or P2PRAFT_NETWORK, or network = in --config)"
        )
    if observer and reluctant:
        raise click.UsageError("--observer and --reluctant exclude each other")
    if found and (join or observer):
        other = "--join" if join else "--observer"
        raise click.UsageError(f"--found and {other} exclude each other")
    secret: str | None = None
    if api_token_file is not None and api is None:
        # In the environment it may be meant for the commands that ask.
        if context.get_parameter_source("api_token_file") is ParameterSource.COMMANDLINE:
            raise click.UsageError("--api-token-file goes with --api")
        api_token_file = None
    if group is not None:
        try:
            secret = read_secret(secret_file) if secret_file else os.environ.get("P2PRAFT_SECRET")
        except TransportError as error:
            fail(type(error).__name__, str(error), as_json=as_json)
        if not secret:
            raise click.UsageError("--group needs its secret: give --secret-file FILE, or set P2PRAFT_SECRET")
        if not is_unicode(secret):
            raise click.UsageError("P2PRAFT_SECRET is not text: it has bytes that are not UTF-8")
    elif secret_file is not None or observer or reluctant or found or join:
        raise click.UsageError("--secret-file, --observer, --reluctant, --found and --join go with --group")
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
        found=True if found else False if join else None,
        on_meeting=on_meeting,
        tags=tags,
        data_dir=data_dir,
        qlog=qlog,
        api=api,
        api_token_file=api_token_file,
        exit_with_parent=exit_with_parent,
        as_json=as_json,
    )
    execute(up, options, as_json=as_json)
