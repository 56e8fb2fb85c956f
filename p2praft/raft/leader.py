"""Leader: appends proposals, replicates them to every bonded member, commits what a quorum holds.

Source: Raft paper, sections 5.3, 5.4.2, 6 and 8, and figure 2, "Leaders"; thesis, sections 3.10 (transfer), 6.2 (a
leader without a quorum steps down) and 6.4 (reads).
"""

from __future__ import annotations

from p2praft.raft.answers import Answer, Resign, RivalLeader, Unexpected
from p2praft.raft.context import Context
from p2praft.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Commands,
    Configuration,
    Index,
    InstallSnapshot,
    LogEntry,
    Member,
    Message,
    NoOp,
    OpenSession,
    Payload,
    TimeoutNow,
    Vote,
)
from p2praft.raft.progress import Progress
from p2praft.raft.quorum import has_quorum, quorum_value
from p2praft.raft.reads import Reads
from p2praft.raft.steward import MemberView, next_voters
from transport import PeerId

MAX_APPEND = 512 * 1024
"""Bytes of entries in one message, but for a single larger entry."""
MAX_UNCOMMITTED = 32 * 1024 * 1024
"""Bytes of proposals that may wait for their commit; more are refused until some have it."""
COMMIT_DELAY = 0.01
"""Seconds after which members that nothing else is sent to are told a new commit index; who waits for it hears at once."""


