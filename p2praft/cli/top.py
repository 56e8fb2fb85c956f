"""``p2praft top``: a running node and its groups, live in the terminal."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from p2praft.cli.client import ask_at
from p2praft.cli.options import Number, json_option, node_option
from p2praft.cli.output import CommandError, console, emit, execute
from p2praft.cli.printable import printable, waiting
from p2praft.cli.runtime import find_node

try:
    import termios
    import tty
except ImportError:  # no Unix terminal: Ctrl-C ends it all the same
    termios = None  # type: ignore[assignment]

BARS = " ▁▂▃▄▅▆▇█"
HISTORY = 24
"""Rates that are drawn, one a frame."""
FIRST_LOOK = 0.5
"""Seconds between the two looks that a single frame takes: one alone shows no rate."""
STYLES = {"leader": "bold green", "candidate": "bold yellow", "observer": "dim", "suspect": "yellow", "lost": "red"}


class Rates:
    """How many entries a second each group commits."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, int]] = {}
        self.now: dict[str, float | None] = {}
        self.history: dict[str, deque[float]] = {}

    def note(self, at: float, groups: list[dict[str, Any]]) -> None:
        """Take what was seen at a time, in seconds."""
        for group in groups:
            name, committed = group["id"], group["committed"]
            then, before = self._last.get(name, (at, committed))
            rate = max(0.0, (committed - before) / (at - then)) if at > then else None
            self._last[name] = (at, committed)
            self.now[name] = rate
            if rate is not None:
                self.history.setdefault(name, deque(maxlen=HISTORY)).append(rate)


def sparkline(values: deque[float]) -> str:
    """The values as bars, the newest at the right."""
    top = max(values, default=0.0) or 1.0
    return "".join(BARS[min(len(BARS) - 1, round(value / top * (len(BARS) - 1)))] for value in values)


