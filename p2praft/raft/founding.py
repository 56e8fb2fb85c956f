"""How a group gets its one history, before there is anybody to elect; and what happens if there are two.

The rules (DESIGN, "Where we differ from mosaik", 3):

- Among eligible members that are bonded and have no history, once there are ``expect`` of them, the one that ranks
  first writes the *genesis*: entry 1 of term 1. Whoever writes it leads term 1, so nobody needs to be elected.
- Only its writer may commit a genesis, and only when every founder holds it. Until then nobody campaigns in it, and its
  writer, and only it, may take it back: when a founder is lost, or when it meets a genesis that ranks before its
  own, or a founded history. A founder drops a genesis when its writer shows a higher attempt and another history.
- If the writer is provably gone, no other founder knows of a commit and all of them know that the writer is gone,
  then nobody can ever commit it: it is void. It is void as well if one of its founders holds a founded junior history:
  nobody leaves a founded one for that.
- Of two *founded* histories that meet, the senior one stays; the other yields, and is archived. A founder that does not
  know whether its genesis was committed yields as if it was.

- A history all of whose voters have lost their memory is dead: who only follows it archives what it holds.

Everything here is a question about a :class:`Context`; the engine acts on the answers.
"""

from __future__ import annotations

from p2praft.raft.context import Context
from p2praft.raft.messages import AppendEntries, Cursor, Genesis, Index, LogEntry, Member, Standing, Term


def own_standing(ctx: Context) -> Standing:
    """What this member tells of itself."""
    genesis = ctx.genesis
    return Standing(
        factor=ctx.preference.factor,
        genesis=genesis,
        founded=ctx.founded,
        attempt=ctx.state.attempt,
        gone=tuple(sorted(ctx.gone(genesis.founders))) if genesis else (),
        leaving=ctx.leaving,
        lost=ctx.state.lost,
        snapshot=ctx.snapshot,
        voters_index=ctx.log.voters_index,
        heard_index=ctx.heard_index,
    )


def founders_now(ctx: Context) -> tuple[Member, ...] | None:
    """Whom a genesis of ours would name, we first; None if it is not on us to write one now."""
    if ctx.preference.is_observer or ctx.leaving or not ctx.may_found:
        return None
    eligible: list[tuple[bool, Member]] = [(ctx.preference.is_reluctant, ctx.me)]
    for member, standing in ctx.bonded.items():
        if standing is None:
            return None  # it is about to say what it is
        if standing.founded:
            return None  # there is a history to join
        if standing.genesis is None and standing.factor > 0 and not standing.leaving:
            eligible.append((standing.factor > 1, member))
    eligible.sort(key=lambda item: (item[0], item[1].peer_id))
    if eligible[0][1] != ctx.me or len(eligible) < ctx.config.expect:
        return None
    return tuple(member for _, member in eligible[: ctx.config.max_voters])


def uncommitted_elsewhere(ctx: Context) -> frozenset[bytes]:
    """Histories that bonded members hold without knowing them committed: they may be founded any moment."""
    return frozenset(
        standing.genesis.history
        for standing in ctx.bonded.values()
        if standing is not None and standing.genesis is not None and not standing.founded
    )


def genesis_entry(founders: tuple[Member, ...], history: bytes, ctx: Context) -> LogEntry:
    """The entry that founds a history."""
    created = ctx.epoch + ctx.now
    genesis = Genesis(
        history=history,
        writer=ctx.me,
        attempt=ctx.state.attempt + 1,
        founders=founders,
        reluctant=ctx.preference.is_reluctant,
        created=created,
    )
    return LogEntry(term=Term(1), index=Index(1), time=max(created, 0.0), proposer=ctx.me.peer_id, payload=genesis)


def must_take_back(ctx: Context) -> str | None:
    """Why the uncommitted genesis that we wrote must be taken back, if it must."""
    genesis = ctx.genesis
    if genesis is None or ctx.founded or genesis.writer != ctx.me:
        return None
    for founder in genesis.founders:
        if founder != ctx.me and founder not in ctx.bonded:
            return f"founder {founder} is lost"
    for member, standing in ctx.bonded.items():
        if standing is None or standing.genesis is None or standing.genesis.history == genesis.history:
            continue
        if standing.founded:
            return f"{member} holds a founded history"
        if standing.genesis.rank < genesis.rank:
            return f"{member} holds a genesis that ranks before ours"
    return None


def must_drop(ctx: Context) -> str | None:
    """Why the uncommitted genesis that another wrote must be dropped, if it must."""
    genesis = ctx.genesis
    if genesis is None or ctx.founded or genesis.writer == ctx.me:
        return None
    writer = ctx.bonded.get(genesis.writer)
    if writer is not None and writer.attempt > genesis.attempt and not _holds(writer, genesis):
        return f"its writer {genesis.writer} took it back"
    for founder in genesis.founders:
        other = ctx.bonded.get(founder)
        if other is not None and other.founded and other.genesis and other.genesis.seniority > genesis.seniority:
            return f"its founder {founder} holds a junior history, which it would not if ours had been committed"
    if not ctx.is_gone(genesis.writer):
        return None
    for founder in genesis.founders:
        if founder == ctx.me or ctx.is_gone(founder):
            continue
        standing = ctx.bonded.get(founder)
        if standing is None:
            return None
        if _holds(standing, genesis) and (standing.founded or genesis.writer not in standing.gone):
            return None
    return f"its writer {genesis.writer} is gone and nobody knows of a commit"


def must_yield(ctx: Context) -> Genesis | None:
    """The senior founded history that a bonded member holds, if ours must yield to it.

    A genesis that another wrote yields as well, for it may be founded without our knowing of it: its writer, if it has
    yielded itself, will never tell us. What we hold is archived, for some of it may have been acknowledged.
    """
    genesis = ctx.genesis
    if genesis is None or (genesis.writer == ctx.me and not ctx.founded):
        return None
    others = [
        standing.genesis
        for standing in ctx.bonded.values()
        if standing is not None and standing.founded and standing.genesis is not None
    ]
    senior = min(others, key=lambda other: other.seniority, default=None)
    return senior if senior is not None and senior.seniority < genesis.seniority else None


def must_bury(ctx: Context) -> str | None:
    """Why a founded history that we only follow can never go on, if so.

    All of its voters have lost their memory, so nobody can ever lead it, and it must not keep others from founding. Should we
    only not know its present voters, they will feed us again.
    """
    if not ctx.founded or ctx.me in ctx.voters or ctx.leader in ctx.bonded:
        return None
    return "all of its voters have lost their memory" if len(ctx.gone(ctx.voters)) == len(ctx.voters) else None


def may_adopt(request: AppendEntries, sender: Member, history: bytes, ctx: Context) -> bool:
    """Whether a member without history may take the one that ``request`` begins: founded, or it is a founder."""
    first = request.entries[0].payload if request.entries else None
    if request.prev != Cursor(Term(0), Index(0)) or not isinstance(first, Genesis) or first.history != history:
        return False
    if request.leader_commit >= 1:
        return True
    standing = ctx.bonded.get(sender)
    return (
        ctx.me in first.founders
        and sender == first.writer
        and not ctx.preference.is_observer
        and standing is not None
        and standing.attempt == first.attempt
    )


def _holds(standing: Standing, genesis: Genesis) -> bool:
    return standing.genesis is not None and standing.genesis.history == genesis.history
