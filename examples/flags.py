"""Feature flags behind HTTP: any node takes a change, every node answers from its own memory.

Run it: ``python examples/flags.py`` (needs the extra ``http``)

``PUT /flags/NAME`` takes ``{"percent": 25}``; ``GET /flags/NAME/for/USER`` says whether that user has it. Reads are weak: they
cost no network, go on while a node is cut off, and say by the map's version how new their answer is.
"""

import json
import urllib.request
import zlib
from contextlib import AsyncExitStack
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from p2praft import ConsensusConfig, Consistency, GroupKey, Network
from p2praft.collections import Map, MapMachine


def web(flags: Map, node: str) -> Starlette:
    """The HTTP face of one node."""

    async def put(request: Request) -> JSONResponse:
        version = await flags.set(request.path_params["name"], await request.json())
        return JSONResponse({"version": version, "node": node})

    async def has(request: Request) -> JSONResponse:
        name, user = request.path_params["name"], request.path_params["user"]
        flag = await flags.get(name, Consistency.WEAK)
        percent = flag.value["percent"] if flag else 0
        on = zlib.crc32(f"{name}/{user}".encode()) % 100 < percent  # the same on every node
        return JSONResponse({"on": on, "version": flag.version if flag else 0, "node": node})

    return Starlette(
        routes=[
            Route("/flags/{name}", put, methods=["PUT"]),
            Route("/flags/{name}/for/{user}", has),
        ]
    )


async def call(method: str, url: str, body: Any = None) -> Any:
    """One HTTP request, as any client would make it."""

    def send() -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=30) as answer:
            return json.load(answer)

    return await anyio.to_thread.run_sync(send)


async def main() -> None:
    """Three nodes with an HTTP server each; a flag is rolled out through one and asked of all."""
    key, config = GroupKey.generate(), ConsensusConfig(expect=2)
    async with AsyncExitStack() as stack:
        seeds: list[str] = []
        servers: list[uvicorn.Server] = []
        maps: list[Map] = []
        for number in (1, 2, 3):
            network = await stack.enter_async_context(Network("shop", listen="127.0.0.1:0", seeds=seeds))
            seeds = seeds or [str(network.address)]
            group = await stack.enter_async_context(
                network.group("flags", secret=key, machine=MapMachine(), consensus=config)
            )
            await group.when.online() if seeds and number > 1 else None  # two found it, so the first does not wait
            maps.append(Map(group))
            app = web(maps[-1], f"node-{number}")
            servers.append(uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off")))
        tasks = await stack.enter_async_context(anyio.create_task_group())
        for server in servers:
            tasks.start_soon(server.serve)
        while not all(server.started for server in servers):
            await anyio.sleep(0.01)
        urls = [f"http://127.0.0.1:{s.servers[0].sockets[0].getsockname()[1]}/flags/dark-mode" for s in servers]
        users = ["ann", "ben", "cem", "dora", "eve", "finn", "gus", "hana", "ida", "jon"]
        for percent, url in zip((0, 30, 100), urls, strict=True):
            put = await call("PUT", url, {"percent": percent})
            print(f"PUT dark-mode {percent:>3} %  through {put['node']}: version {put['version']}")
            answers: list[set[str]] = []
            for other in urls:
                while (await call("GET", f"{other}/for/ann"))["version"] < put["version"]:
                    await anyio.sleep(0.005)  # weak reads may be a moment behind
                answers.append({user for user in users if (await call("GET", f"{other}/for/{user}"))["on"]})
            assert answers[0] == answers[1] == answers[2], answers
            print(f"GET on all three nodes: {' '.join(sorted(answers[0])) or 'nobody'}")
        for server in servers:
            server.should_exit = True


if __name__ == "__main__":
    anyio.run(main)
