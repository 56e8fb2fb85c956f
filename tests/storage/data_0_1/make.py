"""Makes ``data.tar.xz``: the data directories of three nodes of release 0.1, as a power cut left them.

Not run by the tests. To make it again, take the source of 0.1 and let it write::

    git archive b7d9541 | tar x -C RELEASE
    mkdir DATA
    PYTHONPATH=RELEASE python make.py DATA        # some hundred entries, so that there are snapshots; stops in good order
    PYTHONPATH=RELEASE python make.py DATA kill   # some more, which stand in the write-ahead logs alone; kills itself
    tar -C DATA -cJf data.tar.xz north south west
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import anyio

from p2praft import ConsensusConfig, Group, Network
from p2praft.collections import Map, MapMachine

NAMES = ("north", "south", "west")
SECRET = "correct horse battery staple"
CONFIG = ConsensusConfig(expect=2, snapshot_every=100)


async def main(folder: Path, *, kill: bool) -> None:
    """One run of the three."""
    async with AsyncExitStack() as stack:
        nodes: list[Network] = []
        groups: list[Group] = []
        for name in NAMES:
            seeds = [node.address for node in nodes]
            node = Network("shop", listen="127.0.0.1:0", seeds=seeds, data_dir=folder / name)
            nodes.append(await stack.enter_async_context(node))
            handle = node.group("tills", secret=SECRET, machine=MapMachine(), consensus=CONFIG)
            groups.append(await stack.enter_async_context(handle))
        for group in groups:
            await group.when.online()
        while any(len(group.voters) < len(NAMES) for group in groups):
            await anyio.sleep(0.1)
        prices = Map(groups[0])
        for number in range(5 if kill else 350):
            await prices.set(f"late-{number}" if kill else f"key-{number % 20}", number)
        while len({group.committed for group in groups}) > 1 or len({group.applied for group in groups}) > 1:
            await anyio.sleep(0.1)
        if kill:
            await anyio.sleep(1)
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    anyio.run(partial(main, Path(sys.argv[1]), kill="kill" in sys.argv[2:]))
