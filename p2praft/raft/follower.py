"""Follower: passive; answers, stores what its leader replicates, and waits for the leader to fall silent.

Source: Raft paper, sections 5.2 and 5.3, and figure 2, "Followers".
"""

from __future__ import annotations

from p2praft.raft.answers import Answer, Campaign, Unexpected
from p2praft.raft.base_role import Role
from p2praft.raft.context import Context
from p2praft.raft.effects import EventKind
from p2praft.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    InstallSnapshot,
    Message,
    TimeoutNow,
)
from p2praft.raft.types import Cursor, Index, Member, Vote

NEVER = float("-inf")


class Follower(Role):
    """The passive role.

    Attributes:
        deadline: When the election timer runs out, on the engine's clock.
        heard: When the leader was last heard; ``-inf`` if never in this term.
        answered: The newest round that was answered.
    """

    name = "follower"

    def __init__(self, leader: Member | None, ctx: Context) -> None:
        self.heard = NEVER
        self.deadline = 0.0
        self.answered = -1
        self.restart_election_timer(ctx)
        ctx.follow(leader)

    def restart_election_timer(self, ctx: Context) -> None:
        """Give a leader, or a candidate, another randomised timeout (paper, section 5.2)."""
        self.deadline = ctx.now + ctx.election_delay()

    def wait_for_candidate(self, ctx: Context) -> None:
        """Do not campaign in the very moment in which we have encouraged another to."""
        self.deadline = max(self.deadline, ctx.now + ctx.config.heartbeat_interval)

    def leader_is_fresh(self, ctx: Context) -> bool:
        """Whether a leader was heard within the shortest election timeout; then no one else is supported.

        Source: Raft paper, end of section 6; thesis, section 4.2.3.
        """
        return ctx.leader is not None and ctx.now - self.heard < ctx.config.election_timeout

    def on_sign_of_life(self, member: Member, ctx: Context, *, receiving: bool) -> None:
        """The leader is sending us something long: it is as good as a heartbeat."""
        if receiving and member == ctx.leader:
            self.heard = ctx.now
            self.restart_election_timer(ctx)

    def tick(self, ctx: Context) -> Campaign | None:
        """Campaign if no leader was heard for an election timeout."""
        if ctx.now < self.deadline or ctx.deaf:
            return None
        if ctx.leader is not None and ctx.now - self.deadline > ctx.config.heartbeat_interval:
            # It was we who slept: the leader's heartbeats wait to be read. Look at them before asking for its place.
            self.deadline = ctx.now + ctx.config.heartbeat_interval
            return None
        self.restart_election_timer(ctx)
        ctx.follow(None)
        return Campaign() if ctx.promotable else None

    def on_bond_lost(self, member: Member, ctx: Context) -> None:
        """A leader whose bond broke is known to be away: do not wait for the timer (safe because of pre-vote)."""
        if member == ctx.leader:
            self.heard = NEVER
            ctx.follow(None)
            soon = ctx.rng.uniform(0, ctx.config.election_timeout_jitter / 4) * max(ctx.preference.factor, 1.0)
            self.deadline = min(self.deadline, ctx.now + soon)

    def on_message(self, message: Message, sender: Member, ctx: Context) -> Answer:
        """Take what concerns followers."""
        if isinstance(message, AppendEntries):
            self.on_append_entries(message, sender, ctx)
            return None
        if isinstance(message, InstallSnapshot):
            self._hear(sender, ctx)
            ctx.provider.on_install_snapshot(message, sender, ctx.history, ctx)
            self._refuse(sender, ctx.log.last, message.round, ctx)
            return None
        if isinstance(message, TimeoutNow):
            return Campaign(pre=False) if ctx.promotable else None
        return Unexpected()

    def on_append_entries(self, request: AppendEntries, sender: Member, ctx: Context) -> None:
        """Take what the leader of our term replicates, or say from where we lack it.

        Source: Raft paper, section 5.3 and figure 2, "AppendEntries RPC, receiver implementation".
        """
        self._hear(sender, ctx)
        ctx.roster.acknowledge(sender, ctx.history, request.stable)
        ctx.safe = request.safe
        if ctx.log.contradicts(request.prev, request.digest):
            self._differ(request, sender, ctx)
            return
        if not ctx.log.matches(request.prev):
            ctx.provider.on_far_behind(request.prev.index, ctx)
            self._refuse(sender, ctx.log.agreement(request.prev), request.round, ctx)
            return
        # A delayed duplicate must not truncate newer entries: only what we lack is stored.
        missing = ctx.log.missing_from(request.entries)
        if missing and missing[0].index <= ctx.commit:
            self._differ(request, sender, ctx)
            return
        ctx.persist(missing)
        ctx.provider.on_far_behind(request.leader_commit, ctx)
        # Bounded by what was just verified: our own entries beyond it may still be overwritten.
        ctx.commit_up_to(Index(min(request.leader_commit, request.last.index)))
        if not request.entries and request.round == self.answered:
            return  # it only told us the commit index; the round has its answer
        self.answered = request.round
        vote = Vote.ABSTAINED if ctx.preference.is_observer else Vote.GRANTED
        answer = AppendEntriesResponse(
            term=ctx.term,
            vote=vote,
            matched=True,
            last=request.last,
            round=request.round,
            fetching=ctx.provider.fetching,
        )
        ctx.send_when_durable(sender, answer)

    def _hear(self, leader: Member, ctx: Context) -> None:
        self.heard = ctx.now
        ctx.follow(leader)
        self.restart_election_timer(ctx)

    def _differ(self, request: AppendEntries, leader: Member, ctx: Context) -> None:
        """Equal positions with other content (Log Matching does not hold): no answer, so that nothing is built on it."""
        if not ctx.differs:
            ctx.differs = True
            ctx.emit(EventKind.DIFFERS, member=leader, text=f"our log differs from that of {leader} at {request.prev}")

    def _refuse(self, leader: Member, last: Cursor, round_number: int, ctx: Context) -> None:
        """We are there, but lack what came before."""
        answer = AppendEntriesResponse(
            term=ctx.term,
            vote=Vote.ABSTAINED,
            matched=False,
            last=last,
            round=round_number,
            fetching=ctx.provider.fetching,
        )
        ctx.send(leader, answer)
