"""What a member's archives bring to the history that it holds now: found, prepared, and proposed.

The parts are pure (:mod:`.carrying`, :mod:`.carrier`); here is what reads the storage and borrows the machine.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Awaitable, Callable, Collection

import anyio
import anyio.to_thread

from p2praft.errors import StorageError
from p2praft.groups.applier import Applier, CarriedOver
from p2praft.groups.carrier import Carrier, Told
from p2praft.groups.carrying import Plan, finish, plan, prepare
from p2praft.groups.lineage import Loaded, load
from p2praft.raft.engine import Engine
from p2praft.raft.histories.states import State
from p2praft.storage import Storage
from transport import PeerId

logger = logging.getLogger("p2praft.group")


class Heritage:
    """Brings over what ended histories held.

    Args:
        applier: The state machine with what is replicated beside it.
        storage: Has the archives.
        rng: Spreads the proposals of several members.
        told: Called with what came of each history.
        wake: Has the worker take another turn.
        written: Waits until the storage has all that it was given: an archive may still be on its way to the disk when the next
            history is held.

    Attributes:
        deadline: When :meth:`advance` has something to do, on the worker's clock.
    """

    def __init__(
        self,
        *,
        applier: Applier,
        storage: Storage,
        rng: random.Random,
        told: Callable[[Told], None],
        wake: Callable[[], None],
        written: Callable[[], Awaitable[None]],
    ) -> None:
        self.deadline = math.inf
        self._applier = applier
        self._storage = storage
        self._told = told
        self._wake = wake
        self._written = written
        self._carrier = Carrier(applier.machine, rng)
        self._looked_in: bytes | None = None
        self._has_news = False
        self._work = anyio.Event()

    def advance(self, engine: Engine, now: float, bonded: Collection[PeerId]) -> bool:
        """Look at the archives once in each history; propose what comes next, and say whether something was proposed.

        Args:
            engine: The engine.
            now: The worker's clock.
            bonded: Peers that may propose the same; those with lower ids come first.
        """
        if engine.history == self._looked_in and not self._has_news:
            return False
        genesis = self._applier.tables.genesis
        if genesis is None or engine.history != genesis.history or engine.state is not State.LIVING:
            self.deadline = math.inf
            return False
        if self._looked_in != engine.history:
            self._looked_in = engine.history
            self._carrier.restart()
            self._work.set()
        part, self.deadline = None, math.inf
        if not self._carrier.is_done and engine.reaches_leader and (past := engine.past_at(self._applier.index)):
            rank = sum(peer < engine.me.peer_id for peer in bonded)
            part = self._carrier.next(now, past, self._applier.tables, rank=rank, holds=engine.holds)
            if part is not None:
                engine.propose(0, part)
            self.deadline = self._carrier.deadline
        for told in self._carrier.take_told():
            self._told(told)
        self._has_news = not self._carrier.is_done
        return part is not None

    def on_applied(self, over: CarriedOver, now: float, *, mine: bool) -> None:
        """A part of some list was applied."""
        self._carrier.on_applied(over, now, mine=mine)
        self._has_news = True

    async def run(self) -> None:
        """Prepare what the archives hold, whenever another history is held."""
        while True:
            await self._work.wait()
            self._work = anyio.Event()
            try:
                await self._prepare()
            except StorageError as error:
                logger.warning("what was archived cannot be carried over: %s", error)
            self._has_news = True
            self._wake()

    async def _prepare(self) -> None:
        await self._written()
        archives = [await self._load(archived.number) for archived in self._storage.archives() if archived.ended]
        genesis = self._applier.tables.genesis
        if genesis is None:
            return
        for loaded in archives:
            planned = plan(loaded, genesis, self._applier.machine, archives)
            if isinstance(planned, Plan):
                # In one go: nothing may be applied while the machine is borrowed.
                self._carrier.add(finish(prepare(self._applier.machine, self._applier.pristine, planned)))
            else:
                self._carrier.add(planned)

    async def _load(self, number: int) -> Loaded:
        if self._storage.blocking:
            return await anyio.to_thread.run_sync(load, self._storage, number)
        return load(self._storage, number)
