"""Who may ask: names of loopback, our own page, holders of the token; and nobody for ever."""

from __future__ import annotations

import time
from pathlib import Path

import anyio
import pytest

from p2praft import ConfigError, HostPort, KeyFileError
from p2praft.errors import BindError
from p2praft.http import ApiConfig, guard, read_token, server
from p2praft.http.guard import host_name
from tests.http.conftest import Served, serving

pytestmark = pytest.mark.anyio
ALMOST = ("[::1].evil.example", "[::1]x", "localhost:80@evil.example", "127.0.0.1:80:80", "evil.example@localhost")
"""They begin or end like a name of loopback."""
TOKEN = "correct-horse-battery-staple"


async def test_names_of_loopback_are_answered(served: Served) -> None:
    for host in ("localhost:8600", "127.0.0.1", "[::1]:8600", "LOCALHOST:1"):
        assert (await served.get("/v1/status", headers={"host": host}))[0] == 200, host


async def test_a_rebound_name_is_not(served: Served) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example:8600", "localhost.evil.example", "10.0.0.5:8600", "", *ALMOST):
        for path in ("/v1/status", "/", "/metrics", "/healthz"):
            status, body = await served.get(path, headers={"host": host})
            assert (status, body["error"]) == (403, "BadHost"), (host, path)


async def test_another_sites_page_cannot_write(served: Served) -> None:
    cases = (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},  # another server on this machine
        {"sec-fetch-site": "cross-site"},
    )
    for headers in cases:
        status, body = await served.ask("PUT", "/v1/map/line/a", content="1", headers=headers)
        assert (status, body["error"]) == (403, "BadOrigin"), headers
    assert await served.get("/v1/map/line") == (200, [])


async def test_our_own_page_can(served: Served) -> None:
    headers = {"origin": f"http://{served.bound}", "sec-fetch-site": "same-origin"}
    assert (await served.ask("PUT", "/v1/map/line/a", content="1", headers=headers))[0] == 200


async def test_with_a_token_nothing_but_health_and_the_empty_page_is_open() -> None:
    async with serving(token=TOKEN) as served:
        for path in ("/v1/status", "/v1/map/line", "/v1/events", "/metrics", "/openapi.json", "/nowhere"):
            for headers in (
                {},
                {"authorization": f"Bearer {TOKEN}x"},
                {"authorization": TOKEN},
                {"authorization": f"Basic {TOKEN}"},
                {"authorization": "Bearer"},
                {"authorization": "Bearer ä"},
            ):
                answer = await served.client.get(path, headers={k.encode(): v.encode() for k, v in headers.items()})
                assert (answer.status_code, answer.json()["error"]) == (401, "NoToken")
                assert answer.headers["www-authenticate"].startswith("Bearer")
                assert TOKEN not in answer.text
        for path in ("/", "/static/app.js", "/healthz", "/readyz"):
            assert (await served.client.get(path)).status_code == 200
        with_token = {"authorization": f"Bearer {TOKEN}"}
        assert (await served.get("/v1/status", headers=with_token))[0] == 200
        assert (await served.get("/v1/status", headers={**with_token, "host": "node.example"}))[0] == 200
        document = (await served.get("/openapi.json", headers=with_token))[1]
        assert document["security"] == [{"token": []}]


async def test_every_answer_forbids_guessing_framing_and_telling(served: Served) -> None:
    for path in ("/", "/v1/status", "/nowhere", "/static/app.js"):
        headers = (await served.client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers
    policy = (await served.client.get("/")).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("host", "name"), [("a:1", "a"), ("[::1]:5", "::1"), ("[::1", ""), ("LocalHost", "localhost"), ("", "")]
)
def test_host_names(host: str, name: str) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize("listen", ["0.0.0.0:8600", "10.0.0.5:8600", "node.example:8600", "[::]:8600"])
def test_beyond_loopback_a_token_is_needed(listen: str) -> None:
    with pytest.raises(ConfigError, match="--api-token-file"):
        ApiConfig(listen=HostPort.parse(listen))
    ApiConfig(listen=HostPort.parse(listen), token=TOKEN)


def test_token_files(tmp_path: Path) -> None:
    path = tmp_path / "token"
    with pytest.raises(KeyFileError, match="openssl rand"):
        read_token(path)
    path.touch(mode=0o600)
    for text in ("", "short", "two words that are long enough", "ümlaut-that-is-long-enough"):
        path.write_text(text)
        with pytest.raises(KeyFileError, match="holds no API token"):
            read_token(path)
    path.write_text(f"{TOKEN}\n")
    assert read_token(path) == TOKEN
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_token(path)
    with pytest.raises(KeyFileError, match="cannot read"):
        read_token(tmp_path)


async def test_an_address_in_use_says_so(served: Served) -> None:
    with pytest.raises(BindError, match=r"cannot listen on 127\.0\.0\.1"):
        await server.serve_api(served.network, ApiConfig(listen=served.bound))


async def _closed(stream: anyio.abc.SocketStream) -> bytes:
    received = b""
    with anyio.fail_after(10):
        try:
            while True:
                received += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return received


async def test_a_client_that_does_not_finish_its_headers_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEADER_TIME", 0.3)
    async with serving() as served:
        for begun in (b"", b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX: "):
            async with await anyio.connect_tcp("127.0.0.1", served.bound.port) as stream:
                if begun:
                    await stream.send(begun)
                assert await _closed(stream) == b""


async def test_a_client_that_drips_headers_is_let_go_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEADER_TIME", 0.5)
    async with serving() as served:
        async with await anyio.connect_tcp("127.0.0.1", served.bound.port) as stream:
            await stream.send(b"GET / HTTP/1.1\r\n")
            began = time.monotonic()
            with pytest.raises((anyio.BrokenResourceError, anyio.ClosedResourceError)):
                while time.monotonic() < began + 20:
                    await stream.send(b"a: b\r\n")
                    await anyio.sleep(0.1)


async def test_a_body_that_does_not_come_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_TIME", 0.3)
    async with serving() as served:
        async with await anyio.connect_tcp("127.0.0.1", served.bound.port) as stream:
            await stream.send(b"PUT /v1/map/line/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n1")
            answer = b""
            with anyio.fail_after(10):
                while b"TooSlow" not in answer:
                    answer += await stream.receive()
            assert answer.startswith(b"HTTP/1.1 408")


async def test_garbage_hurts_nobody(served: Served) -> None:
    for data in (
        b"\x00" * 1000,
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: " + b"x" * 100_000 + b"\r\n",
        b"\x16\x03\x01\x02",
    ):
        async with await anyio.connect_tcp("127.0.0.1", served.bound.port) as stream:
            await stream.send(data)
            await stream.send_eof()
            await _closed(stream)
    assert (await served.get("/healthz"))[0] == 200
