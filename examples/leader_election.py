"""A group that replicates nothing and only elects: exactly one of the nodes does the work.

Run it: ``python examples/leader_election.py``
"""

from contextlib import AsyncExitStack

import anyio

from p2praft import ConsensusConfig, Group, GroupKey, Network


async def work(name: str, group: Group) -> None:
    """Work while leading, stand by otherwise."""
    while True:
        await group.when.is_leader()
        print(f"{name} leads: it does the work", flush=True)
        await group.when.is_follower()
        print(f"{name} stands by", flush=True)


async def main() -> None:
    """Three nodes; the leader hands over, and another takes up the work."""
    key = GroupKey.generate()
    async with AsyncExitStack() as stack:
        seeds: list[str] = []
        groups = []
        for _ in range(3):
            network = await stack.enter_async_context(Network("depot", listen="127.0.0.1:0", seeds=seeds))
            seeds = seeds or [str(network.address)]
            handle = network.group("dispatcher", secret=key, consensus=ConsensusConfig(expect=2))
            groups.append(await stack.enter_async_context(handle))
        for group in groups:
            await group.when.online()
        async with anyio.create_task_group() as tasks:
            for number, group in enumerate(groups, start=1):
                tasks.start_soon(work, f"node {number}", group)
            await anyio.sleep(0.3)
            leader = next(group for group in groups if group.is_leader)
            await leader.transfer_leadership()
            await anyio.sleep(0.3)
            tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main)
