"""``p2praft up``: runs a node until it is told to stop."""

from __future__ import annotations

import os
import shlex
import signal
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskGroup

from p2praft.cli import logs
from p2praft.cli.control import ControlServer
from p2praft.cli.output import console, emit
from p2praft.cli.progress import progress
from p2praft.cli.runtime import socket_path
from p2praft.collections import MapMachine
from p2praft.config import ConsensusConfig, LeadershipPreference, NetworkConfig
from p2praft.errors import ConfigError, P2PRaftError
from p2praft.groups.group import Group
from p2praft.network import Network
from transport import HostPort, QuicConfig

if TYPE_CHECKING:
    from p2praft.http import ApiConfig


PATIENCE = 10.0
"""Seconds that a group may be without a leader before something is said."""
NO_MAJORITY = "no majority"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """What ``up`` was told; see its help."""

    network: str
    identity: str | None
    listen: str
    advertise: tuple[str, ...]
    seeds: tuple[str, ...]
    group: str | None
    secret: str | None
    secret_file: str | None
    preference: LeadershipPreference
    expect: int
    tags: tuple[str, ...]
    data_dir: str | None
    api: str | None = None
    api_token_file: str | None = None
    exit_with_parent: bool
    as_json: bool
    found: bool | None = None
    on_meeting: str = "seal"
    lan: bool = False
    qlog: str | None = None


