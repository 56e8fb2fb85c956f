"""Which history a member takes up when somebody feeds it."""

from __future__ import annotations

from p2praft.raft.context import Context
from p2praft.raft.histories import rules
from p2praft.raft.histories.entries import NO_HISTORY
from p2praft.raft.histories.holding import Holding
from p2praft.raft.histories.messages import Standing
from p2praft.raft.histories.states import State
from p2praft.raft.types import Member


def adopts(
    standing: Standing, sender: Member, holding: Holding, ctx: Context, *, joins_only: bool, sealed_since: float
) -> bool:
    """Take up the history that ``sender`` leads, if this member may; whether it did.

    Args:
        standing: What the sender says of itself.
        sender: Who feeds us.
        holding: What we hold.
        ctx: The shared state.
        joins_only: Whether this member must not be a founder of an empty history.
        sealed_since: When we learned of our seal, on the engine's clock.
    """
    state = holding.state
    if holding.is_renewing:
        return False
    if state is State.SEALED and standing.founded:
        return _may_move(standing, holding, ctx, sealed_since) and holding.move(standing)
    if state is State.NONE:
        may = not ctx.disk.record.bars(standing.history, ctx.me.incarnation)
        fits = standing.lives or (_is_offered(standing, sender, ctx) and (bool(standing.known) or not joins_only))
    else:
        may = state is State.SEALED or (state is State.LIVING and ctx.leader is None)
        fits = _is_offered(standing, sender, ctx) and _is_our_rebirth(standing, ctx)
    if may and fits:
        holding.take_up(standing)
    return may and fits


def _may_move(standing: Standing, holding: Holding, ctx: Context, sealed_since: float) -> bool:
    """Whether the feeder holds our heir; those that do not know of the seal yet are given a moment to hear of it from us."""
    if not standing.lives or not rules.inherits(standing, holding.seal.into, ctx.history):
        return False
    waiting = any(
        other is not None and other.history == ctx.history and other.seal is None
        for other in ctx.roster.bonded.values()
    )
    return not waiting or ctx.now >= sealed_since + ctx.config.bootstrap_delay


def _is_offered(standing: Standing, sender: Member, ctx: Context) -> bool:
    """Whether a member offers a genesis of its own that names us."""
    genesis = standing.genesis
    return (
        genesis is not None
        and not standing.founded
        and sender == genesis.writer
        and ctx.me in genesis.founders
        and standing.attempt == genesis.attempt
        and not ctx.preference.is_observer
    )


def _is_our_rebirth(standing: Standing, ctx: Context) -> bool:
    """Whether an offered genesis is born of our history, from a log at least as advanced as ours."""
    genesis = standing.genesis
    if genesis is None or not genesis.ancestors:
        return False
    branch = genesis.ancestors[-1]
    return branch.history == ctx.history and ctx.log.last <= branch.at


def feeds(member: Member, holding: Holding, ctx: Context) -> bool:
    """Whether a member takes what we replicate."""
    standing = ctx.roster.bonded.get(member)
    if standing is None or ctx.roster.is_over(member):
        return False
    if standing.history == ctx.history:
        return True
    if holding.state is State.WRITING:
        genesis = holding.genesis
        # What is not durable here must not be held elsewhere: we could not take it back.
        is_durable = ctx.log.stable >= ctx.log.voters_index
        may = genesis is not None and member in genesis.founders and standing.history in (NO_HISTORY, holding.parent)
        return is_durable and may
    if standing.seal is not None:
        past = holding.own_past
        known = past.known if past is not None else ()
        return standing.seal.into == ctx.history or standing.seal.into in known or standing.history in known
    return standing.history == NO_HISTORY
