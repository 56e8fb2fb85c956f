"""``up --api``: what it refuses, in words, before anything runs."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tests.cli.conftest import p2praft, runtime

__all__ = ["p2praft", "runtime"]
TOKEN = "correct-horse-battery-staple"


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (("--api", "nonsense"), 2, "host:port"),
        (("--api-token-file", "somewhere"), 2, "--api-token-file goes with --api"),
        (("--api", "0.0.0.0:0"), 1, "give it a token"),
        (("--api", "0.0.0.0:0", "--api-token-file", "/nowhere/token"), 1, "openssl rand"),
        (("--api", "192.0.2.77:0", "--api-token-file", "TOKEN"), 1, "cannot listen on 192.0.2.77:0"),
        (("--api", "127.0.0.1:TAKEN"), 1, "is another node's API there"),
    ],
)
def test_what_is_refused_says_why(
    p2praft: Callable[..., Result],
    tmp_path: Path,
    options: tuple[str, ...],
    status: int,
    says: str,
) -> None:
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        named = {"TOKEN": str(token), "127.0.0.1:TAKEN": f"127.0.0.1:{taken.getsockname()[1]}"}
        given = [named.get(option, option) for option in options]
        result = p2praft("up", "--network", "shop", "--listen", "127.0.0.1:0", *given, "--json")
    assert result.exit_code == status, result.output
    assert says in result.output
    assert "Traceback" not in result.output
    assert TOKEN not in result.output
