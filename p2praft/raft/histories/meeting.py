"""Two histories meet: who asks whom for a proof of life, and what is done with it.

A member that is bonded with one of another history tells its leader (:class:`Met`). A leader whose history is the lower one
asks (:class:`AskLife`); members of either history hand the question on to the other leader. That one appends a promise
(:class:`Absorb`), and answers once it is committed (:class:`LifeProof`). What a member says of its history proves nothing: only
a majority that commits now does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from p2praft.raft.context import Context
from p2praft.raft.histories.entries import Absorb, Measure
from p2praft.raft.histories.messages import AskLife, LifeProof, Met
from p2praft.raft.histories.rules import foreign
from p2praft.raft.leader import Leader
from p2praft.raft.types import Index, Member

PROOF_HOLDS = 3
"""Election timeouts, from the question on, for which a proof of life counts."""
REMEMBERED = 6
"""Election timeouts for which a history that a member has met is remembered."""
ANSWERING = 64
"""Promises that may wait for their commit, to be told."""


@dataclass(frozen=True, slots=True)
class Question:
    """A proof that was asked for.

    Attributes:
        nonce: The question's.
        asked: When.
        proof: The answer, if it came in time.
    """

    nonce: bytes
    asked: float
    proof: LifeProof | None = None


class Meeting:
    """What one member knows of other histories."""

    def __init__(self) -> None:
        self._met: dict[bytes, tuple[Measure, float]] = {}
        self._questions: dict[bytes, Question] = {}
        self._promised: list[tuple[Index, AskLife]] = []
        self._tell_leader_at = -math.inf

    def look(self, ctx: Context) -> None:
        """Note which histories are around, and tell our leader, if we have another."""
        here = [standing.measure for _, standing in foreign(ctx.history, ctx)]
        for measure in here:
            self._met[measure.history] = (measure, ctx.now)
        until = ctx.now - REMEMBERED * ctx.config.election_timeout
        self._met = {history: met for history, met in self._met.items() if met[1] >= until}
        if here and ctx.leader not in (None, ctx.me) and ctx.now >= self._tell_leader_at:
            self._tell_leader_at = ctx.now + ctx.config.election_timeout
            for measure in here:
                ctx.send(ctx.leader, Met(measure=measure))

    @property
    def met(self) -> tuple[Measure, ...]:
        """Places of the other histories that are around, the highest last."""
        return tuple(sorted(measure for measure, _ in self._met.values()))

    @property
    def any(self) -> bool:
        """Whether another history is around."""
        return bool(self._met or self._promised)

    def proven_above(self, mine: Measure, ctx: Context) -> LifeProof | None:
        """A fresh proof that a history above ``mine`` lives; asks for one where there is none."""
        holds = PROOF_HOLDS * ctx.config.election_timeout
        higher = [measure for measure, _ in self._met.values() if measure > mine]
        if not higher:
            return None
        highest = max(higher)
        question = self._questions.get(highest.history)
        if question is None or ctx.now - question.asked >= holds:
            self._ask(highest.history, ctx)
            return None
        proof = question.proof
        return proof if proof is not None and proof.measure > mine else None

    def _ask(self, of: bytes, ctx: Context) -> None:
        nonce = ctx.rng.randbytes(16)
        self._questions = {of: Question(nonce, ctx.now)}
        self._hand_on(AskLife(asker=ctx.history, of=of, nonce=nonce), ctx)

    # --- messages

    def on_met(self, message: Met, ctx: Context) -> None:
        """A member of ours is bonded with one of another history."""
        if message.measure.history != ctx.history:
            self._met[message.measure.history] = (message.measure, ctx.now)

    def on_ask(self, message: AskLife, sender: Member, leader: Leader | None, ctx: Context) -> None:
        """Promise to take the asker's history over, if we lead the one that is asked; or hand the question on."""
        if message.of == ctx.history:
            if leader is None:
                if ctx.leader is not None and ctx.leader != sender:
                    ctx.send(ctx.leader, message)
            elif self._may_promise(message, leader, ctx):
                index = leader.append(Absorb(history=message.asker, nonce=message.nonce), ctx.me.peer_id, ctx)
                self._promised.append((index, message))
        elif message.asker == ctx.history and sender == ctx.leader:
            self._hand_on(message, ctx)

    def _may_promise(self, message: AskLife, leader: Leader, ctx: Context) -> bool:
        """A sealed history promises nothing; nor does a leader that does not know what its predecessors left."""
        asked_before = any(asked.nonce == message.nonce for _, asked in self._promised)
        return (
            not ctx.closed
            and ctx.commit >= leader.term_start
            and not asked_before
            and len(self._promised) < ANSWERING
            and message.asker != ctx.history
        )

    def _hand_on(self, message: AskLife, ctx: Context) -> None:
        """To all members of the other history that we are bonded with; to ours, if we are with none, for they may be."""
        others = [member for member, standing in foreign(ctx.history, ctx) if standing.history == message.of]
        if others:
            for member in others:
                ctx.send(member, message)
        elif ctx.leader == ctx.me:
            for member in ctx.roster.bonded:
                ctx.send(member, message)

    def answer(self, leader: Leader | None, ctx: Context) -> None:
        """Tell everybody of promises that are committed now."""
        if leader is None:
            self._promised.clear()
            return
        for index, asked in [item for item in self._promised if item[0] <= ctx.commit]:
            past = ctx.log.past_at(index)
            assert past is not None
            proof = LifeProof(
                asker=asked.asker, of=asked.of, nonce=asked.nonce, measure=past.measure, voters=ctx.voters
            )
            for member in ctx.roster.bonded:
                ctx.send(member, proof)
            self._promised.remove((index, asked))

    @property
    def owes_answers(self) -> bool:
        """Whether promises wait for their commit."""
        return bool(self._promised)

    def on_proof(self, proof: LifeProof, sender: Member, ctx: Context) -> None:
        """Take the answer to our question, or hand on somebody else's."""
        question = self._questions.get(proof.of)
        if proof.asker == ctx.history and question is not None and question.nonce == proof.nonce:
            self._questions[proof.of] = Question(question.nonce, question.asked, proof)
        elif proof.asker == ctx.history and ctx.leader not in (None, ctx.me, sender):
            ctx.send(ctx.leader, proof)
        elif proof.of == ctx.history and sender == ctx.leader:
            for member, standing in foreign(ctx.history, ctx):
                if standing.history == proof.asker:
                    ctx.send(member, proof)

    def forget(self) -> None:
        """We hold another history now, or none."""
        self._met.clear()
        self._questions.clear()
        self._promised.clear()
