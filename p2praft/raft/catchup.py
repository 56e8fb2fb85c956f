"""Bringing a member that is far behind up to date from several others at once, followers before the leader.

What is fetched is committed: log entries, or the chunks of a snapshot and then the entries behind it. Committed entries
and snapshots of one digest are the same wherever they come from, so pieces are asked of whoever is bonded, a few at a
time of each; whoever does not answer in time, or no longer has it, is left out and its pieces are asked of the rest.
When nobody is left the leader goes on as it would without all this.

Source: Raft paper, section 7; the division of the work among members is our own.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, deque
from collections.abc import Iterable, Sequence

from p2praft.raft.context import Context
from p2praft.raft.effects import EventKind, SendChunk, StoreChunk
from p2praft.raft.entries import LogEntry, Snapshot
from p2praft.raft.histories.entries import Genesis
from p2praft.raft.histories.messages import Standing
from p2praft.raft.messages import (
    AppendEntriesResponse,
    FetchChunk,
    FetchedChunk,
    FetchedEntries,
    FetchEntries,
    InstallSnapshot,
    StateSync,
)
from p2praft.raft.types import NO_DIGEST, START, Cursor, Index, Member, Term, Vote

logger = logging.getLogger("p2praft.raft")

FAR_BEHIND = 4096
"""Entries behind the leader from which a member asks others than the leader."""
RANGE = 1024
"""Entries asked for at once."""
RANGE_BYTES = 256 * 1024
"""Bytes of entries that are sent at once at most."""
WINDOW = 4
"""Pieces that are asked of one member and not answered."""
PATIENCE = 4
"""Election timeouts without any piece after which a member is given up: a chunk in so long is a very slow link."""
MAX_HELD = 16
"""Ranges of entries that may wait for one before them."""


class Pieces:
    """Numbers of pieces that are still to be asked for, in order; those that came back are asked for first.

    How many there are is a member's word, so what was never handed out takes no memory.
    """

    def __init__(self, numbers: range) -> None:
        self._fresh = numbers
        self._back: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._back) + len(self._fresh)

    @property
    def first(self) -> int:
        """The next one."""
        return self._back[0] if self._back else self._fresh[0]

    def popleft(self) -> int:
        """Take the next one."""
        if self._back:
            return self._back.popleft()
        first, self._fresh = self._fresh[0], self._fresh[1:]
        return first

    def appendleft(self, piece: int) -> None:
        """It comes next."""
        self._back.appendleft(piece)


class Fetch:
    """Pieces and whom they are asked of.

    Attributes:
        busy: Pieces that were asked for: of whom, and until when they are waited for.
        failed: Members that are not asked again.
    """

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces
        self.busy: dict[int, tuple[Member, float]] = {}
        self.failed: set[Member] = set()

    @property
    def deadline(self) -> float:
        """When the next piece is overdue."""
        return min((until for _, until in self.busy.values()), default=float("inf"))

    def answered(self, piece: int, sender: Member) -> bool:
        """Whether the piece was expected from ``sender``; it is no longer."""
        if self.busy.get(piece, (None, 0.0))[0] != sender:
            return False
        del self.busy[piece]
        return True

    def keep_waiting_for(self, member: Member, until: float) -> None:
        """It has answered something, so it is only slow: what else it owes may take as long again."""
        for piece, (owner, _) in self.busy.items():
            if owner == member:
                self.busy[piece] = (owner, until)

    def again(self, piece: int) -> None:
        """The piece must be asked for once more."""
        self.busy.pop(piece, None)
        self.pieces.appendleft(piece)

    def give_up_on(self, member: Member) -> None:
        """Ask others for whatever it owes."""
        self.failed.add(member)
        for piece in [piece for piece, (owner, _) in self.busy.items() if owner == member]:
            self.again(piece)

    def next_source(self, sources: list[Member]) -> Member | None:
        """Who of ``sources`` has room for another piece and owes the fewest; the earlier one of equals."""
        owed = Counter(owner for owner, _ in self.busy.values())
        free = [member for member in sources if member not in self.failed and owed[member] < WINDOW]
        return min(free, key=lambda member: owed[member], default=None)


class EntryFetch(Fetch):
    """Committed entries up to ``target``. A piece is the index from which entries are asked for, to its range's end."""

    def __init__(self, first: Index, target: Index, size: int) -> None:
        super().__init__(Pieces(range(first, target + 1, size)))
        self.first, self.target, self.size = first, target, size
        self.held: dict[int, tuple[Cursor, bytes, tuple[LogEntry, ...]]] = {}

    def end_of(self, piece: int) -> Index:
        """The last index of the range that ``piece`` is in."""
        return Index(min(piece + self.size - 1 - (piece - self.first) % self.size, self.target))


