"""``--node URL``: a command asks over the HTTP API, and says the same as over the control socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.from_thread
import pytest
from click.testing import Result

from p2praft.cli import api_client
from tests.http.conftest import serving

Command = Callable[..., Result]
TOKEN = "correct-horse-battery-staple"


@asynccontextmanager
async def _url(token: str | None) -> Any:
    async with serving(token=token) as served:
        yield f"http://{served.bound}"


@pytest.fixture
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a node's API."""
    token = getattr(request, "param", None)
    with anyio.from_thread.start_blocking_portal("asyncio") as portal:
        with portal.wrap_async_context_manager(_url(token)) as made:
            yield made


def lines(result: Result, status: int = 0) -> list[Any]:
    assert result.exit_code == status, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_what_runs_over_the_socket_runs_over_http(p2praft: Command, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at = ("--node", url, "--json")
    (group,) = lines(p2praft("groups", *at))
    assert (group["name"], group["role"]) == ("line", "leader")
    assert lines(p2praft("status", *at))[0]["network"] == "shop"
    assert lines(p2praft("peers", *at)) == []
    assert lines(p2praft("map", "set", "line", "a/b", '{"x": 1}', *at)) == [{"key": "a/b", "version": 1}]
    assert lines(p2praft("map", "get", "line", "a/b", "--weak", *at)) == [
        {"key": "a/b", "value": {"x": 1}, "version": 1}
    ]
    for key in "cdefg":
        lines(p2praft("map", "set", "line", key, key, *at))
    monkeypatch.setattr(api_client, "PAGE", 2)
    assert [entry["key"] for entry in lines(p2praft("map", "list", "line", *at))] == ["a/b", *"cdefg"]
    (refused,) = lines(p2praft("map", "set", "line", "c", "1", "--expect-version", "9", *at), 1)
    assert refused["error"] == "Conflict"
    assert lines(p2praft("map", "delete", "line", "c", *at))[0]["key"] == "c"
    (refused,) = lines(p2praft("map", "get", "line", "c", *at), 1)
    assert refused["error"] == "NoSuchKey"
    (refused,) = lines(p2praft("transfer", "line", *at), 1)
    assert refused["error"] == "NotAuthorized"
    (refused,) = lines(p2praft("map", "watch", "line", *at), 1)
    assert refused["error"] == "NotOverHttp"
    assert lines(p2praft("groups", "--json", env={"P2PRAFT_NODE": url}))[0]["name"] == "line"


@pytest.mark.parametrize("url", [TOKEN], indirect=True)
def test_the_token_comes_from_a_file(p2praft: Command, url: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    (refused,) = lines(p2praft("status", "--node", url, "--json"), 1)
    assert refused["error"] == "NoToken"
    file.write_text(f"{TOKEN}\n")
    assert lines(p2praft("status", "--node", url, "--json", env={api_client.TOKEN: str(file)}))[0]["network"] == "shop"
    (refused,) = lines(p2praft("status", "--node", url, "--json", env={api_client.TOKEN: str(tmp_path / "none")}), 1)
    assert (refused["error"], "cannot read" in refused["message"]) == ("NoToken", True)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://", "http://127.0.0.1:99999999", "http://[::1"])
def test_an_address_where_no_node_answers(p2praft: Command, address: str) -> None:
    (refused,) = lines(p2praft("status", "--node", address, "--json"), 1)
    assert refused["error"] == "NoNode"
