"""A handful of engines that pass each other messages by hand, over links that a test cuts."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from p2praft import ConsensusConfig, LeadershipPreference
from p2praft.raft.effects import Outgoing, Readable, Write
from p2praft.raft.engine import Engine
from p2praft.raft.entries import Commands, LogEntry, OpenSession
from p2praft.raft.messages import Message
from p2praft.storage import MemoryStorage
from tests.raft.support import CONFIG, founded, genesis, log, member

PATIENT = replace(CONFIG, bootstrap_delay=600.0)
"""For runs in which too few are left for a majority: a history without a command would soon be left."""
Lost = Callable[[int, int, Message], bool]
"""Whether a message from one number to another is lost."""


class Cluster:
    """Members 1 to n of one founded history, all bonded; what State Machine Safety forbids is checked at each commit.

    Args:
        logs: How many members; or for each number the terms of its entries behind the genesis.
        voters: The founders are members 1 to ``voters``; all if None.
        term: Everybody's term at the start; each one's last entry's if None.
        observers: Numbers of those that only watch.
        volatile: Whether memories die with their processes, so that a new one proves that the old one is gone.
    """

    def __init__(
        self,
        logs: int | Mapping[int, Sequence[int]],
        *,
        voters: int | None = None,
        term: int | None = None,
        observers: Collection[int] = (),
        volatile: bool = False,
        config: ConsensusConfig = CONFIG,
    ) -> None:
        terms = logs if isinstance(logs, Mapping) else dict.fromkeys(range(1, logs + 1), ())
        self.members = {number: member(number, volatile=volatile) for number in terms}
        founders = list(self.members.values())[:voters]
        self.config = config
        self.now = 0.0
        self.engines: dict[int, Engine] = {}
        self.wire: deque[tuple[int, Outgoing]] = deque()
        self.cuts: set[frozenset[int]] = set()
        self.lost: Lost | None = None
        self.slow: set[int] = set()
        self.applied: dict[int, list[LogEntry]] = {}
        self.readable: dict[int, dict[int, int]] = {number: {} for number in terms}
        self._observers = observers
        self._agreed: dict[int, LogEntry] = {}
        self._disks: dict[int, MemoryStorage] = {}
        self._unwritten: dict[int, list[Write]] = {number: [] for number in terms}
        for number, behind in terms.items():
            entries = log(founders, *behind, first=genesis(founders, config=config))
            self._disks[number] = MemoryStorage(keep=True)
            self._disks[number].put(founded(entries, term=term), ())
        for number in terms:
            self.restart(number)

    # --- links and machines

    def isolate(self, *numbers: int) -> None:
        """Cut ``numbers`` off from everybody, in silence: bonds stand, messages are lost."""
        for number in numbers:
            self.cuts |= {frozenset((number, other)) for other in self._disks if other != number}

    def split(self, *side: int) -> None:
        """Cut all links between ``side`` and the rest."""
        self.cuts |= {frozenset((one, other)) for one in side for other in self._disks if other not in side}

    def heal(self) -> None:
        """Mend all links; what was lost stays lost."""
        self.cuts.clear()
        self.lost = None

    def crash(self, number: int) -> None:
        """Stop a machine: what was not written is gone, and so are its bonds."""
        del self.engines[number]
        self._unwritten[number].clear()
        self.wire = deque(item for item in self.wire if item[0] != number and item[1].to != self.members[number])
        for other in self.engines.values():
            other.bond_down(self.members[number], self.now)

    def forget(self, number: int) -> None:
        """Stop a machine and start it again with a new, empty memory: it is another member then."""
        self.crash(number)
        old = self.members[number]
        self.members[number] = member(number, incarnation=old.incarnation[0] + 1, volatile=old.volatile)
        self._disks[number] = MemoryStorage(keep=True)
        self.restart(number)

    def restart(self, number: int) -> None:
        """Start a machine from its disk, and bond it with all that run."""
        watches = number in self._observers
        engine = Engine(
            me=self.members[number],
            config=self.config,
            preference=LeadershipPreference.OBSERVER if watches else LeadershipPreference.NORMAL,
            rng=random.Random(number),
            now=self.now,
            restored=self._disks[number].load(),
        )
        for other_number, other in self.engines.items():
            other.bond_up(self.members[number], self.now)
            engine.bond_up(self.members[other_number], self.now)
        self.engines[number] = engine
        self.applied[number] = []
        for each in self.engines:
            self.perform(each)
        self.deliver()

    # --- driving

    def deliver(self) -> None:
        """Hand over messages until everybody is silent."""
        while self.wire:
            sender, outgoing = self.wire.popleft()
            to = outgoing.to.peer_id.key[0]
            if self.members[to] != outgoing.to or to not in self.engines or frozenset((sender, to)) in self.cuts:
                continue
            if self.lost is not None and self.lost(sender, to, outgoing.message):
                continue
            self.engines[to].receive(outgoing.message, self.members[sender], self.now, history=outgoing.history)
            self.perform(to)

    def hear(self, number: int, message: Message, sender: int) -> None:
        """Have one member hear a message that a test made up; nothing is delivered yet."""
        engine = self.engines[number]
        engine.receive(message, self.members[sender], self.now, history=engine.ctx.history)
        self.perform(number)

    def tell(self, number: int, of: int) -> None:
        """Have one member hear what another says of itself, whatever the links; nothing is delivered yet."""
        other = self.engines[of]
        self.perform(of)
        self.hear(number, other.histories._telling.standing(other.ctx, quiet=other.leader is None), sender=of)

    def run(self, seconds: float) -> None:
        """Let time pass for everybody."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(end, self.now + 0.05)
            for number in list(self.engines):
                self.engines[number].tick(self.now)
                self.perform(number)
            self.deliver()

    def time_out(self, number: int) -> None:
        """Let one member's own timer run out; nothing is delivered yet."""
        self.now = max(self.now, self.engines[number].role.deadline)
        self.engines[number].tick(self.now)
        self.perform(number)

    def campaign(self, number: int) -> None:
        """Let one member's election timer run out, and see what comes of it."""
        assert not self.engines[number].is_leader
        self.time_out(number)
        self.deliver()

    def elect(self, number: int) -> None:
        """As :meth:`campaign`; it must win."""
        self.campaign(number)
        assert self.engines[number].is_leader, f"{number} was not elected"

    def propose(self, number: int, payload: OpenSession | Commands | None = None) -> None:
        """Have one member propose; nothing is delivered yet."""
        assert self.engines[number].propose(1, payload or OpenSession(nonce=bytes(16)))
        self.perform(number)

    def perform(self, number: int) -> None:
        """Do what one engine asks for: put messages on the wire, write, apply."""
        while True:
            effects = self.engines[number].take_effects()
            self.wire.extend((number, outgoing) for outgoing in effects.messages)
            self.readable[number].update({a.request: a.index for a in effects.answers if isinstance(a, Readable)})
            for entry in effects.committed:
                self.applied[number].append(entry)
                agreed = self._agreed.setdefault(entry.index, entry)
                assert entry == agreed, f"{number} applied another entry at {entry.index} than others did"
            if effects.write is None:
                return
            self._unwritten[number].append(effects.write)
            if number not in self.slow:
                self._write(number)

    def finish_writes(self, number: int) -> None:
        """A slow disk has written everything."""
        self._write(number)
        self.perform(number)

    def _write(self, number: int) -> None:
        writes, self._unwritten[number] = self._unwritten[number], []
        if writes:
            self._disks[number].write(writes)
            self.engines[number].persisted(writes[-1].serial, self.now)

    # --- looking

    def terms(self, number: int) -> list[int]:
        """The terms of one member's entries behind the genesis."""
        held = self.engines[number].ctx.log
        return [entry.term for entry in held.between(2, held.last.index)]

    @property
    def leaders(self) -> list[int]:
        """Who believes to lead."""
        return [number for number, engine in self.engines.items() if engine.is_leader]

    def voters(self, number: int) -> list[int]:
        """The voter set, as one member's log has it."""
        return sorted(voter.peer_id.key[0] for voter in self.engines[number].voters)
