"""The words and options of ``p2praft doctor``."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import click
from click.core import ParameterSource
from rich.table import Table
from rich.text import Text

from p2praft.cli.client import ask
from p2praft.cli.config_file import PREFIX, config_option
from p2praft.cli.doctor.disk import examine_directory
from p2praft.cli.doctor.findings import Finding, faulty, fine
from p2praft.cli.doctor.peer import Examiner, GroupFacts, peer_or_place
from p2praft.cli.options import checked, json_option, node_option
from p2praft.cli.output import CommandError, console, emit, execute
from p2praft.cli.runtime import find_node
from p2praft.cli.secret import read_secret
from p2praft.config import ConsensusConfig
from p2praft.groups.key import GroupKey
from transport import BindError, HostPort, KeyFileError, PeerAddr, QuicTransport, SecretKey

ABOUT_A_START = ("network", "seeds", "group", "secret_file", "data_dir")
"""Options that say how a node would be started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to look at before a node starts."""

    target: str | None
    network: str | None
    listen: str
    seeds: tuple[str, ...]
    group: str | None
    secret_file: str | None
    expect: int
    data_dir: str | None


@click.command("doctor", short_help="Say why nodes do not see each other, and what to do.")
@config_option
@click.argument("addr", required=False, callback=checked(peer_or_place))
@node_option
@click.option("--network", metavar="NAME", envvar=PREFIX + "NETWORK", help="The network that the node would join.")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="0.0.0.0:0",
    envvar=PREFIX + "LISTEN",
    callback=checked(HostPort.parse),
    help="Where it would listen.",
)
@click.option(
    "--seed",
    "seeds",
    multiple=True,
    metavar="ADDR",
    envvar=PREFIX + "SEED",
    callback=checked(PeerAddr.parse),
    help="Whom it would ask first; repeatable.",
)
@click.option("--group", metavar="NAME", envvar=PREFIX + "GROUP", help="The group that it would join.")
@click.option(
    "--secret-file", type=click.Path(), metavar="FILE", envvar=PREFIX + "SECRET_FILE", help="The group's secret."
)
@click.option("--expect", type=int, default=1, envvar=PREFIX + "EXPECT", metavar="N", help="As for `up`.")
@click.option(
    "--data-dir", type=click.Path(), metavar="DIR", envvar=PREFIX + "DATA_DIR", help="Where it would keep its data."
)
@json_option
@click.pass_context
def doctor_command(
    context: click.Context,
    addr: str | None,
    node: str | None,
    network: str | None,
    listen: str,
    seeds: tuple[str, ...],
    group: str | None,
    secret_file: str | None,
    expect: int,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Find, by trying, why nodes do not see each other, and say what to do.

    Before a node starts: give what you would give to `up` (or its --config). While one runs: --node, or nothing if it is
    the only one; the node then looks for itself. ADDR is another node's address, or only HOST:PORT.

    Exits with 0 if all is well, with 1 if something is wrong.
    """
    given = [name for name in ABOUT_A_START if context.params.get(name)]
    said = (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP)
    typed = any(context.get_parameter_source(name) in said for name in given)
    if node and typed:
        raise click.UsageError("--node looks through a running node; the options of `up` are for before one starts")
    plan = Plan(
        target=addr,
        network=network,
        listen=listen,
        seeds=seeds,
        group=group,
        secret_file=secret_file,
        expect=expect,
        data_dir=data_dir,
    )
    if (secret_file or group) and not network:
        raise click.UsageError("a group is part of a network: give --network NAME as well")
    # Where the environment configures the node that runs, as in a container, that node is meant.
    through_node = node is not None or not (typed or addr or (given and not _runs()))
    execute(_through_node if through_node else _before, node if through_node else plan, addr, as_json, as_json=as_json)


def _runs() -> bool:
    """Whether it is clear which running node could be asked."""
    try:
        find_node(None)
    except CommandError:
        return False
    return True


async def _through_node(node: str | None, addr: str | None, as_json: bool) -> None:
    found = await ask(node, {"op": "doctor", "target": addr, "timeout": 30})
    report = Report(as_json=as_json)
    for plain in found:
        report.add(Finding.from_json(plain))
    report.end()


async def _before(plan: Plan, addr: str | None, as_json: bool) -> None:
    report = Report(as_json=as_json)
    async for finding in examine_before(plan):
        report.add(finding)
    report.end()


async def examine_before(plan: Plan) -> AsyncIterator[Finding]:
    """Everything that can be looked at before a node starts."""
    if plan.data_dir is not None:
        for finding in examine_directory(Path(plan.data_dir)):
            yield finding
    groups: list[GroupFacts] = []
    if plan.group is not None:
        try:
            secret = read_secret(plan.secret_file) if plan.secret_file else os.environ.get("P2PRAFT_SECRET")
        except KeyFileError as error:
            secret = None
            yield faulty("secret", "secret-file", str(error))
        else:
            if not secret:
                text = f"group {plan.group!r} needs its secret: give --secret-file FILE, or set P2PRAFT_SECRET"
                yield faulty("secret", "secret-file", text)
        if secret:
            yield fine("secret", "the group's secret can be read, and by nobody else")
            ConsensusConfig(expect=plan.expect)  # refuses what `up` would refuse
            key = GroupKey.from_passphrase(secret, network=plan.network or "", group=plan.group)
            groups.append(GroupFacts(name=plan.group, key=key))
    try:
        async with QuicTransport().bind(SecretKey.generate(), listen=HostPort.parse(plan.listen)) as endpoint:
            yield fine("socket", f"UDP {plan.listen} can be listened on")
            examiner = Examiner(endpoint=endpoint, network=plan.network, groups=groups)
            targets = [plan.target] if plan.target else [*plan.seeds]
            for target in targets:
                async for finding in examiner.examine(peer_or_place(target)):
                    yield finding
    except BindError as error:
        yield faulty("socket", "listen", str(error))


class Report:
    """Prints findings as they come, and in the end says how many were bad by the exit status."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = console()
        self._bad = 0
        self._good = 0

    def add(self, finding: Finding) -> None:
        """Print one."""
        self._bad += not finding.ok
        self._good += finding.ok
        if self._as_json:
            emit(finding.as_json())
            return
        mark = Text("ok", style="green") if finding.ok else Text("BAD", style="bold red")
        self._row(mark, Text.assemble((finding.check, "bold"), f": {finding.message}"))
        if finding.advice:
            self._row(Text(), Text.assemble(("try: ", "dim"), finding.advice))

    def end(self) -> None:
        """Say what it comes to."""
        if not self._as_json:
            text = "nothing is wrong that can be seen from here" if not self._bad else f"{self._bad} found to be wrong"
            self._console.print(f"\n{self._good + self._bad} checks, {text}")
        if self._bad:
            sys.exit(1)

    def _row(self, mark: Text, text: Text) -> None:
        """A terminal's lines are broken behind the mark; a pipe gets a line whole."""
        mark.pad_right(4 - len(mark))
        if not self._console.is_terminal:
            self._console.print(mark + " " + text)
            return
        row = Table.grid(padding=(0, 1))
        row.add_column(width=4)
        row.add_column(overflow="fold")
        row.add_row(mark, text)
        self._console.print(row)