def members_of(group: dict[str, Any], me: str, peers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Everybody who is in the group, as this node sees it; the leader first, then the voters."""
    known = {member["peer_id"]: member for member in group.get("members", [])}
    bonds = {bond["peer_id"]: bond["rtt"] for bond in group["bonds"]}
    listed = {peer["peer_id"]: peer for peer in peers}
    serving = [peer["peer_id"] for peer in peers if group["id"] in peer["groups"]]
    rows = []
    for peer in dict.fromkeys([*group["voters"], *bonds, *serving, me, *known]):
        leads, votes = peer == group["leader"], peer in group["voters"]
        role = "leader" if leads else "voter" if votes else "member"
        if not votes and (known.get(peer, {}).get("observer") or (peer == me and group["role"] == "observer")):
            role = "observer"
        if peer == me and group["role"] == "candidate":
            role = "candidate"
        own = peer == me
        rows.append(
            {
                "peer_id": peer,
                "role": role,
                "self": own,
                "bonded": own or peer in bonds,
                "rtt": bonds.get(peer),
                "log": group["log_position"]["index"] if own else known.get(peer, {}).get("match"),
                "status": "here" if own else listed[peer]["status"] if peer in listed else "gone",
            }
        )
    order = {"leader": 0, "candidate": 1, "voter": 2, "member": 3, "observer": 4}
    return sorted(rows, key=lambda row: (order[row["role"]], row["peer_id"]))


def frame(status: dict[str, Any], peers: list[dict[str, Any]], rates: Rates, *, live: bool) -> RenderableType:
    """One picture, of at most 80 columns where names are not longer than usual."""
    me = status["peer_id"]
    alive = sum(peer["status"] == "alive" for peer in peers)
    doubtful = len(peers) - alive
    head = Text.assemble(
        ("p2praft ", "bold"),
        (printable(status["network"]), "bold cyan"),
        f"  node {me[:8]} at {status['address'].partition('@')[2]}",
        f"  up {duration(status['uptime'])}",
    )
    second = Text(f"peers {alive} alive" + (f", {doubtful} in doubt" if doubtful else ""), style="dim")
    if live:
        second.append("   q or Ctrl-C ends")
    parts: list[RenderableType] = [head, second]
    for group in status["groups"]:
        parts += [Text(), _group_line(group, rates)]
        if waits := waiting(group):
            parts.append(Text(waits, style="yellow"))
        parts += [_members(group, members_of(group, me, peers))]
    if not status["groups"]:
        parts += [Text(), Text("this node serves no group", style="dim")]
    in_groups = {row["peer_id"] for group in status["groups"] for row in members_of(group, me, peers)}
    others = [peer for peer in peers if peer["peer_id"] not in in_groups]
    if others:
        parts += [Text(), Text("other peers", style="bold"), _peers(others)]
    return Group(*parts)


def _group_line(group: dict[str, Any], rates: Rates) -> Text:
    rate = rates.now.get(group["id"])
    state = Text("online", style="green") if group["online"] else Text("NO LEADER", style="bold red")
    line = Text.assemble(("group ", "bold"), (printable(group["name"]), "bold cyan"), "  ", state)
    line.append(f"  term {group['term']}  committed {group['committed']}/{group['log_position']['index']}")
    line.append(f"  {rate:.0f}/s" if rate is not None else "  -/s", style="bold")
    line.append(" " + sparkline(rates.history.get(group["id"], deque())), style="cyan")
    return line


def _members(group: dict[str, Any], rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    for name in ("PEER", "ROLE", "BOND", "RTT", "LOG", "STATUS"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("RTT", "LOG") else "left")
    for row in rows:
        table.add_row(
            Text(row["peer_id"][:8] + (" *" if row["self"] else ""), style="bold" if row["self"] else ""),
            Text(row["role"], style=STYLES.get(row["role"], "")),
            Text("-" if row["self"] else "yes" if row["bonded"] else "NO", style="" if row["bonded"] else "red"),
            milliseconds(row["rtt"]),
            "-" if row["log"] is None else str(row["log"]),
            Text(row["status"], style=STYLES.get(row["status"], "")),
        )
    return table


def _peers(peers: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    for name in ("PEER", "STATUS", "RTT", "ADDRESS"):
        table.add_column(name, no_wrap=True, justify="right" if name == "RTT" else "left")
    for peer in peers:
        where = ", ".join(peer["addresses"])
        table.add_row(
            peer["peer_id"][:8],
            Text(peer["status"], style=STYLES.get(peer["status"], "")),
            milliseconds(peer["rtt"]),
            Text(where),
        )
    return table


def milliseconds(seconds: float | None) -> str:
    """A round trip for people."""
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"


def duration(seconds: float) -> str:
    """How long something has run, for people."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours}h"
    return f"{hours}h{minutes}m" if hours else f"{minutes}m{rest}s" if minutes else f"{rest}s"


@click.command("top", short_help="A running node and its groups, live in the terminal.")
@click.option("--once", is_flag=True, help="Print one picture and end.")
@click.option("--interval", default=1.0, show_default=True, type=Number(0.1, 60), help="Seconds between two looks.")
@node_option
@json_option
def top_command(once: bool, interval: float, node: str | None, as_json: bool) -> None:
    """A running node and its groups, live: peers, bonds, roles, terms, log positions, commits a second.

    q or Ctrl-C ends it. Without a terminal it prints a picture a look, one below the other.
    """
    execute(_top, node, once, interval, as_json, as_json=as_json)


async def _top(node: str | None, once: bool, interval: float, as_json: bool) -> None:
    path = find_node(node)
    rates = Rates()
    out = console()
    if not out.is_terminal:
        out.width = 100  # a pipe has no width

    async def look() -> tuple[dict[str, Any], list[dict[str, Any]]]:
        status = await ask_at(path, {"op": "top"})
        rates.note(time.monotonic(), status["groups"])
        return status, status.pop("known")

    def show(status: dict[str, Any], peers: list[dict[str, Any]]) -> None:
        if as_json:
            emit({**status, "peers": peers, "rates": {g["name"]: rates.now.get(g["id"]) for g in status["groups"]}})
        else:
            out.print(frame(status, peers, rates, live=False))
            out.print()

    await look()
    await anyio.sleep(FIRST_LOOK)
    if once:
        show(*await look())
    elif as_json or not out.is_terminal:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with anyio.create_task_group() as tasks:

                async def stop() -> None:
                    async for _ in signals:
                        tasks.cancel_scope.cancel()

                tasks.start_soon(stop)
                while True:
                    show(*await look())
                    await anyio.sleep(interval)
    else:
        await _live(out, look, rates, interval)


async def _live(out: Console, look: Any, rates: Rates, interval: float) -> None:
    gone: CommandError | None = None
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, _keys() as pressed:
        with Live(console=out, screen=True, auto_refresh=False) as live:
            async with anyio.create_task_group() as tasks:

                async def stop_on_signal() -> None:
                    async for _ in signals:
                        tasks.cancel_scope.cancel()

                async def stop_on_key() -> None:
                    while not any(key in "qQ\x03" for key in pressed()):
                        await anyio.sleep(0.05)
                    tasks.cancel_scope.cancel()

                tasks.start_soon(stop_on_signal)
                tasks.start_soon(stop_on_key)
                while True:
                    try:
                        status, peers = await look()
                        live.update(frame(status, peers, rates, live=True), refresh=True)
                    except CommandError as error:
                        gone = error
                        tasks.cancel_scope.cancel()
                    await anyio.sleep(interval)
    if gone is not None:
        raise gone


@contextmanager
def _keys() -> Iterator[Any]:
    """Gives what asks for the keys pressed since it was last asked, without waiting and without an echo."""
    if termios is None or not sys.stdin.isatty():
        yield lambda: ""
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)

    def pressed() -> str:
        ready, _, _ = select.select([keyboard], [], [], 0)
        return os.read(keyboard, 64).decode(errors="replace") if ready else ""

    try:
        tty.setcbreak(keyboard)
        yield pressed
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
