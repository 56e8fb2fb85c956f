"""The dashboard: one page of static files, which asks the API like anybody else."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

MEDIA = {
    "index.html": "text/html",
    "style.css": "text/css",
    "mesh.js": "text/javascript",
    "app.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing inline, nothing from elsewhere, no frames."""


@cache
def _content(name: str) -> bytes:
    return files("p2praft.http").joinpath("static", name).read_bytes()


def _answer(name: str) -> Response:
    headers = {"content-security-policy": POLICY, "cache-control": "no-cache"}
    return Response(_content(name), media_type=MEDIA[name], headers=headers)


async def page(request: Request) -> Response:
    """The page."""
    return _answer("index.html")


async def static(request: Request) -> Response:
    """What belongs to it."""
    name = request.path_params["name"]
    return _answer(name) if name in MEDIA else Response(status_code=404)


ROUTES = (Route("/", page), Route("/static/{name}", static))
