"""Three nodes in one process count together: the ten lines of the README, three times.

Run it: ``python examples/counter.py``
"""

from contextlib import AsyncExitStack
from typing import Any

import anyio

from p2praft import ApplyContext, ConsensusConfig, Consistency, GroupKey, Network, StateMachine


class Counter(StateMachine):
    """Adds numbers up."""

    signature = "counter/1"

    def __init__(self) -> None:
        self.value = 0

    def apply(self, command: Any, ctx: ApplyContext) -> Any:
        self.value += command
        return self.value

    def query(self, query: Any) -> Any:
        return self.value

    def snapshot(self) -> Any:
        return self.value

    def restore(self, snapshot: Any) -> None:
        self.value = snapshot


async def main() -> None:
    """Start three nodes, count on each, and ask each."""
    key = GroupKey.generate()
    config = ConsensusConfig(expect=2)  # more than half of the three: only one history can be born
    async with AsyncExitStack() as stack:
        seeds: list[str] = []
        groups = []
        for _ in range(3):
            network = await stack.enter_async_context(Network("factory", listen="127.0.0.1:0", seeds=seeds))
            seeds = seeds or [str(network.address)]
            handle = network.group("line-1", secret=key, machine=Counter(), consensus=config)
            groups.append(await stack.enter_async_context(handle))
        for group in groups:
            await group.when.online()
        leader = groups[0].leader
        assert leader is not None
        print(f"three nodes, {leader.short} leads")
        for number, group in enumerate(groups, start=1):
            print(f"node {number} adds 5: {await group.execute(5)}")
        for number, group in enumerate(groups, start=1):
            print(f"node {number} reads {(await group.query(None, Consistency.STRONG)).value}")


if __name__ == "__main__":
    anyio.run(main)
