"""Commands that answer a word they do not know with the one that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import click

ELSEWHERE = {
    **dict.fromkeys(("start", "run", "agent", "join", "server"), "up"),
    **dict.fromkeys(("member", "members", "nodes", "node", "list"), "peers"),
    **dict.fromkeys(("info", "ps", "ping"), "status"),
    **dict.fromkeys(("ls", "group"), "groups"),
    **dict.fromkeys(("move-leader", "step-down"), "transfer"),
    **dict.fromkeys(("stats", "monitor", "watch"), "top"),
    **dict.fromkeys(("check", "diagnose", "debug"), "doctor"),
    **dict.fromkeys(("benchmark", "perf"), "bench"),
    **dict.fromkeys(("get", "set", "delete"), "map {}"),
    **dict.fromkeys(("put", "kv"), "map set"),
    **dict.fromkeys(("del", "rm"), "map delete"),
    **dict.fromkeys(("backup", "save"), "snapshot save"),
    **dict.fromkeys(("restore",), "snapshot restore"),
    **dict.fromkeys(("archives", "histories"), "archive list"),
    **dict.fromkeys(("replay",), "archive replay"),
    **dict.fromkeys(("keygen", "key", "init"), "id new"),
    **dict.fromkeys(("version",), "--version"),
}
"""What other tools call what we have."""
IN_A_GROUP = {"put": "set", "del": "delete", "rm": "delete", "remove": "delete", "ls": "list", "status": "show"}
"""The same for the words behind `map`, `id` and `snapshot`."""


class Words(click.Group):
    """A group of commands; an unknown one is refused with a suggestion.

    Args:
        elsewhere: What others call its commands.
        sections: Its commands by what people want to do, for the list of them.
        homes: Where commands stand that are imported when they are called, as ``module:name``.
    """

    def __init__(
        self,
        *args: Any,
        elsewhere: Mapping[str, str] = IN_A_GROUP,
        sections: Mapping[str, Sequence[str]] | None = None,
        homes: Mapping[str, str] | None = None,
        **attrs: Any,
    ) -> None:
        super().__init__(*args, **attrs)
        self._elsewhere = elsewhere
        self._sections = sections or {}
        self._homes = homes or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in order."""
        return sorted({*super().list_commands(ctx), *self._homes})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name."""
        if cmd_name in self._homes and cmd_name not in self.commands:
            module, _, name = self._homes[cmd_name].partition(":")
            self.add_command(getattr(import_module(module), name))
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by what people want to do."""
        listed = [name for names in self._sections.values() for name in names]
        rest = [name for name in self.list_commands(ctx) if name not in listed]
        for title, names in {**self._sections, "More" if listed else "Commands": rest}.items():
            found = [(name, self.get_command(ctx, name)) for name in names]
            rows = [(name, inner.get_short_help_str(62)) for name, inner in found if inner and not inner.hidden]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if self.get_command(ctx, word) is None and not word.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"there is no command {word!r}.{self._hint(ctx, word)}", ctx)
        return super().resolve_command(ctx, args)

    def _hint(self, ctx: click.Context, word: str) -> str:
        known = self.list_commands(ctx)
        meant = self._elsewhere.get(word, "").format(word)
        if meant and (meant.startswith("-") or meant.split()[0] in known):
            return f" Did you mean `{ctx.command_path} {meant}`?"
        close = difflib.get_close_matches(word, [*known, *self._elsewhere], n=3, cutoff=0.6)
        meanings = (name if name in known else self._elsewhere[name].format(name) for name in close)
        if near := dict.fromkeys(name for name in meanings if name.split()[0] in known):
            return f" Did you mean {' or '.join(f'`{ctx.command_path} {name}`' for name in near)}?"
        return f" `{ctx.command_path} --help` lists what there is."