class Leader:
    """The role that replicates.

    Attributes:
        progress: What is known of each voter's and each bonded member's log.
        reads: Strong reads that wait for confirmation.
        transfer_to: Who is to lead next; no proposals are taken meanwhile.
    """

    name = "leader"

    def __init__(self, ctx: Context, in_sync: frozenset[Member] = frozenset()) -> None:
        self.progress: dict[Member, Progress] = {}
        self.reads = Reads()
        self.transfer_to: Member | None = None
        self._heartbeat_at = ctx.now
        self._judge_at = self._patient_until = ctx.now
        self._tell_commit_at = float("inf")
        self._waiting_for_commit: set[PeerId] = set()
        self._transfer_deadline = 0.0
        self._round = 0
        self._uncommitted = 0
        self._commit_at_heartbeat = ctx.commit
        self._founds = not ctx.founded
        self._founded_serial: int | None = None
        last = ctx.log.last.index
        for member in sorted({*ctx.voters, *ctx.bonded} - {ctx.me}):
            progress = Progress(next=Index(last + 1), heard=ctx.now)
            if member in in_sync:
                # Whoever granted held exactly this log when it did: its replication starts without a probe.
                progress.matched(last, counts=True)
            self.progress[member] = progress
        ctx.follow(ctx.me)
        if ctx.founded:
            # Entries of earlier terms commit only beneath one of ours (paper, sections 5.4.2 and 8).
            self._append(NoOp(), ctx.me.peer_id, ctx)
        self._term_start = ctx.log.last.index

    # --- what the engine asks of it

    @property
    def deadline(self) -> float:
        """When :meth:`tick` has something to do."""
        return min(self._heartbeat_at, self._judge_at, self._tell_commit_at)

    def propose(self, payload: OpenSession | Commands, proposer: PeerId, ctx: Context) -> Index:
        """Append a payload; 0 if proposals are not taken now."""
        size = sum(map(len, payload.commands)) if isinstance(payload, Commands) else 0
        founding = not ctx.founded or self._founded_serial is not None
        if founding or self.transfer_to or self._uncommitted + size > MAX_UNCOMMITTED:
            return Index(0)
        return self._append(payload, proposer, ctx)

    def transfer(self, to: Member | None, ctx: Context) -> bool:
        """Hand over to ``to``, or to the best voter; False if there is none (thesis, section 3.10)."""
        fit = [m for m in ctx.voters if m != ctx.me and self._view(m, ctx).live and not self._view(m, ctx).unwanted]
        if to is not None:
            fit = [member for member in fit if member == to]
        if not fit:
            return False
        self.transfer_to = max(fit, key=lambda m: (self._view(m, ctx).factor == 1, self.progress[m].match, m))
        self._transfer_deadline = ctx.now + ctx.config.election_timeout
        self._hand_over(ctx)
        return True

    def on_bond_up(self, member: Member, ctx: Context) -> None:
        """Start, or start again, to replicate to a member."""
        progress = self.progress.setdefault(member, Progress(next=Index(ctx.log.last.index + 1), heard=ctx.now))
        progress.probe(progress.next)

    def on_sign_of_life(self, member: Member, ctx: Context, *, receiving: bool) -> None:
        """A member that owes us answers, or is in the midst of one, is only slow: that is no reason to resign."""
        progress = self.progress.get(member)
        if progress is not None and (receiving or progress.owes):
            progress.heard = ctx.now

    def on_bond_lost(self, member: Member, ctx: Context) -> None:
        """Forget a member that is no voter; a voter's acknowledgements stay true. Its reads are asked again."""
        self.reads.drop(member)
        if member not in ctx.voters:
            self.progress.pop(member, None)

    def tick(self, ctx: Context) -> Resign | None:
        """Send heartbeats; resign without a quorum; look after the voter set."""
        if ctx.now >= self._tell_commit_at:
            self._tell_commit(ctx)
        if ctx.now >= self._judge_at and not ctx.deaf:
            if ctx.now - self._judge_at > ctx.config.heartbeat_interval:
                # It was we who slept, not they: what they sent meanwhile waits to be read. Doubt yourself first (Lifeguard).
                self._patient_until = ctx.now + 2 * ctx.config.heartbeat_interval
            self._judge_at = ctx.now + ctx.config.heartbeat_interval
            if ctx.founded and ctx.now >= self._patient_until and not self._quorum_is_active(ctx):
                return Resign("no quorum of voters has answered for an election timeout")
        if ctx.now < self._heartbeat_at:
            return None
        self._heartbeat_at = ctx.now + ctx.config.heartbeat_interval
        if self.transfer_to and ctx.now >= self._transfer_deadline:
            self.transfer_to = None
        self._look_after_voters(ctx)
        self._commit_at_heartbeat = ctx.commit
        self._round += 1
        for member in [member for member in self.progress if member not in ctx.voters and member not in ctx.bonded]:
            del self.progress[member]  # a voter that was replaced
        for member, progress in self.progress.items():
            progress.paused = progress.told_to_install = False
            self._send(member, progress, ctx)
        return None

    def flush(self, ctx: Context) -> Resign | None:
        """Commit what can be, and send what is new: called once for every batch of inputs."""
        self._advance_commit(ctx)
        if self.reads.waiting and ctx.commit >= self._term_start:
            self._round += 1
            self.reads.begin(self._round, ctx.commit)
            for member in ctx.voters:
                if member in self.progress:
                    self._send(member, self.progress[member], ctx, always=True)
        if self.reads.pending:
            confirmed = quorum_value(ctx.voters, lambda m: self._round_of(m, ctx), ctx.spared(ctx.voters))
            self._waiting_for_commit.update(member.peer_id for member in self.reads.confirm(confirmed, ctx))
        last = ctx.log.last.index
        for member, progress in self.progress.items():
            while progress.next <= last and progress.ready and self._send(member, progress, ctx):
                pass
            if progress.commit < ctx.commit and not progress.probing:
                if member.peer_id in self._waiting_for_commit:
                    self._send(member, progress, ctx, always=True)
                else:
                    self._tell_commit_at = min(self._tell_commit_at, ctx.now + COMMIT_DELAY)
        self._waiting_for_commit.clear()
        if ctx.founded and ctx.me not in ctx.voters and ctx.commit >= ctx.log.voters_index:
            return Resign("no longer a voter")
        return None

    # --- messages

    def on_message(self, message: Message, sender: Member, ctx: Context) -> Answer:
        """Take answers; another leader of this term is a rival."""
        if isinstance(message, AppendEntriesResponse):
            self.on_append_entries_response(message, sender, ctx)
            return None
        if isinstance(message, AppendEntries | InstallSnapshot):
            return RivalLeader(message)
        return Unexpected()

    def on_append_entries_response(self, response: AppendEntriesResponse, sender: Member, ctx: Context) -> None:
        """Note how far a member's log agrees with ours (paper, section 5.3)."""
        progress = self.progress.get(sender)
        if progress is None:
            return
        progress.heard = ctx.now
        progress.held = response.fetching
        if not response.matched:
            # The logs agree at the latest where ours has nothing newer than the member's hint.
            progress.probe(ctx.log.agreement(response.last).index + 1)
            return
        counts = response.vote is Vote.GRANTED
        if counts:
            progress.round = max(progress.round, response.round)
        progress.matched(Index(min(response.last.index, ctx.log.last.index)), counts=counts)
        self._hand_over(ctx)

    # --- inner workings

    def _append(self, payload: Payload, proposer: PeerId, ctx: Context) -> Index:
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
        if not ctx.founded or self._founded_serial is not None:
            self._advance_founding(ctx)
            return
        if ctx.commit == ctx.log.last.index:
            return
        index = quorum_value(ctx.voters, lambda m: self._counted(m, ctx), ctx.spared(ctx.voters))
        # Only entries of this term commit by counting; earlier ones commit beneath them (paper, section 5.4.2).
        if index > ctx.commit and ctx.log.term_at(index) == ctx.term:
            committed = ctx.log.between(ctx.commit + 1, index)
            self._uncommitted = max(0, self._uncommitted - sum(entry.size for entry in committed))
            self._waiting_for_commit.update(entry.proposer for entry in committed)
            ctx.commit_up_to(index)

    def _tell_commit(self, ctx: Context) -> None:
        self._tell_commit_at = float("inf")
        for member, progress in self.progress.items():
            if progress.commit < ctx.commit and not progress.probing:
                self._send(member, progress, ctx, always=True)
                progress.commit = ctx.commit  # whoever cannot be told now hears of it with a heartbeat

    def _advance_founding(self, ctx: Context) -> None:
        """A genesis commits once every founder holds it, and nobody hears of it before we cannot forget it.

        Then comes a no-op: whoever holds that knows of the commit, so once it is committed a quorum does, and the death of
        its writer no longer makes the genesis void.
        """
        if self._founded_serial is None:
            if all(self._counted(founder, ctx) >= 1 for founder in ctx.voters):
                ctx.save_founded()
                self._founded_serial = ctx.pending_serial()
        elif ctx.is_durable(self._founded_serial):
            self._founded_serial = None
            ctx.commit_up_to(1)
            self._append(NoOp(), ctx.me.peer_id, ctx)

    def _counted(self, member: Member, ctx: Context) -> int:
        if member == ctx.me:
            return ctx.log.stable
        progress = self.progress.get(member)
        return progress.counted if progress else 0

    def _round_of(self, member: Member, ctx: Context) -> int:
        if member == ctx.me:
            return self._round
        progress = self.progress.get(member)
        return progress.round if progress else 0

    def _send(self, member: Member, progress: Progress, ctx: Context, *, always: bool = False) -> bool:
        """Send what comes next, at least a heartbeat; whether it held entries.

        Args:
            member: To whom.
            progress: Its replication.
            ctx: The shared state.
            always: Send even if the window is closed; then without entries.
        """
        if not self._feeds(member, ctx):
            return False
        if progress.next <= ctx.log.base.index:
            self._send_install_snapshot(member, progress, ctx)
            return False
        entries: tuple[LogEntry, ...] = ()
        if progress.ready:
            entries = ctx.log.slice(progress.next, ctx.log.last.index, MAX_APPEND)
        elif progress.paused and not always:
            return False
        ctx.send(
            member,
            AppendEntries(
                term=ctx.term,
                prev=ctx.log.cursor_at(progress.next - 1),
                entries=entries,
                leader_commit=ctx.commit,
                round=self._round,
            ),
        )
        progress.commit = ctx.commit
        if entries:
            progress.sent(entries[-1].index, sum(entry.size for entry in entries))
        return bool(entries)

    def _send_install_snapshot(self, member: Member, progress: Progress, ctx: Context) -> None:
        """Once a heartbeat: what the member lacks has been compacted, it must fetch a snapshot."""
        if not progress.told_to_install:
            progress.told_to_install = True
            ctx.send(member, InstallSnapshot(term=ctx.term, base=ctx.log.base, round=self._round))

    def _feeds(self, member: Member, ctx: Context) -> bool:
        """Whether the member takes our history: it has none, or ours.

        Nobody but founders gets a genesis before a quorum of them knows that it is committed.
        """
        standing = ctx.bonded.get(member)
        if standing is None or ctx.log.stable == 0:
            return False
        if self._founds and ctx.commit <= 1 and member not in ctx.voters:
            return False
        return standing.genesis is None or standing.genesis.history == ctx.history

    def _quorum_is_active(self, ctx: Context) -> bool:
        since = ctx.now - ctx.config.election_timeout
        active = {member for member, progress in self.progress.items() if progress.heard >= since}
        return has_quorum(ctx.voters, active | {ctx.me}, ctx.spared(ctx.voters))

    def _view(self, member: Member, ctx: Context) -> MemberView:
        progress = self.progress.get(member)
        standing = ctx.bonded.get(member)
        silent_for = ctx.now - progress.heard if progress else float("inf")
        return MemberView(
            live=standing is not None and silent_for <= ctx.config.election_timeout,
            caught_up=progress is not None
            and not progress.probing
            and progress.match >= max(self._commit_at_heartbeat, 1),
            silent_for=silent_for,
            gone=ctx.is_gone(member),
            factor=standing.factor if standing else 1.0,
            leaving=standing.leaving if standing else False,
        )

    def _look_after_voters(self, ctx: Context) -> None:
        # One change at a time, and none before this term has committed (thesis, section 4.1, and Ongaro's
        # correction of 2015 to it: two leaders' changes could otherwise each find a majority of their own).
        if not ctx.founded or self.transfer_to or ctx.commit < max(self._term_start, ctx.log.voters_index):
            return
        voters = next_voters(
            me=ctx.me,
            voters=ctx.voters,
            views={member: self._view(member, ctx) for member in self.progress},
            max_voters=ctx.config.max_voters,
            voter_grace=ctx.config.voter_grace,
        )
        if voters is not None:
            self._append(Configuration(voters=voters), ctx.me.peer_id, ctx)

    def _hand_over(self, ctx: Context) -> None:
        if self.transfer_to and self.progress[self.transfer_to].match == ctx.log.last.index:
            ctx.send(self.transfer_to, TimeoutNow(term=ctx.term))
