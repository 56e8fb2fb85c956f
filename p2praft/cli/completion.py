"""What the shell may complete: running nodes and their groups."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from p2praft.cli.output import CommandError
from p2praft.cli.runtime import find_node, runtime_directory

PATIENCE = 0.5
"""Seconds that a node has to say which groups it serves, while somebody waits at the prompt."""


def complete_node(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Running nodes, by the beginning of their ids; and folders, which may be data directories."""
    with contextlib.suppress(CommandError, OSError):
        found = [path.stem[:8] for path in sorted(runtime_directory().glob("*.sock"))]
        matching = [CompletionItem(name) for name in found if name.startswith(incomplete)]
        if matching:
            return matching
    return [CompletionItem(incomplete, type="dir")]


def complete_group(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The groups that the node serves which the command would ask."""
    with contextlib.suppress(CommandError, OSError, ValueError, KeyError, TypeError):
        names = [group["name"] for group in _groups(find_node(context.params.get("node")))]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return []


def _groups(path: Path) -> list[dict[str, Any]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(PATIENCE)
        client.connect(str(path))
        client.sendall(b'{"op": "groups"}\n')
        with client.makefile("rb") as answer:
            groups: list[dict[str, Any]] = json.loads(answer.readline())["result"]
            return groups
