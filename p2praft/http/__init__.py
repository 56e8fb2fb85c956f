"""The HTTP API and the dashboard of a node (extra ``http``). ``p2praft up --api`` serves it, and so can an application::

    async with Network("shop", ...) as net, net.group("tills", ...), anyio.create_task_group() as tasks:
        await tasks.start(serve_api, net, ApiConfig(listen=HostPort.parse("127.0.0.1:8600")))

A map of the room::

    server.py       the listening socket and uvicorn, as a task of the node's own event loop
    guard.py        who may ask at all: Host, Origin, token; sizes and times
    app.py          the ASGI application: one table of operations
    operation.py    what an operation is: its parameters, its handler, its place in the OpenAPI document
    node.py maps.py live.py health.py page.py   the operations
    openapi.py      the document, made from that table
"""

from __future__ import annotations

from p2praft.http.app import create_app, operations
from p2praft.http.feed import EventLog
from p2praft.http.server import ApiConfig, serve_api
from p2praft.http.token import read_token

__all__ = ["ApiConfig", "EventLog", "create_app", "operations", "read_token", "serve_api"]
