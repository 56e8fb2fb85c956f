"""``p2praft id``: identity key files."""

from __future__ import annotations

import os

import click

from p2praft.cli.options import json_option
from p2praft.cli.output import emit, fail
from p2praft.cli.words import Words
from transport import SecretKey, TransportError


@click.group("id", cls=Words)
def identity_group() -> None:
    """Identity key files."""


@identity_group.command("new")
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


@identity_group.command("show")
@click.argument("file", type=click.Path(), metavar="FILE|DIR")
@json_option
def id_show(file: str, as_json: bool) -> None:
    """Show the peer id of the key in FILE, or of the node with data directory DIR."""
    if os.path.isdir(file):
        file = os.path.join(file, "identity.key")
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
