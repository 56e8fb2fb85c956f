"""Mutants of the room of histories, and of what the engine knows of it; see :mod:`tests.mutants`."""

from __future__ import annotations

from tests.mutant import Mutant

HISTORIES = (
    # --- founding
    Mutant(
        name="a genesis commits before every founder holds it",
        file="histories/founder.py",
        old="return all(self.replication.counted(founder, ctx) >= self._begins for founder in ctx.voters)",
        new="return 2 * sum(self.replication.counted(f, ctx) >= self._begins for f in ctx.voters) > len(ctx.voters)",
    ),
    Mutant(
        name="a genesis counts as committed before its writer cannot forget it",
        file="histories/founder.py",
        old="if self._serial is None or not ctx.disk.is_durable(self._serial):",
        new="if self._serial is None:",
    ),
    Mutant(
        name="a genesis leaves before its writer cannot forget it",
        file="histories/adoption.py",
        old="return is_durable and may",
        new="return may",
    ),
    Mutant(
        name="a founder does not learn from others that its genesis is founded",
        file="histories/life.py",
        old="if standing.history == ctx.history and standing.founded and holding.state is State.OFFERED and holding.own_past:",
        new="if False:",
    ),
    Mutant(
        name="a node defers to one that does not say that it may write",
        file="histories/rules.py",
        old="if standing is not None and standing.may_write:",
        new="if standing is not None:",
    ),
    Mutant(
        name="a genesis is void although a founder is not there",
        file="histories/rules.py",
        old="if standing is None or (",
        new="if standing is not None and (",
    ),
    Mutant(
        name="entries behind a genesis do not say that it is committed",
        file="histories/life.py",
        old="if past is not None and (ctx.commit >= past.begins or ctx.log.last.index > past.begins):",
        new="if past is not None and ctx.commit >= past.begins:",
    ),
    Mutant(
        name="a genesis is void although others may have more of it",
        file="histories/rules.py",
        old="return not standing.founded and genesis.writer in standing.over",
        new="return not standing.founded",
    ),
    Mutant(
        name="a writer keeps a genesis beside one that ranks before it",
        file="histories/rules.py",
        old="if not standing.founded and standing.genesis.rank < genesis.rank and rivals:",
        new="if False:",
    ),
    # --- meeting and sealing
    Mutant(
        name="what a member says of its history is a proof of life",
        file="histories/meeting.py",
        old="return proof if proof is not None and proof.measure > mine else None",
        new="return LifeProof(\n            asker=ctx.history, of=highest.history, nonce=question.nonce, measure=highest, "
        "voters=ctx.voters\n        )",
    ),
    Mutant(
        name="a proof of life never expires",
        file="histories/meeting.py",
        old="if question is None or ctx.now - question.asked >= holds:",
        new="if question is None:",
    ),
    Mutant(
        name="a proof counts whatever was asked",
        file="histories/meeting.py",
        old="and question is not None and question.nonce == proof.nonce:",
        new="and question is not None:",
    ),
    Mutant(
        name="a proof is given before the promise is committed",
        file="histories/meeting.py",
        old="for item in self._promised if item[0] <= ctx.commit]",
        new="for item in self._promised]",
    ),
    Mutant(
        name="a sealed leader gives proofs of life",
        file="histories/meeting.py",
        old="            not ctx.closed\n            and ctx.commit",
        new="            ctx.commit",
    ),
    Mutant(
        name="a leader promises before it knows what its predecessors left",
        file="histories/meeting.py",
        old="            and ctx.commit >= leader.term_start\n            and not asked_before",
        new="            and not asked_before",
    ),
    Mutant(
        name="a leader counts its own log only as far as it is committed",
        file="histories/life.py",
        old="proof = self._meeting.proven_above(past.measure, ctx)",
        new="proof = self._meeting.proven_above((ctx.log.past_at(ctx.commit) or past).measure, ctx)",
    ),
    Mutant(
        name="a leader seals before it knows what its predecessors left",
        file="histories/life.py",
        old="if past is None or ctx.closed or ctx.commit < leader.term_start:",
        new="if past is None or ctx.closed:",
    ),
    Mutant(
        name="a leader seals without the operator's word",
        file="histories/life.py",
        old="        if self._ask_operator:\n",
        new="        if False:\n",
    ),
    Mutant(
        name="a sealed leader takes proposals",
        file="leader.py",
        old="if self.transfer_to or ctx.closed or self._uncommitted",
        new="if self.transfer_to or self._uncommitted",
    ),
    Mutant(
        name="a sealed leader takes strong reads",
        file="leader.py",
        old="return not ctx.closed and self.reads.add(origin, request)",
        new="return self.reads.add(origin, request)",
    ),
    Mutant(
        name="a sealed leader changes the voters",
        file="leader.py",
        old="return not ctx.closed and ctx.commit >= max(",
        new="return ctx.commit >= max(",
    ),
    Mutant(
        name="a seal counts before it is committed",
        file="histories/holding.py",
        old="return ctx.log.closed and ctx.commit >= ctx.log.marks[-1].index",
        new="return ctx.log.closed",
    ),
    Mutant(
        name="a sealed member moves into any history",
        file="histories/adoption.py",
        old="if not standing.lives or not rules.inherits(standing, holding.seal.into, ctx.history):",
        new="if not standing.lives:",
    ),
    Mutant(
        name="a sealed member leaves others of its history behind unasked",
        file="histories/adoption.py",
        old="return not waiting or ctx.now >= sealed_since + ctx.config.bootstrap_delay",
        new="return True",
    ),
    Mutant(
        name="a member that owes its leader word of an ended history is calm",
        file="histories/life.py",
        old="and not self._meeting.any and not self._owes_word\n",
        new="and not self._meeting.any\n",
    ),
    # --- leaving and forgetting
    Mutant(
        name="a member leaves a history and stays who it was",
        file="histories/holding.py",
        old="        self.renew(ctx.me.incarnation, why)\n",
        new="        self._renewing = None\n",
    ),
    Mutant(
        name="a history that was left is taken up again by the same member",
        file="histories/record.py",
        old="return any(ended.branch.history == history and ended.incarnation == incarnation for ended in self.ended)",
        new="return False",
    ),
    Mutant(
        name="that a history has ended is not remembered",
        file="histories/record.py",
        old="return replace(self, ended=(*others, ended))",
        new="return self",
    ),
    Mutant(
        name="who remembers a seal founds an empty history",
        file="histories/life.py",
        old="return self.joins_only or (bool(self._ctx.disk.record.ended) and not self.forced)",
        new="return self.joins_only",
    ),
    Mutant(
        name="a member with commands has nothing to lose",
        file="histories/rules.py",
        old="return past is None or (past.commands == 0 and not past.promised)",
        new="return past is None or not past.promised",
    ),
    Mutant(
        name="a promise to take another history over is nothing to lose",
        file="histories/rules.py",
        old="return past is None or (past.commands == 0 and not past.promised)",
        new="return past is None or past.commands == 0",
    ),
    Mutant(
        name="a member with a majority around gives up waiting for a leader",
        file="histories/ending.py",
        old="if self.waited(PATIENCE) and not has_quorum(ctx.voters, {ctx.me, *ctx.roster.bonded}):",
        new="if self.waited(PATIENCE):",
    ),
    Mutant(
        name="messages leave before a new incarnation is durable",
        file="durability.py",
        old="self._barrier = self.pending_serial(log)\n        return self._barrier",
        new="return self.pending_serial(log)",
    ),
    # --- the end and rebirth
    Mutant(
        name="a voter that is merely away counts as over",
        file="roster.py",
        old="if latest is not member and latest.is_later_than(member):",
        new="if member not in self.bonded:",
    ),
    Mutant(
        name="a history is dead before everybody has said what it is",
        file="histories/rules.py",
        old="return found.complete and bool(voters)",
        new="return bool(voters)",
    ),
    Mutant(
        name="observers' logs are ignored in a rebirth",
        file="histories/rules.py",
        old="elif standing.history == history and standing.founded:",
        new="elif standing.history == history and standing.founded and standing.factor > 0:",
    ),
    Mutant(
        name="a history is born again without waiting for other holders",
        file="histories/ending.py",
        old="if ctx.now < max(ready_at, holding.wait_until) or holding.is_renewing:",
        new="if holding.is_renewing:",
    ),
    Mutant(
        name="any holder begins a rebirth",
        file="histories/ending.py",
        old="if rules.writer_of_rebirth(found, ctx) != ctx.me or rules.outranked(ctx.history, ctx):",
        new="if False:",
    ),
    Mutant(
        name="a child begins in a term that its parent may have had",
        file="histories/holding.py",
        old="Term(max(above, last.term) + 1)",
        new="Term(last.term + 1)",
    ),
    Mutant(
        name="a founder drops what it holds beyond the branch",
        file="histories/adoption.py",
        old="return branch.history == ctx.history and ctx.log.last <= branch.at",
        new="return branch.history == ctx.history",
    ),
    Mutant(
        name="a child is founded although somebody holds more of the parent",
        file="histories/rules.py",
        old="if branch and standing.history == branch.history and standing.held and standing.held.last > branch.at:",
        new="if False:",
    ),
    Mutant(
        name="a founder that returns to the parent has forgotten its vote",
        file="histories/holding.py",
        old="ctx.disk.save(HardState(term=parent.term, vote=parent.vote))",
        new="ctx.disk.save(HardState(term=parent.term))",
    ),
    Mutant(
        name="a minority of a sealed history begins anew without its heir",
        file="histories/ending.py",
        old="elif together or len(rules.survivors(ctx.voters, ctx.history, ctx)) < quorum_size(ctx.voters):",
        new="elif True:",
    ),
    # --- old copies
    Mutant(
        name="equal positions are taken for equal content",
        file="log.py",
        old="return digest == NO_DIGEST or self.digest_at(index) in (NO_DIGEST, digest)",
        new="return True",
    ),
    Mutant(
        name="a digest of commands says nothing of what stands before",
        file="digest.py",
        old="hashed = hashlib.blake2b(before, digest_size=16)",
        new="hashed = hashlib.blake2b(digest_size=16)",
    ),
    Mutant(
        name="who differs from its leader serves strong reads",
        file="engine.py",
        old="is None or ctx.differs:",
        new="is None:",
    ),
    Mutant(
        name="an old copy is not told so",
        file="roster.py",
        old="        if start >= standing.start:\n            return False\n",
        new="        return False\n",
    ),
    Mutant(
        name="a member that holds all that it acknowledged is taken for an old copy",
        file="roster.py",
        old="return standing.began_with < last",
        new="return standing.began_with <= last",
    ),
    Mutant(
        name="a copy of before a member joined is not an old copy",
        file="roster.py",
        old="return history == held and standing.began_in in before",
        new="return False",
    ),
    Mutant(
        name="what a member acknowledged last counts, not the most",
        file="roster.py",
        old="last = max(last, highest) if before == history else last",
        new="pass",
    ),
    Mutant(
        name="a leader is held to what it has not written",
        file="follower.py",
        old="ctx.roster.acknowledge(sender, ctx.history, request.stable)",
        new="ctx.roster.acknowledge(sender, ctx.history, request.last)",
    ),
    Mutant(
        name="word of an earlier start makes a member another",
        file="histories/life.py",
        old="message.start == self._start != 0:",
        new="message.start is not None:",
    ),
)
