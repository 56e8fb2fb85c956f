"""What must hold in a simulated run, as it becomes known."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from p2praft.raft.effects import Effects, Readable
from p2praft.raft.entries import Commands, LogEntry
from p2praft.raft.leader import Leader
from p2praft.raft.types import Member
from tests.simulation.state import state_of

if TYPE_CHECKING:
    from tests.simulation.world import Node


class Violation(AssertionError):
    """An invariant does not hold."""


class Ledger:
    """Judges every step.

    Attributes:
        acknowledged: Words that a proposer was told are committed.
        excused: Those of them whose last copy has gone with the memory or the disk that held it.
        committed: What was committed, by history and index.
    """

    def __init__(self, counts: Counter[str]) -> None:
        self.counts = counts
        self.acknowledged: set[bytes] = set()
        self.excused: set[bytes] = set()
        self.committed: dict[bytes, dict[int, LogEntry]] = {}
        self.newest_acknowledged: dict[bytes, int] = {}
        self._leaders: dict[tuple[bytes, int], Member] = {}
        self._chains: dict[tuple[bytes, int], int] = {}
        self._high: dict[tuple[Member, bytes], tuple[int, int, int]] = {}

    # --- after every step

    def check(self, node: Node, effects: Effects) -> None:
        """What one node did."""
        engine = node.engine
        assert engine is not None
        history = engine.ctx.history
        self._check_monotonic(node, history)
        if isinstance(engine.role, Leader):
            self._check_leader(node, history)
        committed = self.committed.setdefault(history, {}) if effects.committed else {}
        for entry in effects.committed:
            known = committed.setdefault(entry.index, entry)
            if known != entry:
                raise Violation(f"state machine safety: {node.number} commits {entry}, but {known} was committed there")
            if isinstance(entry.payload, Commands) and entry.proposer == node.peer:
                self.newest_acknowledged[history] = max(self.newest_acknowledged.get(history, 0), entry.index)
                self.acknowledged.update(entry.payload.commands)
                self.counts["acknowledged"] += 1
        for answer in effects.answers:
            if isinstance(answer, Readable) and (asked := node.reads.pop(answer.request, None)) is not None:
                history_then, expected = asked
                if answer.index and history_then == history and answer.index < expected:
                    raise Violation(
                        f"linearizability: {node.number} may read at {answer.index}, but {expected} was acknowledged before"
                    )
                self.counts["reads"] += answer.index > 0

    def check_chain(self, node: Node) -> None:
        """The state of two members at one position of one history is the same."""
        assert node.engine is not None
        key = (node.engine.ctx.history, node.state.applied)
        if self._chains.setdefault(key, node.state.chain) != node.state.chain:
            raise Violation(
                f"state machine safety: the state of {node.number} at {node.state.applied} is not that of others"
            )

    def _check_monotonic(self, node: Node, history: bytes) -> None:
        engine = node.engine
        assert engine is not None
        key = (engine.me, history)
        generation, term, commit = self._high.get(key, (0, 0, 0))
        if generation == node.generation and engine.commit < commit:
            raise Violation(f"monotonic commit: {node.number} went from {commit} back to {engine.commit}")
        if engine.term < term and generation == node.generation:
            raise Violation(f"monotonic term: {node.number} went from {term} back to {engine.term}")
        self._high[key] = (node.generation, engine.term, engine.commit)

    def _check_leader(self, node: Node, history: bytes) -> None:
        engine = node.engine
        assert engine is not None
        key = (history, engine.term)
        known = self._leaders.get(key)
        if known is None:
            self._leaders[key] = engine.me
            self.counts["elections"] += 1
            for index, entry in self.committed.get(history, {}).items():
                if index > engine.ctx.log.base.index and engine.ctx.log.term_at(index) != entry.term:
                    raise Violation(
                        f"leader completeness: {node.number} leads term {engine.term} without entry {index}"
                    )
        elif known != engine.me:
            raise Violation(f"election safety: {known} and {engine.me} both lead term {engine.term}")

    # --- from time to time

    def check_logs(self, nodes: Iterable[Node]) -> None:
        """Log matching: two logs with the same position agree on all before it (paper, figure 3); digests say so."""
        running = [node.engine for node in nodes if node.engine is not None]
        for one, other in itertools.combinations(running, 2):
            if one.ctx.history != other.ctx.history:
                continue
            a, b = one.ctx.log, other.ctx.log
            first = max(a.base.index, b.base.index) + 1
            last = max(min(a.last.index, b.last.index), first - 1)
            same = False
            pairs = zip(reversed(a.between(first, last)), reversed(b.between(first, last)), strict=True)
            for mine, theirs in pairs:
                agree = mine is theirs or mine == theirs
                if same and not agree:
                    raise Violation(f"log matching: two logs differ at {mine.index} though they agree behind it")
                same = same or mine.term == theirs.term
                if same and not agree:
                    raise Violation(f"log matching: two entries at {mine.index} of one term differ")
                if agree and same and a.digest_at(mine.index) != b.digest_at(mine.index):
                    raise Violation(f"digests differ at {mine.index} though the logs agree")

    # --- what may be lost

    def excuse(self, lost: Node, nodes: Iterable[Node]) -> None:
        """``lost`` forgets everything now: what nobody else holds can never come back."""
        missing = self.acknowledged - self.excused
        for node in nodes:
            if missing and node is not lost and not node.gone:
                missing -= words_of(node)
        self.excused |= missing
        self.counts["words lost with their last copy"] += len(missing)

    def check_nothing_lost(self, words: set[bytes], nodes: Iterable[Node]) -> None:
        """Every acknowledged word is in the history that is left."""
        missing = self.acknowledged - self.excused - words
        if missing:
            held = {node.number: len(missing & words_of(node)) for node in nodes}
            raise Violation(
                f"nothing acknowledged is lost: {len(missing)} of {len(self.acknowledged)} are; copies: {held}"
            )


def words_of(node: Node) -> set[bytes]:
    """All that a node holds in its state, its log, on its disk and in its archives."""
    words = set(node.state.words) if node.engine is not None else set()
    if node.engine is not None:
        log = node.engine.ctx.log
        for entry in log.between(log.base.index + 1, log.last.index):
            words.update(_commands(entry))
    restored = node.storage.load()
    if node.engine is None or not node.storage.volatile:
        chunks = (node.storage.chunk(at) for at in range(restored.snapshot.chunks if restored.snapshot else 0))
        words |= state_of(restored, iter([c for c in chunks if c is not None]), 1 << 62).words
    for archived in node.storage.archives():
        assert archived.ended is not None
        words |= state_of(*node.storage.load_archive(archived.number), 1 << 62).words
    return words


def _commands(entry: LogEntry) -> tuple[bytes, ...]:
    return getattr(entry.payload, "commands", ())
