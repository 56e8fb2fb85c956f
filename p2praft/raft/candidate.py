"""Candidate: asks, first without consequence (pre-vote), then for real, until it wins or hears of a leader.

Source: Raft paper, section 5.2 and figure 2, "Candidates"; thesis, section 9.6 (pre-vote).
"""

from __future__ import annotations

from p2praft.raft.answers import Answer, Campaign, Elected, StepDown, Unexpected
from p2praft.raft.base_role import Role
from p2praft.raft.context import Context
from p2praft.raft.messages import (
    AppendEntries,
    InstallSnapshot,
    Message,
    PreVote,
    PreVoteResponse,
    RequestVote,
    RequestVoteResponse,
)
from p2praft.raft.quorum import has_quorum
from p2praft.raft.types import Member, Term, Vote


class Candidate(Role):
    """The active role during elections.

    Attributes:
        pre: Whether it only asks whether a campaign would succeed; its term is then still the old one.
        deadline: When it gives up and starts over.
        supporters: Whose answers count towards a majority; itself included.
        in_sync: Those of them whose log ends where ours does.
    """

    name = "candidate"

    def __init__(self, ctx: Context, *, pre: bool) -> None:
        self.pre = pre
        self.supporters: set[Member] = {ctx.me}
        self.in_sync: set[Member] = set()
        self.deadline = ctx.now + ctx.election_delay()
        ctx.follow(None)
        if pre:
            for voter in ctx.voters:
                ctx.send(voter, PreVote(term=ctx.term, last=ctx.log.last))
        else:
            ctx.save_term(Term(ctx.term + 1), vote=ctx.me)
            for voter in ctx.voters:
                ctx.send_when_durable(voter, RequestVote(term=ctx.term, last=ctx.log.last))
        self._asked = ctx.disk.pending_serial(ctx.log)

    def outcome(self, ctx: Context) -> Campaign | Elected | None:
        """What the answers so far amount to. Our own vote counts once it is durable."""
        if not ctx.disk.is_durable(self._asked) or not has_quorum(ctx.voters, self.supporters):
            return None
        return Campaign(pre=False) if self.pre else Elected(frozenset(self.in_sync))

    def tick(self, ctx: Context) -> Campaign | None:
        """Start over, from the pre-vote, if neither won nor lost in time (paper, section 5.2: split vote)."""
        return Campaign() if ctx.now >= self.deadline and not ctx.deaf else None

    def on_message(self, message: Message, sender: Member, ctx: Context) -> Answer:
        """Take answers, and yield to the term's leader."""
        if isinstance(message, RequestVoteResponse) and not self.pre:
            return self.on_answer(message, sender, ctx)
        if isinstance(message, PreVoteResponse) and self.pre:
            return self.on_answer(message, sender, ctx)
        if isinstance(message, AppendEntries | InstallSnapshot):
            return StepDown(message)
        return Unexpected()

    def on_answer(
        self, response: RequestVoteResponse | PreVoteResponse, sender: Member, ctx: Context
    ) -> Campaign | Elected | None:
        """Count an answer. Only grants say that the voter's log is known to be in sync."""
        if response.supports:
            self.supporters.add(sender)
            if response.vote is Vote.GRANTED:
                self.in_sync.add(sender)
        return self.outcome(ctx)
