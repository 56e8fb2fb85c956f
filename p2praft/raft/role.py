"""What all roles share, handled once and in this order.

1. A message of an older term is dropped; a leader that sent it hears of the newer one.
2. State sync goes to its provider.
3. A newer term makes any role a follower, of the message's sender if it leads that term.
4. A request for a vote is answered, whatever the role (the table is :func:`cast_vote`).
5. A proposal or a strong read of another member is answered, whatever the role; so is word of our own.
6. The rest goes to the role, whose answer may be *unexpected* (logged and dropped), *step down* (a candidate that
   meets its term's leader follows it and then handles the same message) or *rival leader* (two leaders in one
   term: warn, campaign in the next).

The order, and each behaviour, follow the role engine of mosaik 0.3.17; where this one differs, it says why.
"""

from __future__ import annotations

import logging

from p2praft.raft.answers import Answer, Campaign, Elected, Resign, RivalLeader, StepDown, Unexpected
from p2praft.raft.base_role import Role
from p2praft.raft.candidate import Candidate
from p2praft.raft.context import Context
from p2praft.raft.effects import Accepted, EventKind
from p2praft.raft.follower import Follower
from p2praft.raft.leader import Leader
from p2praft.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    InstallSnapshot,
    Message,
    PreVote,
    PreVoteResponse,
    Propose,
    ProposeResponse,
    ReadIndex,
    ReadIndexResponse,
    RequestVote,
    RequestVoteResponse,
    StateSync,
    names_leader,
)
from p2praft.raft.reads import answer as answer_read
from p2praft.raft.types import Cursor, Index, Member, Vote

logger = logging.getLogger("p2praft.raft")


def receive(role: Role, message: Message, sender: Member, ctx: Context) -> Role:
    """Handle one message of this member's history; the role to go on with."""
    if message.term is not None and message.term < ctx.term:
        logger.debug("%s drops a stale %s of term %d from %s", ctx.me, type(message).__name__, message.term, sender)
        if isinstance(message, AppendEntries | InstallSnapshot):
            # Paper, figure 2, AppendEntries, rule 1. Without it a leader that cannot reach its successor would go on for
            # ever, and a member that is ahead of its leader's term would never be fed again.
            denial = AppendEntriesResponse(
                term=ctx.term, vote=Vote.ABSTAINED, matched=False, last=ctx.log.last, round=message.round
            )
            ctx.send_when_durable(sender, denial)
        return role
    if isinstance(message, StateSync):
        ctx.provider.receive(message, sender, ctx)
        return role
    if message.term is not None and message.term > ctx.term:
        role = step_down(role, message, sender, ctx)
    if isinstance(message, RequestVote):
        if cast_vote(message, sender, ctx) and isinstance(role, Follower):
            role.restart_election_timer(ctx)
        return role
    if isinstance(message, PreVote):
        return answer_pre_vote(role, message, sender, ctx)
    if isinstance(message, Propose | ProposeResponse | ReadIndex | ReadIndexResponse):
        serve(role, message, sender, ctx)
        return role
    answer = role.on_message(message, sender, ctx)
    if isinstance(answer, Unexpected):
        logger.debug("%s, %s, did not expect %s from %s", ctx.me, role.name, type(message).__name__, sender)
    elif isinstance(answer, StepDown):
        role = receive(change(role, Follower(sender, ctx), ctx), answer.request, sender, ctx)
    elif isinstance(answer, RivalLeader):
        logger.warning(
            "two leaders in term %d: %s (our log ends at %s) and %s (at %s); campaigning in the next term",
            ctx.term,
            ctx.me,
            ctx.log.last,
            sender,
            answer.request.last,
        )
        ctx.emit(EventKind.RIVAL_LEADER, member=sender, text=f"{sender} leads the same term")
        role = proceed(role, Campaign(pre=False), ctx)
    else:
        role = proceed(role, answer, ctx)
    return role


def serve(
    role: Role, message: Propose | ProposeResponse | ReadIndex | ReadIndexResponse, sender: Member, ctx: Context
) -> None:
    """Answer another member's proposal or strong read, or take the answer to one of ours (thesis, section 6.4)."""
    if isinstance(message, Propose):
        index = role.propose(message.payload, sender.peer_id, ctx)
        ctx.send(sender, ProposeResponse(request=message.request, index=index))
    elif isinstance(message, ProposeResponse):
        ctx.answers.append(Accepted(request=message.request, index=message.index))
    elif isinstance(message, ReadIndexResponse):
        answer_read(ctx.me, message.request, message.index, ctx)
    elif not role.read(sender, message.request, ctx):
        answer_read(sender, message.request, Index(0), ctx)


