"""Who may ask at all: the outermost layer, before anything of a request is looked at.

On loopback no token is asked for: whoever can connect runs on this machine. That leaves web pages in a browser here,
which reach loopback too. Two checks keep them out: a *Host* that is no name of loopback is what DNS rebinding brings, and
an *Origin* other than our own is another site's script. With a token neither could do harm, for a browser adds none by
itself; the Origin is checked all the same.
"""

from __future__ import annotations

import hmac
import re

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from p2praft.http.problems import Problem

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
MAX_BODY = 1024 * 1024
"""Bytes of a request's body at most: the largest value of a map twice, for JSON is longer than MessagePack."""
MAX_QUERY = 16 * 1024
"""Bytes of a query string at most."""
BODY_TIME = 10.0
"""Seconds that a client may take to send its body."""
SEND_TIME = 20.0
"""Seconds that a client may leave a piece of an answer unread."""
HOST = re.compile(r"(?:\[(?P<bracketed>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9.-]+))(?::[0-9]*)?")
"""What a Host header looks like: what stands in front of the port is all of the name, whatever comes behind."""
OPEN = ("/", "/healthz", "/readyz")
"""Answered without a token: they say nothing of the network. So is what stands under ``/static/``: the empty page."""
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)


class Guard:
    """Refuses what may not ask, and bounds what may.

    Args:
        app: The application behind it.
        token: What ``Authorization: Bearer`` must carry; None on loopback.
    """

    def __init__(self, app: ASGIApp, *, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        guarded = _Sender(send)
        # Routed by what was sent, not by what it decodes to: a group's or a key's name may hold a slash.
        scope = {**scope, "path": scope.get("raw_path", b"/").decode("latin-1").partition("?")[0]}
        try:
            self._check(scope)
            await self._app(scope, _bounded(receive), guarded)
        except Problem as problem:
            if not guarded.started:
                await problem.response()(scope, receive, guarded)
        except TimeoutError:
            return  # the client no longer reads; uvicorn closes what was not finished

    def _check(self, scope: Scope) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if len(scope["query_string"]) > MAX_QUERY:
            raise Problem(400, "TooLarge", f"a query string has at most {MAX_QUERY} bytes")
        if self._token is None and host_name(host) not in LOOPBACK:
            raise Problem(
                403, "BadHost", f"the Host {host[:80]!r} is no name of this machine's loopback; ask for 127.0.0.1"
            )
        origin = headers.get(b"origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            raise Problem(403, "BadOrigin", f"requests of another site's page ({origin[:80]}) are not answered")
        if headers.get(b"sec-fetch-site") in ("cross-site", "same-site") and scope["method"] != "GET":
            raise Problem(403, "BadOrigin", "requests of another site's page are not answered")
        if headers.get(b"content-length", "0").isdigit() and int(headers.get(b"content-length", "0")) > MAX_BODY:
            raise Problem(413, "TooLarge", f"a body has at most {MAX_BODY} bytes")
        path = scope["path"]
        if self._token is not None and path not in OPEN and not path.startswith("/static/"):
            self._check_token(headers.get(b"authorization", ""), self._token)

    @staticmethod
    def _check_token(authorization: str, token: str) -> None:
        scheme, _, given = authorization.partition(" ")
        given = given.strip()
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode(), token.encode()):
            what = "a wrong token" if given else "no token"
            raise Problem(
                401,
                "NoToken",
                f"{what} was given; send `Authorization: Bearer TOKEN` with what stands in the node's --api-token-file",
                {"www-authenticate": 'Bearer realm="p2praft"'},
            )


def host_name(host: str) -> str:
    """The name in a Host header, without the port; empty if the header is not just that."""
    found = HOST.fullmatch(host)
    return (found["bracketed"] or found["name"]).lower() if found else ""


class _Sender:
    """Sends an answer with our headers, each piece within a bound of time."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            have = {name for name, _ in message.get("headers", ())}
            message["headers"] = [*message.get("headers", ()), *(pair for pair in HEADERS if pair[0] not in have)]
        with anyio.fail_after(SEND_TIME):
            await self._send(message)


def _bounded(receive: Receive) -> Receive:
    """Takes a body of bounded size, in bounded time; then only waits for the client to go."""
    size = 0
    more = True

    async def bounded() -> Message:
        nonlocal size, more
        if not more:
            return await receive()
        try:
            with anyio.fail_after(BODY_TIME):
                message = await receive()
        except TimeoutError:
            raise Problem(408, "TooSlow", f"the body was not here within {BODY_TIME:g} s") from None
        size += len(message.get("body", b""))
        more = bool(message.get("more_body"))
        if size > MAX_BODY:
            raise Problem(413, "TooLarge", f"a body has at most {MAX_BODY} bytes")
        return message

    return bounded
