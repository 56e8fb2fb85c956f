"""Leader: appends proposals, replicates them to every bonded member, commits what a quorum holds.

Source: Raft paper, sections 5.3, 5.4.2, 6 and 8, and figure 2, "Leaders"; thesis, sections 3.10 (transfer), 6.2 (a
leader without a quorum steps down) and 6.4 (reads).
"""

from __future__ import annotations

import math

from p2praft.raft.answers import Answer, Resign, RivalLeader, Unexpected
from p2praft.raft.base_role import Role
from p2praft.raft.context import Context
from p2praft.raft.entries import Carried, Commands, Configuration, LogEntry, NoOp, Payload, Proposal
from p2praft.raft.messages import AppendEntries, AppendEntriesResponse, InstallSnapshot, Message, TimeoutNow
from p2praft.raft.quorum import has_quorum, quorum_value
from p2praft.raft.reads import Reads
from p2praft.raft.replication import Replication
from p2praft.raft.steward import Council, LeaveRefusal, MemberView, Steward
from p2praft.raft.types import Index, Member
from transport import PeerId

MAX_UNCOMMITTED = 32 * 1024 * 1024
"""Bytes of proposals that may wait for their commit; more are refused until some have it."""
COMMIT_DELAY = 0.01
"""Seconds after which members that nothing else is sent to are told a new commit index; who waits for it hears at once."""


