"""What a member tells the others of itself, and when."""

from __future__ import annotations

from p2praft.raft.context import Context
from p2praft.raft.histories.entries import Measure
from p2praft.raft.histories.holding import Holding
from p2praft.raft.histories.messages import End, Standing
from p2praft.raft.types import Member

STANDING_EVERY = 4
"""Election timeouts after which a member repeats its standing to everybody."""


class Telling:
    """Tells a member's standing to everybody whenever it changes, and again from time to time.

    Args:
        holding: What the member holds.
        ctx: The shared state.
        start: Which start of the storage this is.

    Attributes:
        deadline: When it is told again: one that got lost must not hold anything up for ever.
        joins_only: Whether the member neither founds nor is to be named as a founder of an empty history.
        may_write: Whether the member may write a genesis now.
    """

    def __init__(self, holding: Holding, ctx: Context, start: int) -> None:
        self.deadline = ctx.now
        self.joins_only = self.may_write = False
        self._holding = holding
        self._start = start
        self._began_in, self._began_with = ctx.history, ctx.log.last
        self._told: Standing | None = None
        self._told_of: tuple[object, ...] = ()

    def tick(self, ctx: Context) -> None:
        """Repeat it if it is time."""
        if ctx.now >= self.deadline:
            self.deadline = ctx.now + STANDING_EVERY * ctx.config.election_timeout
            self._told = None

    def again(self) -> None:
        """Somebody has not heard it yet."""
        self._told = None

    def tell(self, ctx: Context) -> None:
        """Tell everybody, if it has changed; once it is durable."""
        log = ctx.log
        quiet = ctx.leader is None or not ctx.begun
        of = (  # all that a standing is made of, at the price of a few comparisons: this runs in every step
            ctx.disk.record,
            ctx.me,
            len(log.marks),
            log.base if not log.marks else None,
            log.commands.bit_length(),
            ctx.snapshot,
            ctx.leaving,
            self.joins_only,
            self.may_write,
            self._holding.is_sealed,
            (log.last, ctx.term, self._over(ctx)) if quiet else None,
        )
        if self._told is not None and of == self._told_of:
            return
        standing, self._told_of = self.standing(ctx, quiet=quiet), of
        if standing != self._told:
            self._told = standing
            for member in list(ctx.roster.bonded):
                ctx.send_when_durable(member, standing)

    def standing(self, ctx: Context, *, quiet: bool) -> Standing:
        """What there is to be told; ``quiet`` if the member hears no leader."""
        holding = self._holding
        past = holding.own_past
        return Standing(
            factor=ctx.preference.factor,
            leaving=ctx.leaving,
            joins_only=self.joins_only,
            may_write=self.may_write,
            attempt=ctx.disk.record.attempt,
            history=ctx.history,
            genesis=past.genesis if past else None,
            founded=ctx.begun,
            measure=past.measure if past else Measure(),
            seal=holding.own_end(End.SEALED) if holding.is_sealed else None,
            held=holding.held() if ctx.begun and quiet else None,
            known=past.known if past else (),
            over=self._over(ctx) if quiet else (),
            lost=ctx.disk.record.lost,
            snapshot=ctx.snapshot,
            start=self._start,
            began_in=self._began_in,
            began_with=self._began_with,
        )

    def _over(self, ctx: Context) -> tuple[Member, ...]:
        """Whom others should know to be over: voters, and the writer of the genesis, which need not be one."""
        genesis = self._holding.genesis
        return ctx.roster.over({*ctx.voters, genesis.writer} if genesis is not None else ctx.voters)