class SnapshotFetch(Fetch):
    """The chunks of a snapshot. A piece is a chunk's number."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(Pieces(range(snapshot.chunks)))
        self.snapshot = snapshot
        self.digests: dict[int, bytes] = {}
        self.restoring = False


class CatchUp:
    """One member's part in it: what it fetches, and what it gives to others.

    Attributes:
        history: The history that is fetched for; ours, or the one that a member without history is about to join.
        far_behind: Entries behind the leader from which others than the leader are asked.
        range: Entries asked for at once.
    """

    def __init__(self, *, far_behind: int = FAR_BEHIND, range_size: int = RANGE) -> None:
        self.far_behind = far_behind
        self.range = range_size
        self.history = b""
        self._fetch: EntryFetch | SnapshotFetch | None = None
        self._serial = 0
        self._not_before = float("-inf")
        self._leader: Member | None = None  # a member without history follows nobody yet

    @property
    def fetching(self) -> bool:
        """Whether others are bringing this member up to date, so that the leader need not."""
        return self._fetch is not None

    @property
    def progress(self) -> tuple[str, int, int] | None:
        """What is fetched (``entries`` or ``snapshot``), how many pieces have come, of how many; None if nothing is."""
        fetch = self._fetch
        if fetch is None:
            return None
        open_pieces = len(fetch.pieces) + len(fetch.busy)
        if isinstance(fetch, SnapshotFetch):
            return "snapshot", fetch.snapshot.chunks - open_pieces, fetch.snapshot.chunks
        total = -(-(fetch.target - fetch.first + 1) // fetch.size)
        return "entries", max(0, total - open_pieces), total

    @property
    def deadline(self) -> float:
        """When :meth:`tick` has something to do."""
        return self._fetch.deadline if self._fetch else float("inf")

    # --- when to begin and to end

    def on_far_behind(self, leader_at: Index, ctx: Context) -> None:
        """The leader's log goes at least to ``leader_at``, and ours ends before."""
        first = Index(ctx.log.last.index + 1)
        if self._fetch is not None or ctx.now < self._not_before or leader_at - first < self.far_behind:
            return
        if self._followers(self._of_history(ctx.history, ctx), ctx):
            self._begin(EntryFetch(first, leader_at, self.range), ctx.history, ctx)

    def on_install_snapshot(self, request: InstallSnapshot, leader: Member, history: bytes, ctx: Context) -> None:
        """The leader no longer has the entries that we lack."""
        self._leader = leader
        fetch = self._fetch
        if isinstance(fetch, EntryFetch) or (isinstance(fetch, SnapshotFetch) and fetch.restoring):
            return  # others still have those entries, or we are nearly there
        offers = Counter(
            standing.snapshot
            for standing in self._of_history(history, ctx).values()
            if standing.snapshot is not None
            and standing.snapshot.base.last.index >= max(request.base.index, ctx.commit + 1)
        )
        if isinstance(fetch, SnapshotFetch) and fetch.snapshot in offers:
            fetch.failed.clear()
            self._ask(ctx)
        elif offers:
            # The newest, and of several at one position the one that most can give.
            best = max(offers, key=lambda s: (s.base.last.index, offers[s], s.digest))
            self._begin(SnapshotFetch(best), history, ctx)
        else:
            self.stop()

    def stop(self) -> None:
        """Forget what was being fetched: the history is given up, or the member no longer follows."""
        self._fetch = None

    def tick(self, ctx: Context) -> None:
        """Ask others for what is overdue."""
        fetch = self._fetch
        if fetch is None or ctx.now < fetch.deadline:
            return
        for owner in sorted({owner for owner, until in fetch.busy.values() if until <= ctx.now}):
            logger.info("%s does not get what it asked %s for; it asks others", ctx.me, owner)
            fetch.give_up_on(owner)
        self._ask(ctx)

    def on_bond_lost(self, member: Member, ctx: Context) -> None:
        """Whatever ``member`` owes is asked of others."""
        if self._fetch is not None:
            self._fetch.give_up_on(member)
            self._fetch.failed.discard(member)
            self._ask(ctx)

    # --- messages

    def receive(self, message: StateSync, sender: Member, ctx: Context) -> None:
        """Answer, or take an answer."""
        if isinstance(message, FetchEntries):
            self._give_entries(message, sender, ctx)
        elif isinstance(message, FetchChunk):
            if ctx.snapshot is not None and ctx.snapshot.digest == message.digest:
                ctx.chunks.append(SendChunk(to=sender, digest=message.digest, number=message.number))
            else:
                ctx.send(sender, FetchedChunk(digest=message.digest, number=message.number, data=None))
        elif isinstance(message, FetchedEntries):
            self._take_entries(message, sender, ctx)
        else:
            self._take_chunk(message, sender, ctx)

    def _give_entries(self, request: FetchEntries, sender: Member, ctx: Context) -> None:
        entries: tuple[LogEntry, ...] = ()
        prev, digest = START, NO_DIGEST
        if ctx.log.base.index < request.first <= ctx.commit:
            last = min(request.last, ctx.commit, request.first + self.range - 1)
            entries = ctx.log.slice(request.first, last, RANGE_BYTES)
            prev, digest = ctx.log.cursor_at(request.first - 1), ctx.log.digest_at(request.first - 1)
        ctx.send(sender, FetchedEntries(first=request.first, prev=prev, digest=digest, entries=entries))

    def _take_entries(self, message: FetchedEntries, sender: Member, ctx: Context) -> None:
        fetch = self._fetch
        if not isinstance(fetch, EntryFetch) or not fetch.answered(message.first, sender):
            return
        entries = message.entries
        if not entries or not well_formed(message.prev, entries, ctx.term) or entries[0].index != message.first:
            fetch.give_up_on(sender)
            fetch.again(message.first)
        else:
            fetch.keep_waiting_for(sender, self._patience(ctx))
            fetch.held[message.first] = (message.prev, message.digest, entries)
            if entries[-1].index < fetch.end_of(message.first):
                fetch.pieces.appendleft(entries[-1].index + 1)  # cut short by its size
            self._append_held(fetch, ctx)
        self._ask(ctx)

    def _append_held(self, fetch: EntryFetch, ctx: Context) -> None:
        for first in sorted(fetch.held):
            if first > ctx.log.last.index + 1:
                break
            prev, digest, entries = fetch.held.pop(first)
            if not ctx.log.matches(prev, digest):
                # The end of our log was never committed: the leader finds where it parts from its own.
                self._give_up(ctx)
                return
            missing = ctx.log.missing_from(entries)
            if missing and missing[0].index <= ctx.commit:
                self._give_up(ctx)
                return
            ctx.persist(missing)
            ctx.commit_up_to(entries[-1].index)
        if ctx.log.last.index >= fetch.target:
            self.stop()
            self._report(ctx, matched=True)

    def _take_chunk(self, message: FetchedChunk, sender: Member, ctx: Context) -> None:
        fetch = self._fetch
        if not isinstance(fetch, SnapshotFetch) or fetch.snapshot.digest != message.digest:
            return
        if fetch.busy.get(message.number, (None, 0.0))[0] != sender:
            return
        if message.data is None:
            fetch.give_up_on(sender)
            self._ask(ctx)
            return
        fetch.keep_waiting_for(sender, self._patience(ctx))
        # It stays busy until it is stored: the disk's pace bounds what is under way.
        fetch.busy[message.number] = (ctx.me, float("inf"))
        fetch.digests[message.number] = hashlib.sha256(message.data).digest()
        ctx.chunks.append(StoreChunk(fetch=self._serial, number=message.number, data=message.data))

    def chunk_stored(self, serial: int, number: int, ctx: Context) -> None:
        """The shell has stored a chunk of the fetch ``serial``."""
        fetch = self._fetch
        if not isinstance(fetch, SnapshotFetch) or serial != self._serial:
            return
        del fetch.busy[number]
        snapshot = fetch.snapshot
        if fetch.pieces or fetch.busy:
            self._ask(ctx)
        elif digest_of([fetch.digests[at] for at in range(snapshot.chunks)]) == snapshot.digest:
            fetch.restoring = True
            ctx.restore = snapshot
        else:
            logger.warning("%s fetched a snapshot whose digest is wrong; it drops it and asks again", ctx.me)
            self._give_up(ctx)

    def installed(self, ctx: Context) -> None:
        """The snapshot stands in place of the log: the leader goes on behind it, with voters that it may not name yet."""
        self.stop()
        if ctx.leader is None and self._leader in ctx.roster.bonded:
            ctx.follow(self._leader)
        self._report(ctx, matched=True)

    # --- inner workings

    def _begin(self, fetch: EntryFetch | SnapshotFetch, history: bytes, ctx: Context) -> None:
        self._fetch, self.history = fetch, history
        self._serial += 1
        if isinstance(fetch, SnapshotFetch):
            what = f"a snapshot at {fetch.snapshot.base.last.index}, {fetch.snapshot.chunks} chunks"
        else:
            what = f"entries {fetch.first} to {fetch.target}"
        ctx.emit(EventKind.CATCHING_UP, text=f"fetches {what}")
        self._ask(ctx)

    def _ask(self, ctx: Context) -> None:
        """Hand out pieces to whoever has room."""
        fetch = self._fetch
        if fetch is None:
            return
        holders = self._of_history(self.history, ctx)
        if isinstance(fetch, SnapshotFetch):
            holders = {member: s for member, s in holders.items() if s.snapshot == fetch.snapshot}
        sources = [member for member in self._followers(holders, ctx) if member not in fetch.failed]
        if not sources and isinstance(fetch, SnapshotFetch):
            sources = [member for member in holders if member not in fetch.failed]  # the leader alone has it
        while fetch.pieces and (source := fetch.next_source(sources)) is not None:
            if isinstance(fetch, EntryFetch) and len(fetch.held) >= MAX_HELD and fetch.pieces.first > min(fetch.held):
                return
            piece = fetch.pieces.popleft()
            fetch.busy[piece] = (source, self._patience(ctx))
            request: StateSync
            if isinstance(fetch, SnapshotFetch):
                request = FetchChunk(digest=fetch.snapshot.digest, number=piece)
            else:
                request = FetchEntries(first=Index(piece), last=fetch.end_of(piece))
            ctx.send(source, request, history=self.history)
        if fetch.pieces and not fetch.busy:
            self._give_up(ctx)

    def _patience(self, ctx: Context) -> float:
        return ctx.now + PATIENCE * ctx.config.election_timeout

    def _of_history(self, history: bytes, ctx: Context) -> dict[Member, Standing]:
        return {
            member: standing
            for member, standing in ctx.roster.bonded.items()
            if standing is not None and standing.history == history and not ctx.roster.is_over(member)
        }

    def _followers(self, members: Iterable[Member], ctx: Context) -> list[Member]:
        return sorted(member for member in members if member != (ctx.leader or self._leader))

    def _give_up(self, ctx: Context) -> None:
        """Nobody can help: leave it to the leader for a while."""
        self.stop()
        self._not_before = ctx.now + 4 * ctx.config.election_timeout
        self._report(ctx, matched=False)

    def _report(self, ctx: Context, *, matched: bool) -> None:
        """Have the leader go on where our log ends."""
        if ctx.leader is None or ctx.leader == ctx.me or not ctx.has_history:
            return
        vote = Vote.GRANTED if matched and not ctx.preference.is_observer else Vote.ABSTAINED
        last = ctx.log.cursor_at(ctx.commit) if matched else ctx.log.last
        answer = AppendEntriesResponse(term=ctx.term, vote=vote, matched=matched, last=last, round=0)
        ctx.send_when_durable(ctx.leader, answer)


def digest_of(chunk_digests: Iterable[bytes]) -> bytes:
    """A snapshot's digest, from the SHA-256 digests of its chunks in order."""
    return hashlib.sha256(b"".join(chunk_digests)).digest()


def well_formed(prev: Cursor, entries: Sequence[LogEntry], term: Term) -> bool:
    """Whether entries follow ``prev`` without a gap, by terms that never go back or past ``term``.

    The first of all is a genesis without ancestors; every other genesis names the entry before it as where it branches off.
    """
    before = prev
    for entry in entries:
        if entry.index != before.index + 1 or entry.term < before.term:
            return False
        if type(entry.payload) is Genesis:
            ancestors = entry.payload.ancestors
            if (ancestors[-1].at != before) if ancestors else before != START:
                return False
        elif before == START:
            return False
        before = entry.cursor
    return before.term <= term or not entries
