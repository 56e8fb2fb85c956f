"""A group chat without a server: everybody sees the same lines in the same order, and who comes late reads them all.

A play in one process:    ``python examples/chat.py``
Real people, first one:   ``python examples/chat.py ann`` (prints the line that others join with)
"""

import sys
from contextlib import AsyncExitStack, suppress
from typing import Any

import anyio

from p2praft import ApplyContext, ConsensusConfig, Consistency, Group, GroupKey, Network, StateMachine

SECRET = "a room for friends"  # real rooms want a better one


class Room(StateMachine):
    """The lines said so far."""

    signature = "chat/1"

    def __init__(self) -> None:
        self.lines: list[list[str]] = []

    def apply(self, command: Any, ctx: ApplyContext) -> Any:
        name, text = command
        self.lines.append([name, text])
        return len(self.lines)

    def query(self, query: Any) -> Any:
        return self.lines[query:]  # all from that line on

    def snapshot(self) -> Any:
        return list(self.lines)

    def restore(self, snapshot: Any) -> None:
        self.lines = list(snapshot)


async def listen(group: Group, show: Any) -> None:
    """Show every line once, in the room's order, as soon as it is said."""
    seen = 0
    while True:
        news = await group.query(seen, Consistency.WEAK)
        for name, text in news.value:
            show(name, text)
        seen += len(news.value)
        await group.when.committed.reaches(news.index + 1)


PLAY = [
    ("ann", "the kettle is on"),
    ("ben", "who is bringing cake?"),
    ("cem", "me! the train is late, though"),
    ("ann", "cem, you lead the singing today"),
    ("cem", "la la la"),
]


async def play() -> None:
    """Three friends talk; dora comes late; all of them heard the same."""
    key, config = GroupKey.generate(), ConsensusConfig(expect=2)
    heard: dict[str, list[str]] = {}
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(anyio.create_task_group())
        seeds: list[str] = []
        groups: dict[str, Group] = {}

        async def enter(name: str) -> None:
            network = await stack.enter_async_context(Network("chat", listen="127.0.0.1:0", seeds=seeds))
            seeds[:] = seeds or [str(network.address)]
            groups[name] = await stack.enter_async_context(
                network.group("kitchen", secret=key, machine=Room(), consensus=config)
            )
            lines = heard.setdefault(name, [])
            tasks.start_soon(listen, groups[name], lambda who, text: lines.append(f"{who}: {text}"))

        for name in ("ann", "ben", "cem"):
            await enter(name)
        for name, text in PLAY:
            await groups[name].execute([name, text])
            print(f"{name:>5}: {text}")
        await enter("dora")
        with anyio.fail_after(20):
            while len({tuple(lines) for lines in heard.values()}) > 1 or len(heard["dora"]) < len(PLAY):
                await anyio.sleep(0.02)
        print(f"dora came late and has read all {len(heard['dora'])} lines, in the order that everybody saw them")
        tasks.cancel_scope.cancel()


async def talk(name: str, seeds: list[str]) -> None:
    """A real chat: what is typed is said."""
    async with (
        Network("chat", seeds=seeds) as network,
        network.group("kitchen", secret=SECRET, machine=Room()) as group,
        anyio.create_task_group() as tasks,
    ):
        print(f"others join with: python examples/chat.py NAME {network.address}")
        await group.when.online()
        tasks.start_soon(listen, group, lambda who, text: who == name or print(f"{who}: {text}"))
        while line := await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            if line.strip():
                await group.execute([name, line.strip()])
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        anyio.run(talk, sys.argv[1], sys.argv[2:]) if sys.argv[1:] else anyio.run(play)
