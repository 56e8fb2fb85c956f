"""The ASGI application. It runs on both of anyio's back ends, under any ASGI server."""

from __future__ import annotations

from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from p2praft import __version__
from p2praft.http import health, live, maps, node
from p2praft.http.feed import EventLog
from p2praft.http.guard import Guard
from p2praft.http.openapi import document
from p2praft.http.operation import Api, Operation
from p2praft.http.page import ROUTES
from p2praft.http.problems import Problem, json_response
from p2praft.network import Network


def operations() -> tuple[Operation, ...]:
    """All that can be asked for, but for the page and the document."""
    return (*node.operations(), *maps.operations(), *live.operations(), *health.operations())


def create_app(network: Network, events: EventLog, *, token: str | None = None) -> ASGIApp:
    """The application.

    Args:
        network: The node; must be entered while requests are served.
        events: What follows it; its ``run`` is the caller's to start.
        token: What callers must know; None only if none but this machine's users can connect.
    """
    api = Api(network=network, started=anyio.current_time(), events=events)
    table = operations()
    described = document(table, version=__version__, token=token is not None)

    async def openapi(request: Request) -> Response:
        return json_response(described)

    routes = [
        *ROUTES,
        Route("/openapi.json", openapi),
        *(_route(path, api, [entry for entry in table if entry.path == path]) for path in _paths(table)),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refused})
    app.router.redirect_slashes = False  # a key may end with a slash
    return Guard(app, token=token)


def _paths(table: tuple[Operation, ...]) -> list[str]:
    return list(dict.fromkeys(entry.path for entry in table))


def _route(path: str, api: Api, entries: list[Operation]) -> Route:
    """All methods of one path: the router would take the first route of a path for the only one."""
    endpoints = {entry.method: entry.endpoint(api) for entry in entries}

    async def answer(request: Request) -> Response:
        return await endpoints["GET" if request.method == "HEAD" else request.method](request)

    return Route(path.replace("{key}", "{key:path}"), answer, methods=list(endpoints))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers: dict[str, Any] = dict(error.headers or {})
    if error.status_code == 404:
        text = f"there is nothing at {request.url.path[:80]}; /openapi.json lists what there is"
        return Problem(404, "NotFound", text).response()
    if error.status_code == 405:
        text = f"{request.method} is not possible here; there is: {headers.get('Allow', 'GET')}"
        return Problem(405, "NoMethod", text, headers).response()
    return Problem(error.status_code, "BadRequest", str(error.detail), headers).response()
