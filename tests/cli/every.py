"""All commands of a group, also those that are imported only when they are called."""

from __future__ import annotations

import click


def commands_of(group: click.Command) -> dict[str, click.Command]:
    """By name."""
    assert isinstance(group, click.Group)
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: inner for name, inner in found.items() if inner is not None}
