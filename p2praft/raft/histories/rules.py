"""The questions on which histories begin and end, answered from what one member knows. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from p2praft.raft.context import Context
from p2praft.raft.histories.entries import NO_HISTORY, Genesis, Past
from p2praft.raft.histories.messages import Held, Standing
from p2praft.raft.quorum import quorum_size
from p2praft.raft.types import Member

# --- founding -----------------------------------------------------------------------------------------------------


def eligible(ctx: Context, *, strict: bool = True) -> list[Member]:
    """Members without history that a genesis of ours could name now, in the order in which they rank; we among them.

    Args:
        ctx: What we know.
        strict: Leave out those that may only join: for the genesis of an empty history.
    """
    found = [(ctx.preference.is_reluctant, ctx.me)]
    for member, standing in ctx.roster.bonded.items():
        if standing is not None and _is_free(standing, strict) and not ctx.roster.is_over(member):
            found.append((standing.factor > 1, member))
    return [member for _, member in sorted(found, key=lambda item: (item[0], item[1].peer_id))]


def _is_free(standing: Standing, strict: bool) -> bool:
    return standing.history == NO_HISTORY and may_vote(standing) and not (strict and standing.joins_only)


def may_vote(standing: Standing) -> bool:
    """Whether a member could be a voter, by its own word."""
    return standing.factor > 0 and not standing.leaving


def must_defer(ctx: Context) -> bool:
    """Whether another that ranks before us may write a genesis now."""
    before = eligible(ctx)
    for member in before[: before.index(ctx.me)]:
        standing = ctx.roster.bonded[member]
        if standing is not None and standing.may_write:
            return True
    return False


def uncommitted_elsewhere(ctx: Context) -> frozenset[bytes]:
    """Histories that bonded members hold without knowing them committed: they may be founded any moment."""
    return frozenset(
        standing.history
        for standing in ctx.roster.bonded.values()
        if standing is not None and standing.history != NO_HISTORY and not standing.founded
    )


def must_take_back(genesis: Genesis, ctx: Context) -> str | None:
    """Why the uncommitted genesis that we wrote must be taken back, if it must."""
    for founder in genesis.founders:
        if founder != ctx.me and (founder not in ctx.roster.bonded or ctx.roster.is_over(founder)):
            return f"founder {founder} is lost"
    branch = genesis.ancestors[-1] if genesis.ancestors else None
    reborn_from = branch.history if branch else None
    for founder in genesis.founders:
        standing = ctx.roster.bonded.get(founder)
        if standing is None or not standing.founded:
            continue
        if standing.history not in (genesis.history, reborn_from):
            return f"founder {founder} holds another history"
    for member, standing in ctx.roster.bonded.items():
        if standing is None or standing.genesis is None or standing.history == genesis.history:
            continue
        if branch and standing.history == branch.history and standing.held and standing.held.last > branch.at:
            return f"{member} holds more than we do"
        if (
            standing.founded
            and standing.history != reborn_from
            and (reborn_from is None or descends(standing, reborn_from))
        ):
            return f"{member} holds a founded history"
        rivals = _parent(standing.genesis) == _parent(genesis)  # both empty, or children of one parent
        if not standing.founded and standing.genesis.rank < genesis.rank and rivals:
            return f"{member} holds a genesis that ranks before ours"
    return None


def _parent(genesis: Genesis) -> bytes:
    return genesis.ancestors[-1].history if genesis.ancestors else NO_HISTORY


def outranked(parent: bytes, ctx: Context) -> bool:
    """Whether a bonded member holds an uncommitted genesis that ranks before any of ours with the same parent."""
    own = (ctx.preference.is_reluctant, ctx.me.peer_id)
    return any(
        standing is not None
        and standing.genesis is not None
        and not standing.founded
        and _parent(standing.genesis) == parent
        and standing.genesis.rank < own
        for standing in ctx.roster.bonded.values()
    )


def descends(standing: Standing, history: bytes) -> bool:
    """Whether a member's history descends from ``history``, or has taken it over."""
    return standing.history != history and history in standing.known


def missing(members: Iterable[Member], ctx: Context) -> tuple[Member, ...]:
    """Those of ``members`` that are not here, and not known to be over, in order."""
    here = {ctx.me, *ctx.roster.bonded}
    return tuple(sorted(m for m in members if m not in here and not ctx.roster.is_over(m)))


def inherits(standing: Standing, into: bytes, history: bytes) -> bool:
    """Whether a member's history is the heir of ``history``, which was sealed ``into`` another."""
    return standing.history == into or into in standing.known or history in standing.known


