"""How a log is replicated: what each member has of it, and what it is sent next.

Source: Raft paper, section 5.3 and figure 2, "Leaders".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from p2praft.raft.context import Context
from p2praft.raft.entries import LogEntry
from p2praft.raft.messages import AppendEntries, AppendEntriesResponse, InstallSnapshot
from p2praft.raft.progress import Progress
from p2praft.raft.types import Index, Member, Vote


class Replication:
    """Sends a log to others.

    Args:
        members: To whom, beside those that are bonded.
        in_sync: Those whose log is known to end where ours does.

    Attributes:
        progress: What is known of each member's log.
        round: The newest round of heartbeats; an answer confirms it.
    """

    def __init__(self, members: Iterable[Member], in_sync: Collection[Member], ctx: Context) -> None:
        self.progress: dict[Member, Progress] = {}
        self.round = ctx.round
        last = ctx.log.last.index
        for member in sorted({*members, *ctx.roster.bonded} - {ctx.me}):
            progress = self.progress[member] = self._new(ctx)
            if member in in_sync:
                # Whoever granted held exactly this log when it did: its replication starts without a probe.
                progress.matched(last, counts=True)

    def _new(self, ctx: Context) -> Progress:
        return Progress(next=Index(ctx.log.last.index + 1), heard=ctx.now, progressed=ctx.now)

    # --- what comes

    def on_bond_up(self, member: Member, ctx: Context) -> None:
        """Start, or start again, to replicate to a member."""
        progress = self.progress.setdefault(member, self._new(ctx))
        progress.probe(progress.next)

    def on_sign_of_life(self, member: Member, ctx: Context, *, receiving: bool) -> None:
        """A member that owes us answers, or is in the midst of one, is only slow."""
        progress = self.progress.get(member)
        if progress is not None and (receiving or progress.owes):
            progress.heard = ctx.now

    def on_response(self, response: AppendEntriesResponse, sender: Member, ctx: Context) -> None:
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
        progress.progressed = ctx.now
        ctx.roster.acknowledge(sender, ctx.history, response.last)
        progress.matched(Index(min(response.last.index, ctx.log.last.index)), counts=counts)

    # --- what is known

    def counted(self, member: Member, ctx: Context) -> int:
        """Highest index that the member holds durably, as far as it counts for commits."""
        if member == ctx.me:
            return ctx.log.stable
        progress = self.progress.get(member)
        return progress.counted if progress else 0

    def round_of(self, member: Member, ctx: Context) -> int:
        """The newest round that the member has answered."""
        if member == ctx.me:
            return self.round
        progress = self.progress.get(member)
        return progress.round if progress else 0

    # --- what is sent

    def begin_round(self, ctx: Context) -> int:
        """Begin a round; its number, which is never used again: an answer to an older one must not confirm it."""
        ctx.round += 1
        self.round = ctx.round
        return self.round

    def heartbeat(self, ctx: Context) -> None:
        """Begin a round: everybody hears of it, and what was lost is sent again."""
        self.begin_round(ctx)
        for member in [m for m in self.progress if m not in ctx.voters and m not in ctx.roster.bonded]:
            del self.progress[member]  # a voter that was replaced
        for member, progress in self.progress.items():
            progress.paused = progress.told_to_install = False
            self.send(member, progress, ctx)

    def send_new(self, member: Member, progress: Progress, ctx: Context) -> None:
        """Send what the member's window has room for."""
        while progress.next <= ctx.log.last.index and progress.ready and self.send(member, progress, ctx):
            pass

    def send(self, member: Member, progress: Progress, ctx: Context, *, always: bool = False) -> bool:
        """Send what comes next, at least a heartbeat; whether it held entries.

        Args:
            member: To whom.
            progress: Its replication.
            ctx: The shared state.
            always: Send even if the window is closed; then without entries.
        """
        if ctx.log.stable == 0 or not ctx.feeds(member):
            return False
        if progress.next <= ctx.log.base.index:
            self._send_install_snapshot(member, progress, ctx)
            return False
        entries: tuple[LogEntry, ...] = ()
        if progress.ready:
            entries = ctx.log.slice(progress.next, ctx.log.last.index, ctx.append_bytes)
        elif progress.paused and not always:
            return False
        before = progress.next - 1
        ctx.send(
            member,
            AppendEntries(
                term=ctx.term,
                prev=ctx.log.cursor_at(before),
                digest=ctx.log.digest_at(before),
                entries=entries,
                leader_commit=ctx.commit,
                stable=ctx.log.cursor_at(ctx.log.stable),
                safe=ctx.safe,
                round=self.round,
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
            ctx.send(member, InstallSnapshot(term=ctx.term, base=ctx.log.base, round=self.round))