class Leader(Role):
    """The role that replicates.

    Attributes:
        replication: What is known of each voter's and each bonded member's log.
        reads: Strong reads that wait for confirmation.
        transfer_to: Who is to lead next; no proposals are taken meanwhile.
        term_start: Index of the term's first entry.
    """

    name = "leader"

    def __init__(self, ctx: Context, in_sync: frozenset[Member] = frozenset()) -> None:
        self.replication = Replication(ctx.voters, in_sync, ctx)
        self.reads = Reads()
        self._steward = Steward(
            max_voters=ctx.config.max_voters,
            voter_grace=ctx.config.voter_grace,
            shrink_after=ctx.config.shrink_silence,
        )
        self.transfer_to: Member | None = None
        self._heartbeat_at = ctx.now
        self._judge_at = self._patient_until = ctx.now
        self._tell_commit_at = math.inf
        self._waiting_for_commit: set[PeerId] = set()
        self._transfer_deadline = 0.0
        self._uncommitted = 0
        self._commit_at_heartbeat = ctx.commit
        ctx.safe = False
        ctx.follow(ctx.me)
        # Entries of earlier terms commit only beneath one of ours (paper, sections 5.4.2 and 8).
        self.term_start = self.append(NoOp(), ctx.me.peer_id, ctx)

    # --- what the engine asks of it

    @property
    def deadline(self) -> float:  # type: ignore[override]
        """When :meth:`tick` has something to do."""
        return min(self._heartbeat_at, self._judge_at, self._tell_commit_at)

    def propose(self, payload: Proposal, proposer: PeerId, ctx: Context) -> Index:
        """Append a proposal; 0 if none is taken now."""
        size = sum(map(len, payload.commands)) if isinstance(payload, Commands | Carried) else 0
        if self.transfer_to or ctx.closed or self._uncommitted + size > MAX_UNCOMMITTED:
            return Index(0)
        return self.append(payload, proposer, ctx)

    def read(self, origin: Member, request: int, ctx: Context) -> bool:
        """Have a strong read confirmed with the next round."""
        return not ctx.closed and self.reads.add(origin, request)

    def transfer(self, to: Member | None, ctx: Context) -> bool:
        """Hand over to ``to``, or to the best voter; False if there is none (thesis, section 3.10)."""
        view = self._council(ctx).view
        fit = [m for m in ctx.voters if m != ctx.me and view(m).live and not view(m).unwanted]
        if to is not None:
            fit = [member for member in fit if member == to]
        if not fit:
            return False
        progress = self.replication.progress
        self.transfer_to = max(fit, key=lambda m: (view(m).factor == 1, progress[m].match, m))
        self._transfer_deadline = ctx.now + ctx.config.election_timeout
        self._hand_over(ctx)
        return True

    def on_bond_up(self, member: Member, ctx: Context) -> None:
        """Replicate to a member."""
        self.replication.on_bond_up(member, ctx)

    def on_sign_of_life(self, member: Member, ctx: Context, *, receiving: bool) -> None:
        """A member that is only slow is no reason to resign."""
        self.replication.on_sign_of_life(member, ctx, receiving=receiving)

    def on_bond_lost(self, member: Member, ctx: Context) -> None:
        """Forget a member that is no voter; a voter's acknowledgements stay true. Its reads are asked again."""
        self.reads.drop(member)
        if member not in ctx.voters:
            self.replication.progress.pop(member, None)

    def tick(self, ctx: Context) -> Resign | None:
        """Send heartbeats; resign without a quorum; look after the voter set."""
        if ctx.now >= self._tell_commit_at:
            self._tell_commit(ctx)
        if ctx.now >= self._judge_at and not ctx.deaf:
            if ctx.now - self._judge_at > ctx.config.heartbeat_interval:
                # It was we who slept, not they: what they sent meanwhile waits to be read. Doubt yourself first (Lifeguard).
                self._patient_until = ctx.now + 2 * ctx.config.heartbeat_interval
            self._judge_at = ctx.now + ctx.config.heartbeat_interval
            if ctx.now >= self._patient_until and not self._quorum_is_active(ctx):
                return Resign("no quorum of voters has answered for an election timeout")
        if ctx.now < self._heartbeat_at:
            return None
        self._heartbeat_at = ctx.now + ctx.config.heartbeat_interval
        if self.transfer_to and ctx.now >= self._transfer_deadline:
            self.transfer_to = None
        self._look_after_voters(ctx)
        self._commit_at_heartbeat = ctx.commit
        ctx.safe = self._is_safe(ctx)
        self.replication.heartbeat(ctx)
        return None

    def flush(self, ctx: Context) -> Resign | None:
        """Commit what can be, and send what is new."""
        replication = self.replication
        self._advance_commit(ctx)
        if self.reads.waiting and ctx.commit >= self.term_start:
            self.reads.begin(replication.begin_round(ctx), ctx.commit)
            for member in ctx.voters:
                if member in replication.progress:
                    replication.send(member, replication.progress[member], ctx, always=True)
        if self.reads.pending:
            confirmed = quorum_value(ctx.voters, lambda member: replication.round_of(member, ctx))
            self._waiting_for_commit.update(member.peer_id for member in self.reads.confirm(confirmed, ctx))
        for member, progress in replication.progress.items():
            replication.send_new(member, progress, ctx)
            if progress.commit < ctx.commit and not progress.probing:
                if member.peer_id in self._waiting_for_commit:
                    replication.send(member, progress, ctx, always=True)
                else:
                    self._tell_commit_at = min(self._tell_commit_at, ctx.now + COMMIT_DELAY)
        self._waiting_for_commit.clear()
        if ctx.me not in ctx.voters and ctx.commit >= ctx.log.voters_index:
            return Resign("no longer a voter")
        return None

    # --- messages

    def on_message(self, message: Message, sender: Member, ctx: Context) -> Answer:
        """Take answers; another leader of this term is a rival."""
        if isinstance(message, AppendEntriesResponse):
            self.replication.on_response(message, sender, ctx)
            self._hand_over(ctx)
            return None
        if isinstance(message, AppendEntries | InstallSnapshot):
            return RivalLeader(message)
        return Unexpected()

    # --- inner workings

    def append(self, payload: Payload, proposer: PeerId, ctx: Context) -> Index:
        """Put an entry at the end of the log."""
        entry = LogEntry(
            term=ctx.term,
            index=Index(ctx.log.last.index + 1),
            time=ctx.wall_time(),
            proposer=proposer,
            payload=payload,
        )
        ctx.persist((entry,))
        self._uncommitted += entry.size
        return entry.index

    def _advance_commit(self, ctx: Context) -> None:
        if ctx.commit == ctx.log.last.index:
            return
        index = quorum_value(ctx.voters, lambda member: self.replication.counted(member, ctx))
        # Only entries of this term commit by counting; earlier ones commit beneath them (paper, section 5.4.2).
        if index > ctx.commit and ctx.log.term_at(index) == ctx.term:
            committed = ctx.log.between(ctx.commit + 1, index)
            self._uncommitted = max(0, self._uncommitted - sum(entry.size for entry in committed))
            self._waiting_for_commit.update(entry.proposer for entry in committed)
            ctx.commit_up_to(index)

    def _tell_commit(self, ctx: Context) -> None:
        self._tell_commit_at = math.inf
        for member, progress in self.replication.progress.items():
            if progress.commit < ctx.commit and not progress.probing:
                self.replication.send(member, progress, ctx, always=True)
                progress.commit = ctx.commit  # whoever cannot be told now hears of it with a heartbeat

    def _quorum_is_active(self, ctx: Context) -> bool:
        since = ctx.now - ctx.config.election_timeout
        active = {member for member, progress in self.replication.progress.items() if progress.heard >= since}
        return has_quorum(ctx.voters, active | {ctx.me})

    def _council(self, ctx: Context) -> Council:
        known = self.replication.progress
        return Council(me=ctx.me, voters=ctx.voters, views={member: self._view(member, ctx) for member in known})

    def _view(self, member: Member, ctx: Context) -> MemberView:
        progress = self.replication.progress[member]
        standing = ctx.roster.bonded.get(member)
        return MemberView(
            live=standing is not None and ctx.now - progress.heard <= ctx.config.election_timeout,
            caught_up=not progress.probing and progress.match >= max(self._commit_at_heartbeat, 1),
            silent_for=ctx.now - progress.progressed,
            answered=progress.round,
            over=ctx.roster.is_over(member),
            factor=standing.factor if standing else 1.0,
            leaving=standing.leaving if standing else False,
        )

    def _is_safe(self, ctx: Context) -> bool:
        """Whether the voter set is whole: every voter is live, caught up, and not over."""
        council = self._council(ctx)
        others = [member for member in ctx.voters if member != ctx.me]
        return self._may_change_voters(ctx) and all(council.view(member).able for member in others)

    def leave_refusal(self, member: Member, ctx: Context) -> LeaveRefusal | None:
        """Why a voter cannot leave, as things are; None if it can."""
        return self._steward.leave_refusal(self._council(ctx), member)

    def _may_change_voters(self, ctx: Context) -> bool:
        # One change at a time, and none before this term has committed (thesis, section 4.1, and Ongaro's
        # correction of 2015 to it: two leaders' changes could otherwise each find a majority of their own).
        return not ctx.closed and ctx.commit >= max(self.term_start, ctx.log.voters_index)

    def _look_after_voters(self, ctx: Context) -> None:
        if self.transfer_to or not self._may_change_voters(ctx):
            return
        voters = self._steward.consider(self._council(ctx), round_now=self.replication.round)
        if voters is not None:
            self.append(Configuration(voters=voters), ctx.me.peer_id, ctx)

    def _hand_over(self, ctx: Context) -> None:
        if self.transfer_to and self.replication.progress[self.transfer_to].match == ctx.log.last.index:
            ctx.send(self.transfer_to, TimeoutNow(term=ctx.term))
