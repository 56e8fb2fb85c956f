"""The command: what stands in front of every word of it."""

from __future__ import annotations

import io
import os
import sys
from typing import NoReturn

import click

from p2praft import __version__
from p2praft.cli import logs
from p2praft.cli.output import emit, fail_unexpectedly
from p2praft.cli.words import ELSEWHERE, Words


def run() -> NoReturn:
    """The command; usage errors exit with 2, and with --json they are JSON too."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as on standard error: not every terminal has every letter
    try:
        status = _status()
        sys.stdout.flush()  # while somebody can still be told that it fails
    except Exception as error:
        fail_unexpectedly(error, as_json="--json" in sys.argv[1:])
    sys.exit(status)


def _status() -> int:
    """Run the command; its exit status."""
    try:
        status = command.main(prog_name="p2praft", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except click.Abort:
        return 130
    except click.ClickException as raised:
        error = _with_source(raised)
        if "--json" in sys.argv[1:]:
            emit({"error": "Usage", "message": error.format_message()})
        elif logs.is_json() or "--log-json" in sys.argv[1:]:
            logs.configure(None, as_json=True)
            logs.say(error.format_message(), level="error")
        else:
            error.show()
        return error.exit_code


def _with_source(error: click.ClickException) -> click.ClickException:
    """A wrong value that nobody typed: say where it stands."""
    option = error.param if isinstance(error, click.BadParameter) else None
    if not isinstance(error, click.BadParameter) or not isinstance(option, click.Option):
        return error
    if any(word.partition("=")[0] in option.opts for word in sys.argv):
        return error
    where = ""
    if isinstance(option.envvar, str) and os.environ.get(option.envvar):
        where = f" (it stands in the environment, as {option.envvar})"
    elif error.ctx and option.name in (error.ctx.default_map or {}):
        where = " (it stands in the --config file)"
    return click.BadParameter(error.message + where, error.ctx, option)


SECTIONS = {
    "Begin": ("demo", "up", "id"),
    "Look": ("status", "peers", "groups", "top", "doctor"),
    "Use": ("map",),
    "Operate": ("transfer", "leave", "recover", "abandon", "merge", "archive", "snapshot", "bench"),
}
HOMES = {
    "abandon": "p2praft.cli.node_commands:abandon_command",
    "archive": "p2praft.cli.archive_commands:archive_group",
    "bench": "p2praft.cli.bench:bench_command",
    "completion": "p2praft.cli.completion_command:completion_command",
    "demo": "p2praft.cli.demo:demo_command",
    "doctor": "p2praft.cli.doctor.command:doctor_command",
    "groups": "p2praft.cli.node_commands:groups_command",
    "id": "p2praft.cli.identity_commands:identity_group",
    "leave": "p2praft.cli.node_commands:leave_command",
    "map": "p2praft.cli.map_commands:map_group",
    "merge": "p2praft.cli.node_commands:merge_command",
    "peers": "p2praft.cli.node_commands:peers_command",
    "recover": "p2praft.cli.node_commands:recover_command",
    "snapshot": "p2praft.cli.snapshot.commands:snapshot_group",
    "status": "p2praft.cli.node_commands:status_command",
    "top": "p2praft.cli.top:top_command",
    "transfer": "p2praft.cli.node_commands:transfer_command",
    "up": "p2praft.cli.up_command:up_command",
}
"""Where each command stands. It is imported when it is called: a question to a running node needs no QUIC."""


@click.group(
    cls=Words,
    elsewhere=ELSEWHERE,
    sections=SECTIONS,
    homes=HOMES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="p2praft")
@logs.log_options
def command(log_level: str | None, log_json: bool) -> None:
    """Nodes that find each other and become one replicated, fault-tolerant state machine.

    Try `p2praft demo` first.
    """
    logs.configure(log_level, as_json=log_json)