def must_drop(genesis: Genesis, ctx: Context) -> str | None:
    """Why the genesis that another wrote, and that we do not know committed, must be dropped, if it must."""
    writer = ctx.roster.bonded.get(genesis.writer)
    if writer is not None and writer.attempt >= genesis.attempt and writer.history != genesis.history:
        return f"its writer {genesis.writer} took it back"
    if not ctx.roster.is_over(genesis.writer):
        return None
    for founder in genesis.founders:
        if founder in (ctx.me, genesis.writer) or ctx.roster.is_over(founder):
            continue
        standing = ctx.roster.bonded.get(founder)
        if standing is None or (standing.history == genesis.history and not _is_void_for(standing, genesis)):
            return None
    return f"its writer {genesis.writer} has forgotten it, and nobody knows it committed"


def _is_void_for(standing: Standing, genesis: Genesis) -> bool:
    return not standing.founded and genesis.writer in standing.over


# --- the end of a history -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Holders:
    """Bonded members, and we, that hold our history and hear no leader.

    Attributes:
        held: What each holds.
        complete: Whether everybody that is bonded has said what it is, and nobody with our history hears a leader.
    """

    held: dict[Member, Held]
    complete: bool

    @property
    def best(self) -> Held:
        """What the most advanced of them holds."""
        return max(self.held.values(), key=lambda held: held.last)


def holders(own: Held, history: bytes, ctx: Context) -> Holders:
    """Who holds our history, as far as we see."""
    held, complete = {ctx.me: own}, True
    for member, standing in ctx.roster.bonded.items():
        if standing is None:
            complete = False
        elif standing.history == history and standing.founded:
            if standing.held is not None:
                held[member] = standing.held
            else:
                complete = False
    return Holders(held, complete)


def survivors(voters: tuple[Member, ...], history: bytes, ctx: Context) -> list[Member]:
    """Voters of a history that are still what they were, as far as we know."""
    return [voter for voter in voters if not ctx.roster.is_over(voter) and not _has_gone_on(voter, history, ctx)]


def _has_gone_on(voter: Member, history: bytes, ctx: Context) -> bool:
    """Whether a voter has ended its part in a history: it holds one that descends from it, and that is founded."""
    standing = ctx.roster.bonded.get(voter)
    return standing is not None and standing.founded and descends(standing, history)


def is_dead(found: Holders, ctx: Context) -> bool:
    """Whether too few of the newest voters are still what they were to make a majority."""
    voters = found.best.voters
    return found.complete and bool(voters) and len(survivors(voters, ctx.history, ctx)) < quorum_size(voters)


def has_nothing_to_lose(past: Past | None) -> bool:
    """Whether a log has no application command and no promise to take another history over."""
    return past is None or (past.commands == 0 and not past.promised)


def living_descendant(history: bytes, ctx: Context) -> Standing | None:
    """What a bonded member says that holds a living history which descends from ours, or has taken it over."""
    for standing in ctx.roster.bonded.values():
        if standing is not None and standing.lives and descends(standing, history):
            return standing
    return None


def heir(history: bytes, ctx: Context) -> Standing | None:
    """What a bonded member says that holds a living history in favour of which ours has ended."""
    for standing in ctx.roster.bonded.values():
        if standing is None or standing.genesis is None or not standing.lives:
            continue
        if descends(standing, history) and standing.genesis.branch_of(history) is None:
            return standing
    return None


def foreign(history: bytes, ctx: Context) -> Iterator[tuple[Member, Standing]]:
    """Bonded members that hold another living history."""
    for member, standing in ctx.roster.bonded.items():
        if standing is not None and standing.lives and standing.genesis is not None and standing.history != history:
            yield member, standing


def can_begin_rebirth(member: Member, ctx: Context) -> bool:
    """Whether a holder of a dead history may be a founder of the one that goes on."""
    if member == ctx.me:
        return not ctx.preference.is_observer and not ctx.leaving
    standing = ctx.roster.bonded.get(member)
    return standing is not None and may_vote(standing) and not ctx.roster.is_over(member)


def writer_of_rebirth(found: Holders, ctx: Context) -> Member:
    """The holder with the most advanced log; of several one that may be a founder, and of those the first."""
    best = found.best.last
    ahead = sorted(member for member, held in found.held.items() if held.last == best)
    return next((member for member in ahead if can_begin_rebirth(member, ctx)), ahead[0])


def founders_of_rebirth(found: Holders, ctx: Context) -> tuple[Member, ...]:
    """Who begins a reborn history: holders that may vote; if there are none, members without history that may."""
    able = sorted(member for member in found.held if can_begin_rebirth(member, ctx))
    if not able:
        able = [member for member in eligible(ctx, strict=False) if member != ctx.me]
    return tuple(able[: ctx.config.max_voters])
