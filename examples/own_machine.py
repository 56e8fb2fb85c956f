"""Test your own state machine under partitions, in virtual time: no sockets, no waiting, the same every time.

Run it: ``python examples/own_machine.py`` (needs ``trio``)
"""

from contextlib import AsyncExitStack
from typing import Any

import anyio
import trio.testing

from p2praft import ApplyContext, ConsensusConfig, GroupKey, Network, StateMachine
from p2praft.testing import MemoryNetwork


class Till(StateMachine):
    """Sells tickets that must never be sold twice."""

    signature = "till/1"

    def __init__(self) -> None:
        self.sold = 0

    def apply(self, command: Any, ctx: ApplyContext) -> Any:
        self.sold += 1
        return self.sold

    def query(self, query: Any) -> Any:
        return self.sold

    def snapshot(self) -> Any:
        return self.sold

    def restore(self, snapshot: Any) -> None:
        self.sold = snapshot


async def main() -> None:
    """Sell through every till while the leader is cut off, healed, cut off again."""
    lan = MemoryNetwork(seed=1, latency=0.005)
    key, config = GroupKey.generate(), ConsensusConfig(expect=2)
    async with AsyncExitStack() as stack:
        tills = {}
        seeds: list[str] = []
        for host in ("north", "south", "east"):
            network = Network("shop", listen=f"{host}:0", seeds=seeds, transport=lan.transport(host))
            await stack.enter_async_context(network)
            seeds = seeds or [str(network.address)]
            handle = network.group("tills", secret=key, machine=Till(), consensus=config)
            tills[host] = await stack.enter_async_context(handle)
        for till in tills.values():
            await till.when.online()
        tickets: list[int] = []
        for _ in range(4):
            cut = next(host for host, till in tills.items() if till.is_leader)
            lan.partition([cut], [host for host in tills if host != cut])
            for host in tills:
                if host != cut:
                    tickets.append(await tills[host].execute("sell", timeout=30))
            lan.heal()
            await tills[cut].when.online()
            tickets.append(await tills[cut].execute("sell", timeout=30))
        assert sorted(tickets) == list(range(1, 13)), tickets
        print(f"{len(tickets)} tickets sold, none twice, in {anyio.current_time():.0f} virtual seconds")


if __name__ == "__main__":
    clock = trio.testing.MockClock(autojump_threshold=0)
    anyio.run(main, backend="trio", backend_options={"clock": clock})