class Reporter:
    """Tells what happens: events as JSON on standard output, or lines for people on standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def event(self, name: str, text: str, **fields: Any) -> None:
        """Something happened."""
        if self.as_json:
            emit({"event": name, **fields, "text": text})
        else:
            logs.say(
                text,
                event=name,
                peer=fields.get("peer_id"),
                group=fields.get("group"),
                term=fields.get("term"),
            )


async def up(options: UpOptions) -> None:
    """Run a node; returns when it was asked to stop."""
    reporter = Reporter(as_json=options.as_json)
    started = anyio.current_time()
    api = _api_config(options)
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with AsyncExitStack() as stack:
            network = await stack.enter_async_context(
                Network(
                    options.network,
                    identity=options.identity,
                    listen=options.listen,
                    advertise=options.advertise,
                    seeds=options.seeds,
                    tags=options.tags,
                    data_dir=options.data_dir,
                    lan=options.lan,
                    config=NetworkConfig(quic=QuicConfig(qlog=options.qlog)),
                )
            )
            group: Group | None = None
            if options.group is not None and options.secret:
                handle = network.group(
                    options.group,
                    secret=options.secret,
                    machine=MapMachine(),
                    preference=options.preference,
                    consensus=ConsensusConfig(expect=options.expect),
                    found=options.found,
                    on_meeting=options.on_meeting,
                )
                group = await stack.enter_async_context(handle)
            socket = socket_path(network.peer_id)
            async with anyio.create_task_group() as tasks:
                await tasks.start(ControlServer(network, started).serve, socket)
                if options.data_dir is not None:  # once the socket is ours
                    (Path(options.data_dir) / "control").write_text(f"{socket}\n")
                page = await _start_api(network, api, tasks) if api is not None else None
                tasks.start_soon(_report_peers, network, reporter)
                if group is not None:
                    tasks.start_soon(_report_group, group, reporter, tasks)
                    tasks.start_soon(_show_catch_up, group)
                    tasks.start_soon(_report_majority, group, reporter)
                if options.exit_with_parent:
                    tasks.start_soon(_wait_parent, tasks)
                if options.seeds:
                    tasks.start_soon(_report_loneliness, network, reporter)
                _say_ready(network, options, socket, page)
                async for _ in signals:
                    break
                tasks.cancel_scope.cancel()
            if group is not None and group.failure is not None:
                raise group.failure
    for impatient in (signal.SIGINT, signal.SIGTERM):
        signal.signal(impatient, signal.SIG_IGN)  # it has stopped in good order; a second one would only spoil the exit
    if not options.as_json:
        logs.say("stopped")


def _api_config(options: UpOptions) -> ApiConfig | None:
    """What ``--api`` asks for.

    Raises:
        ConfigError: It is not allowed, or what it needs is not installed.
    """
    if options.api is None:
        return None
    try:
        from p2praft.http import ApiConfig, read_token
    except ImportError as error:
        raise ConfigError(f"--api needs {error.name}, which is not installed: pip install 'p2praft[http]'") from None
    token = read_token(options.api_token_file) if options.api_token_file else None
    return ApiConfig(listen=HostPort.parse(options.api), token=token)


async def _start_api(network: Network, config: ApiConfig, tasks: TaskGroup) -> str:
    from p2praft.http import serve_api

    bound: HostPort = await tasks.start(serve_api, network, config)
    return f"http://{bound}"


def _say_ready(network: Network, options: UpOptions, socket: Path, page: str | None = None) -> None:
    if options.as_json:
        emit(
            {
                "event": "ready",
                "peer_id": str(network.peer_id),
                "address": str(network.address),
                "network": network.name,
                "control": str(socket),
                **({"api": page} if page else {}),
            }
        )
        return
    join = ["p2praft", "up", "--network", network.name, "--seed", str(network.address)]
    if options.group:
        join += ["--group", options.group]
        join += ["--secret-file", os.path.abspath(options.secret_file)] if options.secret_file else []
        join += ["--expect", str(options.expect)] if options.expect != 1 else []
    out = console()
    out.print(f"ready [bold]{network.address}[/bold]")
    if page:
        out.print(f"dashboard and API at {page}/", style="dim")
    out.print("another node joins with:", style="dim")
    print(f"  {shlex.join(join)}", flush=True)


async def _report_peers(network: Network, reporter: Reporter) -> None:
    async for event in network.peers.events():
        if event.kind != "updated":
            peer = event.peer.peer_id
            reporter.event(event.kind, f"{peer.short} {event.kind}: {event.reason}", peer_id=str(peer))


async def _report_group(group: Group, reporter: Reporter, tasks: TaskGroup) -> None:
    async for event in group.events():
        if event.kind in ("bond formed", "bond lost", "role"):
            continue
        if event.kind in ("refused", "no members", "twin", "twin suspected") and not reporter.as_json:
            continue  # the log on standard error has said so already
        peer = str(event.peer) if event.peer else None
        reporter.event(event.kind, f"group {group.name}: {event.text}", group=group.name, term=event.term, peer_id=peer)
    if group.failure is not None:
        tasks.cancel_scope.cancel()


async def _show_catch_up(group: Group) -> None:
    """A bar while the member, far behind, fetches what it lacks."""
    while True:
        await anyio.sleep(0.2)
        if (begun := group.catching_up) is None:
            continue
        what, _, total = begun
        text = "fetching a snapshot" if what == "snapshot" else "catching up"
        with progress(text, total) as advance:
            while (found := group.catching_up) is not None and found[0] == what and found[2] == total:
                advance(found[1], f"{text}: {found[1]} of {total} parts")
                await anyio.sleep(0.1)


async def _report_loneliness(network: Network, reporter: Reporter) -> None:
    """Say once that no seed answers; the node goes on trying."""
    with anyio.move_on_after(5):
        await network.peers.when.known(1)
        return
    # What was tried repeats: each thing once, and of all seeds, for any of them would do.
    tried = dict.fromkeys(line for seed in network.seeds for line in network.peers.explain(seed.peer_id).splitlines())
    why = "; ".join(tried)
    reporter.event("alone", f"no seed has answered yet, still trying: {why}")


async def _report_majority(group: Group, reporter: Reporter) -> None:
    """Say once that the group cannot work and who is missing, and once that it works again."""
    with suppress(P2PRaftError):  # it closed, and that is told elsewhere
        while True:
            said = None
            with anyio.move_on_after(PATIENCE):
                await group.when.online()
            if not group.online:
                said, text = _what_is_missing(group)
                reporter.event(said, text, group=group.name, term=group.term)
                await group.when.online()
            if said == NO_MAJORITY:
                text = f"group {group.name} works again: it has a leader and a majority"
                reporter.event("majority", text, group=group.name, term=group.term)
            await group.when.offline()


def _what_is_missing(group: Group) -> tuple[str, str]:
    """The event's name, and what to say of a group that has no leader."""
    members = group.members
    if (waits_for := group.waits_for) is not None and not group.voters:
        text = f"group {group.name} is not founded yet: it {waits_for}; `p2praft doctor` says why others do not come"
        return "waiting", text
    away = [member.peer_id.short for member in members if member.voter and not member.bonded]
    here_count, needed = len(group.voters) - len(away), len(group.voters) // 2 + 1
    if here_count >= needed:
        text = (
            f"group {group.name} has no leader, though {here_count} of its {len(group.voters)} voters are here; "
            "try `p2praft doctor`"
        )
    else:
        text = (
            f"group {group.name} has no majority: {here_count} of its {len(group.voters)} voters here, {needed} needed; "
            f"missing: {', '.join(away)}. Start them, or try `p2praft doctor`"
        )
    return NO_MAJORITY, text


async def _wait_parent(tasks: TaskGroup) -> None:
    """Stop when standard input ends: the process that started us is gone."""
    while True:
        await anyio.wait_readable(0)
        if not os.read(0, 4096):
            tasks.cancel_scope.cancel()
            return