def step_down(role: Role, message: Message, sender: Member, ctx: Context) -> Role:
    """Enter the message's newer term as a follower (paper, section 5.1)."""
    assert message.term is not None
    ctx.save_term(message.term)
    return change(role, Follower(sender if names_leader(message) else None, ctx), ctx)


def judge(candidate: Cursor, ctx: Context) -> Vote:
    """The rows of the vote table that depend on the logs and the preference, in their order."""
    if ctx.log.last > candidate:
        return Vote.DENIED
    if ctx.preference.is_observer or ctx.log.last < candidate:
        return Vote.ABSTAINED
    return Vote.GRANTED


def cast_vote(request: RequestVote, sender: Member, ctx: Context) -> bool:
    """Answer a candidate of our term; whether the answer is not a denial, and so restarts the election timer.

    =======================================  =========  ==================================================
    the voter                                answers    and
    =======================================  =========  ==================================================
    voted for another in this term           DENIED
    has the more up-to-date log              DENIED
    is an observer                           ABSTAINED  takes part in no quorum, so the answer supports nobody
    is behind the candidate                  ABSTAINED  saves the vote first; the answer supports the candidate
    has the same log position                GRANTED    saves the vote first
    =======================================  =========  ==================================================

    It depends on the log and the preference, never on whether we believe ourselves to be a voter: one that has not
    yet heard of its own promotion must vote.

    Source: Raft paper, sections 5.2 and 5.4.1; the third answer is mosaik's. Unlike mosaik's, a lagging voter's
    abstention is saved and counts: it is Raft's ordinary vote, without which an ordinary majority could not elect.
    """
    if ctx.state.vote is not None and ctx.state.vote != sender:
        vote = Vote.DENIED
    else:
        vote = judge(request.last, ctx)
    supports = vote is not Vote.DENIED and not ctx.preference.is_observer
    if supports:
        ctx.save_vote(sender)
    logger.debug("%s answers %s's campaign in term %d: %s", ctx.me, sender, ctx.term, vote.name)
    ctx.send_when_durable(sender, RequestVoteResponse(term=ctx.term, vote=vote, supports=supports))
    return vote is not Vote.DENIED


def answer_pre_vote(role: Role, request: PreVote, sender: Member, ctx: Context) -> Role:
    """Say what we would answer in the next term, unless we hear a leader; nothing is saved (thesis, section 9.6).

    Of two that ask at the same time the one whose log is behind, or else the higher PeerId, yields: after the death of
    one of three voters both others must agree, and would otherwise often split the vote.
    """
    has_leader = isinstance(role, Leader) or (isinstance(role, Follower) and role.leader_is_fresh(ctx))
    vote = Vote.DENIED if has_leader else judge(request.last, ctx)
    supports = vote is not Vote.DENIED and not ctx.preference.is_observer
    ctx.send_when_durable(sender, PreVoteResponse(term=ctx.term, vote=vote, supports=supports))
    if not supports:
        return role
    if isinstance(role, Candidate) and role.pre and (request.last > ctx.log.last or sender < ctx.me):
        return change(role, Follower(None, ctx), ctx)
    if isinstance(role, Follower):
        role.wait_for_candidate(ctx)
    return role


def tick(role: Role, ctx: Context) -> Role:
    """Let time pass."""
    return proceed(role, role.tick(ctx), ctx)


def proceed(role: Role, answer: Answer, ctx: Context) -> Role:
    """Act on what a role wants to become."""
    while isinstance(answer, Campaign):
        candidate = Candidate(ctx, pre=answer.pre)
        role, answer = change(role, candidate, ctx), candidate.outcome(ctx)
    if isinstance(answer, Elected):
        role = change(role, Leader(ctx, answer.in_sync), ctx)
    elif isinstance(answer, Resign):
        logger.info("%s no longer leads term %d: %s", ctx.me, ctx.term, answer.why)
        role = change(role, Follower(None, ctx), ctx)
    return role


def change(old: Role, new: Role, ctx: Context) -> Role:
    """Leave one role for another."""
    if isinstance(old, Leader):
        old.reads.refuse(ctx)
    if type(old) is not type(new):
        ctx.emit(EventKind.ROLE, text=f"{new.name} in term {ctx.term}")
    return new
