"""A node over the in-memory network with its API on a real socket of loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from p2praft import ConsensusConfig, Group, GroupKey, HostPort, Network
from p2praft.collections import MapMachine
from p2praft.groups.machine import StateMachine
from p2praft.http import ApiConfig, serve_api
from transport import MemoryNetwork
from transport.tasks import owned_tasks

KEY = GroupKey(b"k" * 32)
ALONE = ConsensusConfig(bootstrap_delay=0)  # nobody to wait for
NEVER = ConsensusConfig(expect=3)  # waits for members that do not come


@pytest.fixture
def anyio_backend() -> str:
    """uvicorn runs on asyncio alone."""
    return "asyncio"


class Served:
    """A node and a client of its API."""

    def __init__(self, network: Network, group: Group, client: httpx.AsyncClient, bound: HostPort) -> None:
        self.network = network
        self.group = group
        self.client = client
        self.bound = bound

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        """The status and the JSON of an answer."""
        answer = await self.client.request(method, path, **more)
        return answer.status_code, answer.json()

    async def get(self, path: str, **more: Any) -> tuple[int, Any]:
        return await self.ask("GET", path, **more)

    async def put(self, path: str, value: Any) -> tuple[int, Any]:
        return await self.ask("PUT", path, content=json.dumps(value))


@asynccontextmanager
async def serving(
    *,
    token: str | None = None,
    machine: StateMachine | None = None,
    consensus: ConsensusConfig = ALONE,
    wait_online: bool = True,
    group: str = "line",
) -> AsyncIterator[Served]:
    memory = MemoryNetwork(seed=1)
    with anyio.fail_after(60):
        async with (
            Network("shop", listen="host:0", transport=memory.transport("host")) as network,
            network.group(group, secret=KEY, machine=machine or MapMachine(), consensus=consensus) as member,
            owned_tasks() as tasks,
        ):
            config = ApiConfig(listen=HostPort("127.0.0.1", 0), token=token)
            bound: HostPort = await tasks.start(serve_api, network, config)
            if wait_online:
                await member.when.online()
            async with httpx.AsyncClient(base_url=f"http://{bound}", timeout=20, trust_env=False) as client:
                yield Served(network, member, client, bound)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as made:
        yield made
