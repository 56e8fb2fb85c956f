"""One member of the group under test, in a process of its own: takes orders on standard input, many at a time.

An order is a line of JSON with an ``id``; so is its answer, which may come after those to later orders.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

import anyio

from p2praft import ConsensusConfig, Group, GroupClosed, GroupKey, Network, P2PRaftError
from tests.linearizability.machine import Registers, perform


async def main() -> None:
    """Join, say so, obey."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--identity", required=True)
    parser.add_argument("--data-dir")
    parser.add_argument("--seed", action="append", default=[])
    parser.add_argument("--expect", type=int, required=True)
    parser.add_argument("--voters", type=int, required=True)
    options = parser.parse_args()
    network = Network(
        "chaos", identity=options.identity, listen="127.0.0.1:0", seeds=options.seed, data_dir=options.data_dir
    )
    config = ConsensusConfig(expect=options.expect, max_voters=options.voters)
    async with network:
        handle = network.group("chaos", secret=GroupKey(b"c" * 32), machine=Registers(), consensus=config)
        async with handle as group, anyio.create_task_group() as tasks:
            say({"event": "ready", "address": str(network.address)})
            tasks.start_soon(tell_leaders, group)
            await take_orders(group, tasks)
            tasks.cancel_scope.cancel()


async def take_orders(group: Group, tasks: anyio.abc.TaskGroup) -> None:
    """Start on every order at once, until standard input ends."""
    buffer = b""
    while True:
        await anyio.wait_readable(0)
        data = os.read(0, 65536)
        if not data:
            return
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            tasks.start_soon(obey, group, json.loads(line))


async def obey(group: Group, order: dict[str, Any]) -> None:
    """Carry out one order and answer it."""
    try:
        answer = {"result": await carry_out(group, order)}
    except P2PRaftError as error:
        answer = {"error": type(error).__name__, "text": str(error)}
    say({"id": order["id"], **answer})


async def carry_out(group: Group, order: dict[str, Any]) -> Any:
    """What the order gives."""
    match order["do"]:
        case "state":
            return state(group)
        case "transfer":
            return str(await group.transfer_leadership(timeout=order["timeout"]))
        case kind:
            timeout, linger = order["timeout"], order["linger"]
            return await perform(group, kind, order["key"], order["argument"], timeout=timeout, linger=linger)


def state(group: Group) -> dict[str, Any]:
    """What this member knows of itself and the group; who is a voter is told apart by incarnation."""
    worker = group._worker
    if worker.failure is not None:
        raise worker.failure
    return {
        "online": group.online,
        "is_leader": group.is_leader,
        "committed": group.committed,
        "me": worker.me.incarnation.hex(),
        "voters": sorted(member.incarnation.hex() for member in worker.engine.voters),
        "voters_are_committed": worker.engine.has_committed_voters,
    }


async def tell_leaders(group: Group) -> None:
    """Say who leads, whenever that changes."""
    try:
        async for event in group.events():
            if event.kind == "leader" and event.peer is not None:
                say({"event": "leader", "term": event.term})
    except GroupClosed:
        return


def say(value: dict[str, Any]) -> None:
    """One line of JSON."""
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    sys.exit(anyio.run(main))
