"""Founder: the role of a genesis' writer, from the writing until every founder holds it."""

from __future__ import annotations

from collections.abc import Callable

from p2praft.raft.answers import Answer, Elected, Unexpected
from p2praft.raft.base_role import Role
from p2praft.raft.context import Context
from p2praft.raft.messages import AppendEntriesResponse, Message
from p2praft.raft.replication import Replication
from p2praft.raft.types import Index, Member


class Founder(Role):
    """Replicates the genesis, and all before it, to the founders.

    A genesis commits once every founder holds it, not a majority: then each of them knows of this history, and none founds
    another. Nobody hears of the commit before the writer cannot forget it, for only the writer may take a genesis back. From
    then on the writer leads: no other member votes or campaigns in the genesis' term.

    Args:
        begins: Index of the genesis.
        remember: Has it written down that the genesis is committed.
        announce: Has it told, once that is durable.
        ctx: The shared state.
    """

    name = "founder"

    def __init__(self, begins: Index, remember: Callable[[], None], announce: Callable[[], None], ctx: Context) -> None:
        self.replication = Replication(ctx.voters, (), ctx)
        self.deadline = ctx.now
        self._remember = remember
        self._announce = announce
        self._begins = begins
        self._serial: int | None = None
        ctx.follow(ctx.me)

    def tick(self, ctx: Context) -> Answer:
        """Repeat what may be lost."""
        if ctx.now >= self.deadline:
            self.deadline = ctx.now + ctx.config.heartbeat_interval
            self.replication.heartbeat(ctx)
        return None

    def on_bond_up(self, member: Member, ctx: Context) -> None:
        """Replicate to a founder."""
        self.replication.on_bond_up(member, ctx)

    def on_message(self, message: Message, sender: Member, ctx: Context) -> Answer:
        """Take the founders' answers."""
        if isinstance(message, AppendEntriesResponse):
            self.replication.on_response(message, sender, ctx)
            return None
        return Unexpected()

    def flush(self, ctx: Context) -> Answer:
        """Commit the genesis in two steps: remember that it is founded, then tell."""
        for member, progress in self.replication.progress.items():
            self.replication.send_new(member, progress, ctx)
        if self._serial is None and self._is_held_by_all(ctx):
            self._remember()
            self._serial = ctx.disk.pending_serial(ctx.log)
        if self._serial is None or not ctx.disk.is_durable(self._serial):
            return None
        self._announce()
        ctx.commit_up_to(self._begins)
        return Elected(frozenset(ctx.voters))

    def _is_held_by_all(self, ctx: Context) -> bool:
        return all(self.replication.counted(founder, ctx) >= self._begins for founder in ctx.voters)
