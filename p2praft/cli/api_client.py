"""A command that asks a node by the address of its HTTP API: the same requests, translated.

Needs no extra: the standard library speaks HTTP well enough for one question.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any, TypeGuard
from urllib.parse import quote, urlencode, urlsplit

import anyio.to_thread

from p2praft.cli.output import CommandError

PATIENCE = 30.0
"""Seconds that a client waits for a reply, beyond the timeout that its request names."""
PAGE = 10_000
"""Entries that are asked for at a time."""
TOKEN = "P2PRAFT_API_TOKEN_FILE"
"""The environment's variable that says where the token of an API beyond loopback stands."""

Request = dict[str, Any]


def is_api(choice: str | None) -> TypeGuard[str]:
    """Whether ``--node`` names an API rather than a data directory or an id."""
    return choice is not None and choice.startswith(("http://", "https://"))


async def ask_api(url: str, request: Request) -> Any:
    """Ask the node whose API is at ``url``, such as ``http://127.0.0.1:8600``.

    Raises:
        CommandError: It does not answer, it refused, or this cannot be asked over HTTP.
    """
    if request["op"] == "map" and request["action"] == "list":
        return await _listed(url, request)
    method, path, query, body = _translated(request)
    return await _asked(url, request, method, path, query, body)


async def _listed(url: str, request: Request) -> list[Any]:
    """All pages of a listing."""
    path = f"/v1/map/{quote(str(request['group']), safe='')}"
    query: dict[str, Any] = {"prefix": request.get("prefix", ""), "limit": PAGE, "consistency": _consistency(request)}
    found: list[Any] = []
    while True:
        page = await _asked(url, request, "GET", path, query, None)
        found += page
        if len(page) < PAGE:
            return found
        query["after"] = page[-1]["key"]


def _consistency(request: Request) -> str:
    return "weak" if request.get("weak") else "strong"


async def _asked(url: str, request: Request, method: str, path: str, query: dict[str, Any], body: bytes | None) -> Any:
    asked = {name: str(value) for name, value in query.items() if value is not None}
    try:
        port = urlsplit(url).port
    except ValueError:
        port = -1
    if port == -1 or not urlsplit(url).hostname:
        raise CommandError("NoNode", f"{url} is no API address; one looks like http://127.0.0.1:8600")
    made = urllib.request.Request(f"{url.rstrip('/')}{path}?{urlencode(asked)}", body, _headers(), method=method)
    timeout = PATIENCE + float(request.get("timeout") or 0)
    # Abandoned when the command is interrupted: it waits for the network, and holds nothing.
    answer = await anyio.to_thread.run_sync(_fetch, made, timeout, url, abandon_on_cancel=True)
    if "error" in answer and "message" in answer:
        raise CommandError(answer["error"], answer["message"])
    return {"text": answer["explanation"]} if request["op"] == "explain" else answer


def _fetch(made: urllib.request.Request, timeout: float, url: str) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # nodes are near: no proxy knows them
    try:
        try:
            with opener.open(made, timeout=timeout) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return json.load(error)
    except TimeoutError:
        raise CommandError("NoAnswer", f"the node at {url} did not answer within {timeout:g} s") from None
    except ValueError:
        raise CommandError("NoNode", f"what answers at {url} is no p2praft node") from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise CommandError(
            "NoNode", f"no node answers at {url} ({reason}); start one with `p2praft up --api …`"
        ) from None


def _headers() -> dict[str, str]:
    path = os.environ.get(TOKEN)
    if not path:
        return {}
    try:
        with open(path) as file:
            return {"Authorization": f"Bearer {file.read().strip()}"}
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError("NoToken", f"cannot read {path}, which {TOKEN} names: {error}") from None


def _translated(request: Request) -> tuple[str, str, dict[str, Any], bytes | None]:
    """Method, path, query and body of a control request."""
    group = quote(str(request.get("group", "")), safe="")
    match request:
        case {"op": "status" | "peers" | "groups" as what}:
            return "GET", f"/v1/{what}", {}, None
        case {"op": "explain", "peer": peer}:
            return "GET", f"/v1/peers/{quote(peer, safe='')}", {}, None
        case {"op": "archive", "action": "list"}:
            return "GET", f"/v1/groups/{group}/archives", {}, None
        case {"op": "archive", "action": "show", "number": number, "last": last}:
            return "GET", f"/v1/groups/{group}/archives/{int(number)}", {"last": last}, None
        case {"op": "transfer"}:
            return "POST", f"/v1/groups/{group}/transfer", {"to": request.get("to")}, None
        case {"op": "leave"}:
            return "POST", f"/v1/groups/{group}/leave", {}, None
        case {"op": "map", "action": action}:
            key = f"/v1/map/{group}/{quote(str(request.get('key', '')), safe='')}"
            given = {name: request.get(name) for name in ("expected", "ttl", "timeout")}
            if action == "get":
                return "GET", key, {"consistency": _consistency(request)}, None
            if action == "set":
                return "PUT", key, given, json.dumps(request["value"]).encode()
            if action == "delete":
                return "DELETE", key, {**given, "ttl": None}, None
    raise CommandError(
        "NotOverHttp", "this cannot be asked over the HTTP API; run it beside the node, with --node DIR or an id"
    )
