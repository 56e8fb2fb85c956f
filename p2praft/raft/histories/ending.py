"""What a member without a leader does about its history: leave it, have it born again, or wait and say for whom."""

from __future__ import annotations

from p2praft.raft.context import Context
from p2praft.raft.effects import EventKind
from p2praft.raft.histories import rules
from p2praft.raft.histories.entries import NO_HISTORY, Measure
from p2praft.raft.histories.holding import Holding
from p2praft.raft.histories.meeting import Meeting
from p2praft.raft.histories.states import State, Wait
from p2praft.raft.quorum import has_quorum, quorum_size
from p2praft.raft.types import Member

PATIENCE = 3
"""Bootstrap delays without a leader after which a member gives up what it has nothing to lose in."""


class Ending:
    """Watches over a history that may be at its end.

    Args:
        holding: What the member holds.
        meeting: What it knows of other histories.
        ctx: The shared state.

    Attributes:
        waits: What the member waits for, and for whom.
        sealed_since: When it learned of its seal, on the engine's clock.
    """

    def __init__(self, holding: Holding, meeting: Meeting, ctx: Context) -> None:
        self._holding = holding
        self._meeting = meeting
        self._ctx = ctx
        self.waits: tuple[Wait, tuple[Member, ...]] | None = None
        self.sealed_since = ctx.now
        self._leaderless_since = ctx.now
        self._heir_missing_since = ctx.now
        self._dead_since: float | None = None
        self._told_stranded = False
        self._waited_for: set[bytes] = set()

    # --- time

    def note_leader(self) -> None:
        """There is a leader."""
        self._leaderless_since, self._dead_since, self._told_stranded = self._ctx.now, None, False

    def note_seal(self) -> None:
        """Our seal is committed."""
        self.sealed_since = self._heir_missing_since = self._ctx.now

    def begin_anew(self) -> None:
        """Another history is held now, or none."""
        self._leaderless_since = self._heir_missing_since = self._ctx.now
        self._dead_since = None

    def waited(self, delays: float) -> bool:
        """Whether there has been no leader for so many bootstrap delays."""
        ctx = self._ctx
        return ctx.leader is None and ctx.now - self._leaderless_since >= delays * ctx.config.bootstrap_delay

    def wait_for_others_attempts(self) -> None:
        """Somebody is just founding: give each such attempt one delay, once, before founding beside it."""
        ctx = self._ctx
        unsettled = rules.uncommitted_elsewhere(ctx) - self._waited_for
        if unsettled:
            self._waited_for |= unsettled
            self._holding.wait_until = max(self._holding.wait_until, ctx.now + ctx.config.bootstrap_delay)

    # --- each state's question

    def look_at_living(self) -> None:
        """A founded history whose leader is not heard."""
        ctx, holding = self._ctx, self._holding
        if (heir := rules.heir(ctx.history, ctx)) is not None and self.waited(1):
            # A leader that has our seal in its log would still feed it to us; it was waited for.
            holding.leave("it was sealed", into=heir.history, archive=True)
        elif not self._leave_lightly():
            found = rules.holders(holding.held(), ctx.history, ctx)
            if rules.is_dead(found, ctx):
                self._look_at_dead(found)
            elif ctx.voters and self.waited(1):
                self._strand(found)

    def look_at_sealed(self) -> None:
        """Wait until the heir feeds us; if it is gone, begin anew where our history ended."""
        ctx, holding = self._ctx, self._holding
        seal = holding.seal
        self.waits = (Wait.HISTORY, seal.voters)
        told = {member: standing for member, standing in ctx.roster.bonded.items() if standing is not None}
        if any(standing.lives and rules.inherits(standing, seal.into, ctx.history) for standing in told.values()):
            self._heir_missing_since = ctx.now
            return
        gone = len(rules.survivors(seal.voters, seal.into, ctx)) < quorum_size(seal.voters)
        if not gone and not self._missed_heir:
            return
        # Voters that were with the heir already, and have lost it, count by their peers.
        here = {member.peer_id for member, standing in told.items() if standing.history in (ctx.history, NO_HISTORY)}
        together = 2 * sum(voter.peer_id in here | {ctx.me.peer_id} for voter in ctx.voters) > len(ctx.voters)
        self._meeting.look(ctx)
        if (proof := self._meeting.proven_above(Measure(), ctx)) is not None:
            holding.leave("it was sealed, and its heir is gone", into=proof.of, archive=True)
        elif together or len(rules.survivors(ctx.voters, ctx.history, ctx)) < quorum_size(ctx.voters):
            held = {
                member: standing.held or holding.held()
                for member, standing in told.items()
                if standing.history == ctx.history and standing.seal is not None
            }
            self._consider_rebirth(rules.Holders({ctx.me: holding.held(), **held}, complete=True))
        else:
            self.waits = (Wait.VOTERS, rules.missing(ctx.voters, ctx))

    def look_for_lost_heir(self) -> None:
        """Without history, but with archives: if nobody is left of what ours ended in favour of, take the newest up again."""
        ctx, ended = self._ctx, self._ctx.disk.record.ended
        if any(standing is not None and standing.founded for standing in ctx.roster.bonded.values()):
            self._heir_missing_since = ctx.now
        elif ended and self._missed_heir and not self._holding.is_renewing and self._holding.revives is None:
            self._holding.revive(ended[-1].branch.history)

    # --- inner workings

    @property
    def _missed_heir(self) -> bool:
        ctx = self._ctx
        return ctx.now - self._heir_missing_since >= PATIENCE * ctx.config.bootstrap_delay

    def _leave_lightly(self) -> bool:
        """Leave a history in which there is nothing to lose; whether we did."""
        ctx, holding = self._ctx, self._holding
        past = holding.past()
        if not rules.has_nothing_to_lose(past):
            return False
        mine = past.measure if past is not None else Measure()
        if (proof := self._meeting.proven_above(mine, ctx)) is not None:
            holding.leave("a higher history lives", into=proof.of)
            return True
        if self.waited(PATIENCE) and not has_quorum(ctx.voters, {ctx.me, *ctx.roster.bonded}):
            holding.leave("it has no majority, and nothing to lose")
            return True
        return False

    def _look_at_dead(self, found: rules.Holders) -> None:
        holding, history = self._holding, self._ctx.history
        if (child := rules.living_descendant(history, self._ctx)) is not None:
            holding.leave("it has died, and another history goes on from it", into=child.history, archive=True)
        elif rules.has_nothing_to_lose(holding.past()):
            holding.leave("it has died")
        else:
            self._consider_rebirth(found)

    def _consider_rebirth(self, found: rules.Holders) -> None:
        """Wait for other holders, then let the one with the most advanced log begin a new history."""
        ctx, holding = self._ctx, self._holding
        self.waits = (Wait.REBIRTH, ())
        if self._dead_since is None:
            self._dead_since = ctx.now
        since, delay = self._dead_since, ctx.config.bootstrap_delay
        self.wait_for_others_attempts()
        newest = max((ctx.roster.since[member] for member in found.held if member != ctx.me), default=since)
        ready_at = min(max(newest, since) + delay, since + PATIENCE * delay)
        if ctx.now < max(ready_at, holding.wait_until) or holding.is_renewing:
            return
        if rules.writer_of_rebirth(found, ctx) != ctx.me or rules.outranked(ctx.history, ctx):
            return
        founders = rules.founders_of_rebirth(found, ctx)
        if founders:
            holding.write(founders, above=max(held.term for held in found.held.values()))
            return
        self.waits = (Wait.MEMBERS, ())
        if holding.state is State.LIVING and (proof := self._meeting.proven_above(Measure(), ctx)) is not None:
            # Nobody here can go on with it: any history that lives takes what it held, as if it had been sealed.
            holding.leave("it has died, and nobody can go on with it", into=proof.of, archive=True)

    def _strand(self, found: rules.Holders) -> None:
        """No majority, and no proof that there will be none: wait, and say for whom."""
        ctx = self._ctx
        missing = rules.missing(rules.survivors(found.best.voters, ctx.history, ctx), ctx)
        if not missing:
            return
        self.waits = (Wait.VOTERS, missing)
        if not self._told_stranded and self.waited(PATIENCE):
            self._told_stranded = True
            names = ", ".join(map(str, missing))
            ctx.emit(EventKind.STRANDED, text=f"no majority: waits for {names}; or `recover`, or `abandon`")
