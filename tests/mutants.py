"""``python -m tests.mutants``: weaken one rule at a time; the tests must notice each.

Every mutant is a copy of the sources in a temporary directory with one text replaced. Unit tests and the simulation are
tried on each, one by one: the list says which test and which seed kill it. A mutant that both let live means that a rule
stands in the code that nothing holds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.mutant import Mutant
from tests.mutants_of_histories import HISTORIES

ROOT = Path(__file__).resolve().parents[1]
UNIT = (
    "tests/raft",
    "tests/groups/test_gate.py",
    "tests/groups/test_sessions.py",
    "tests/groups/test_absorbed.py",
    "tests/groups/test_carrying.py",
    "tests/groups/test_carrier.py",
    "tests/groups/test_proposals.py",
    "tests/groups/test_snapshots.py",
    "tests/paper",
    "tests/scenarios",
)
SEEDS = 100
"""Of the simulation, tried on each mutant of the engine until one fails."""


MUTANTS = (
    Mutant(
        name="a vote is answered before it is durable",
        file="role.py",
        old="ctx.send_when_durable(sender, RequestVoteResponse(",
        new="ctx.send(sender, RequestVoteResponse(",
    ),
    Mutant(
        name="a vote is not saved at all",
        file="role.py",
        old="        ctx.save_vote(sender)\n",
        new="        pass\n",
    ),
    Mutant(
        name="a lagging voter's vote is not saved",
        file="role.py",
        old="    if supports:\n        ctx.save_vote(sender)\n",
        new="    if vote is Vote.GRANTED:\n        ctx.save_vote(sender)\n",
    ),
    Mutant(
        name="a candidate with an older log is not denied",
        file="role.py",
        old="    if ctx.log.last > candidate:\n        return Vote.DENIED\n",
        new="",
    ),
    Mutant(
        name="an observer's answer supports the candidate",
        file="role.py",
        old="    supports = vote is not Vote.DENIED and not ctx.preference.is_observer\n    if supports:\n        ctx.save_vote",
        new="    supports = vote is not Vote.DENIED\n    if supports:\n        ctx.save_vote",
    ),
    Mutant(
        name="an observer's acknowledgement counts for commits",
        file="replication.py",
        old="counts = response.vote is Vote.GRANTED",
        new="counts = True",
    ),
    Mutant(
        name="members that are no voters are counted for commits",
        file="leader.py",
        old="index = quorum_value(ctx.voters, lambda member: self.replication.counted(member, ctx))",
        new="known = self.replication.progress\n"
        "        index = quorum_value([ctx.me, *known], lambda m: ctx.log.stable if m == ctx.me else known[m].match)",
    ),
    Mutant(
        name="entries of earlier terms commit by counting (figure 8)",
        file="leader.py",
        old="if index > ctx.commit and ctx.log.term_at(index) == ctx.term:",
        new="if index > ctx.commit:",
    ),
    Mutant(
        name="a new leader appends no no-op",
        file="leader.py",
        old="self.term_start = self.append(NoOp(), ctx.me.peer_id, ctx)",
        new="self.term_start = ctx.log.last.index",
    ),
    Mutant(
        name="strong reads are served without a quorum",
        file="leader.py",
        old="self.reads.confirm(confirmed, ctx)",
        new="self.reads.confirm(max(confirmed, self._round), ctx)",
    ),
    Mutant(
        name="strong reads do not wait for a commit in the leader's term",
        file="leader.py",
        old="if self.reads.waiting and ctx.commit >= self.term_start:",
        new="if self.reads.waiting:",
    ),
    Mutant(
        name="an acknowledgement leaves before the entries are durable",
        file="follower.py",
        old="ctx.send_when_durable(sender, answer)",
        new="ctx.send(sender, answer)",
    ),
    Mutant(
        name="the leader's own copy counts before it is durable",
        file="replication.py",
        old="return ctx.log.stable",
        new="return ctx.log.last.index",
    ),
    Mutant(
        name="a candidate's own vote counts before it is durable",
        file="candidate.py",
        old="if not ctx.disk.is_durable(self._asked) or not has_quorum",
        new="if not has_quorum",
    ),
    Mutant(
        name="an overtaken write vouches for what was truncated (A-B-A)",
        file="log.py",
        old="write[1] = min(write[1], first - 1)",
        new="pass",
    ),
    Mutant(
        name="a leader without a quorum stays",
        file="leader.py",
        old="if ctx.now >= self._patient_until and not self._quorum_is_active(ctx):",
        new="if False:",
    ),
    Mutant(
        name="what a leader has not read yet counts as silence",
        file="leader.py",
        old="if ctx.now >= self._judge_at and not ctx.deaf:",
        new="if ctx.now >= self._judge_at:",
    ),
    Mutant(
        name="several changes of the voter set at a time",
        file="leader.py",
        old="ctx.commit >= max(self.term_start, ctx.log.voters_index)",
        new="ctx.commit >= self.term_start",
    ),
    Mutant(
        name="a stale leader hears nothing of the newer term",
        file="role.py",
        old="if isinstance(message, AppendEntries | InstallSnapshot):",
        new="if False:",
    ),
    Mutant(
        name="a commit index is taken beyond what was verified",
        file="follower.py",
        old="ctx.commit_up_to(Index(min(request.leader_commit, request.last.index)))",
        new="ctx.commit_up_to(Index(min(request.leader_commit, ctx.log.last.index)))",
    ),
    Mutant(
        name="a member votes for two candidates in one term",
        file="role.py",
        old="if ctx.state.vote is not None and ctx.state.vote != sender:",
        new="if False:",
    ),
    Mutant(
        name="one answer less makes a quorum",
        file="quorum.py",
        old="return len(voters) // 2 + 1",
        new="return (len(voters) + 1) // 2",
    ),
    Mutant(
        name="who is removed does not campaign, even while it alone has the removal",
        file="context.py",
        old="self.me in log.voters or (log.voters_index > self.commit and self.me in log.voters_before)",
        new="self.me in log.voters",
    ),
    Mutant(
        name="a member that is behind may become a voter",
        file="steward.py",
        old="return self.live and self.caught_up and not self.over and self.factor > 0",
        new="return self.live and not self.over and self.factor > 0",
    ),
    Mutant(
        name="a step of the voter set is taken without an answer to a round begun after the wish",
        file="steward.py",
        old="if not council.has_majority(voters, since=self.wish.round):",
        new="if not council.has_majority(voters):",
    ),
    Mutant(
        name="a wish that was dropped is proven by answers to its old round",
        file="steward.py",
        old="        if voters is None:\n            self.wish = None\n            return None\n",
        new="        if voters is None:\n            return None\n",
    ),
    Mutant(
        name="an ended voter is removed while its next incarnation catches up",
        file="steward.py",
        old="if staying < size(fit + coming):",
        new="if staying < size(fit):",
    ),
    Mutant(
        name="a voter is removed before the one that takes its place is added",
        file="steward.py",
        old="    if surplus and (unwanted or overdue):",
        new="    if unwanted or (surplus and overdue):",
    ),
    Mutant(
        name="silence shrinks a set as soon as it is overdue",
        file="steward.py",
        old="drop(voter for voter in overdue if view(voter).silent_for >= shrink_after)",
        new="drop(overdue)",
    ),
    Mutant(
        name="silence shrinks a set below three",
        file="steward.py",
        old="if len(voters) > 3 and (rest",
        new="if len(voters) > 2 and (rest",
    ),
    Mutant(
        name="an observer's answer counts in the majority that a step needs",
        file="steward.py",
        old="return self.live and self.caught_up and not self.over and self.factor > 0",
        new="return self.live and self.caught_up and not self.over",
    ),
    Mutant(
        name="a member with a hung disk takes a voter's place",
        file="steward.py",
        old="(view(member).fit and not is_overdue(member))",
        new="view(member).fit",
    ),
    Mutant(
        name="entries are appended without a look at what stands before them",
        file="follower.py",
        old="if not ctx.log.matches(request.prev):",
        new="if request.prev.index > ctx.log.last.index:",
    ),
    Mutant(
        name="a delayed duplicate truncates what came after it",
        file="follower.py",
        old="missing = ctx.log.missing_from(request.entries)",
        new="missing = tuple(e for e in request.entries if e.index > ctx.commit)",
    ),
    Mutant(
        name="a pre-vote is granted although a leader is heard",
        file="role.py",
        old="vote = Vote.DENIED if has_leader else judge(request.last, ctx)",
        new="vote = judge(request.last, ctx)",
    ),
    Mutant(
        name="a dead process's reads are answered to its successor",
        file="leader.py",
        old="        self.reads.drop(member)\n",
        new="",
    ),
    Mutant(
        name="entries that nobody has committed are given to members far behind",
        file="catchup.py",
        old="if ctx.log.base.index < request.first <= ctx.commit:\n            last = min(request.last, ctx.commit,",
        new="if ctx.log.base.index < request.first <= ctx.log.last.index:\n"
        "            last = min(request.last, ctx.log.last.index,",
    ),
    Mutant(
        name="fetched entries are put behind a tail that was never committed",
        file="catchup.py",
        old="if not ctx.log.matches(prev, digest):",
        new="if False:",
    ),
    Mutant(
        name="a snapshot is acknowledged before it is durable",
        file="catchup.py",
        old="ctx.send_when_durable(ctx.leader, answer)",
        new="ctx.send(ctx.leader, answer)",
    ),
    Mutant(
        name="a snapshot older than what is committed is installed",
        file="engine.py",
        old="if snapshot.base.last.index <= ctx.commit or ",
        new="if ",
    ),
    Mutant(
        name="what disagrees with a snapshot stays behind it",
        file="log.py",
        old="if self.matches(base.last, base.digest):\n            del",
        new="if self.last.index >= base.last.index:\n            del",
    ),
    Mutant(
        name="a log that differs where the leader's begins is probed for ever",
        file="log.py",
        old="if index == self.base.index and self.base.term > position.term:",
        new="if False:",
    ),
    Mutant(
        name="a fetched snapshot's digest is not looked at",
        file="catchup.py",
        old="== snapshot.digest:",
        new="or True:",
    ),
    Mutant(
        name="a compacted log forgets its voters",
        file="log.py",
        old="self._voters = [(base.voters_index, base.voters), *keep]",
        new="self._voters = keep",
    ),
    Mutant(
        name="a repeated command is applied again",
        file="sessions.py",
        old="if commands.first <= session.last:",
        new="if False:",
    ),
    Mutant(
        name="commands behind a gap are applied",
        file="sessions.py",
        old="if commands.first == session.last + 1 else Verdict.GAP",
        new="if commands.first > session.last else Verdict.GAP",
    ),
    Mutant(
        name="a node founds before it has met its network",
        file="groups/gate.py",
        old="    if around.told and not around.linked:\n",
        new="    if around.told and not around.linked and not around.told:\n",
    ),
    Mutant(
        name="a node founds before it knows who is there",
        file="groups/gate.py",
        old="    if around.told and not around.compared:\n",
        new="    if around.told and not around.compared and not around.told:\n",
    ),
    Mutant(
        name="a node founds beside a member that it knows of",
        file="groups/gate.py",
        old="if now < end))\n",
        new="if end < now))\n",
    ),
    Mutant(
        name="the engine founds though it may not",
        file="histories/life.py",
        old="        if not self._may_found:\n",
        new="        if not self._may_found and False:\n",
    ),
    Mutant(
        name="a snapshot forgets the sessions",
        file="groups/snapshots.py",
        old='Tables(SessionTable.load(head["sessions"]), AbsorbedTable.load(head["absorbed"]))',
        new='Tables(SessionTable(), AbsorbedTable.load(head["absorbed"]))',
    ),
    Mutant(
        name="a snapshot forgets what was taken over",
        file="groups/snapshots.py",
        old='Tables(SessionTable.load(head["sessions"]), AbsorbedTable.load(head["absorbed"]))',
        new='Tables(SessionTable.load(head["sessions"]), AbsorbedTable())',
    ),
    Mutant(
        name="another list continues one that was begun",
        file="groups/absorbed.py",
        old="if (begun.digest, begun.total) != (part.digest, part.total):",
        new="if False:",
    ),
    Mutant(
        name="a list is taken up behind a gap",
        file="groups/absorbed.py",
        old="if part.first > begun.next:",
        new="if False:",
    ),
    Mutant(
        name="a second end of a history is carried over beside the first",
        file="groups/absorbed.py",
        old="if not part.replayed and any(not row.replayed for row in self.of_history(part.end.history)):",
        new="if False:",
    ),
    Mutant(
        name="a replayed command is applied by every list that brings it",
        file="groups/applier.py",
        old="if origin.session == 0 or not tables.has(origin):",
        new="if True:",
    ),
    Mutant(
        name="what a history had taken over is not taken over with it",
        file="groups/absorbed.py",
        old="for row in part.lists:",
        new="for row in ():",
    ),
    Mutant(
        name="a session's id alone says which session",
        file="histories/entries.py",
        old="return next((branch.history for branch in self.ancestors if index <= branch.at.index), self.history)",
        new="return self.ancestors[0].history if self.ancestors else self.history",
    ),
    Mutant(
        name="a history is carried over before the one in favour of which it ended",
        file="groups/carrier.py",
        old="return not any(row.is_complete for row in table.of_history(into))",
        new="return False",
    ),
    Mutant(
        name="who holds a part of a sealed history makes its list",
        file="groups/carrying.py",
        old="if ended.how is End.SEALED and not source.archived.whole:",
        new="if False:",
    ),
    Mutant(
        name="positions of two terms are compared by their order alone",
        file="groups/lineage.py",
        old="return first if any(archive.holds(last) and archive.holds(first) for archive in archives) else None",
        new="return first",
    ),
    *HISTORIES,
)


def weakened(mutant: Mutant) -> str:
    """The mutant's file, with the rule weakened.

    Raises:
        LookupError: The text to replace does not occur exactly once.
    """
    source = (ROOT / mutant.path).read_text(encoding="utf-8")
    if source.count(mutant.old) != 1:
        raise LookupError(f"{mutant.name}: {mutant.file} holds the text {source.count(mutant.old)} times, not once")
    return source.replace(mutant.old, mutant.new)


@contextmanager
def mutated(mutant: Mutant) -> Iterator[Path]:
    """A copy of the sources with the rule weakened."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        for name in ("p2praft", "discovery", "transport", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        (copy / mutant.path).write_text(weakened(mutant), encoding="utf-8")
        yield copy


def run(copy: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a module on the copy, which wins over an installed package: ``python -m`` puts the working directory first."""
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=copy, capture_output=True, text=True, check=False, timeout=900
    )


def killers(mutant: Mutant) -> tuple[Mutant, str, str]:
    """The first test and the first seed that fail on the mutant; empty if none does."""
    with mutated(mutant) as copy:
        tests = [test for test in UNIT if (copy / test).exists()]
        done = run(copy, "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", *tests)
        failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        by_test = failed[0].removeprefix("FAILED ").partition(" - ")[0] if failed else ""
        if not by_test and done.returncode:
            by_test = f"exit status {done.returncode}"
        by_seed = ""
        if mutant.is_engine:
            done = run(copy, "tests.simulation", "--seeds", str(SEEDS), "--jobs", "1", "--first-failure")
            if done.returncode:
                by_seed = next((line for line in done.stderr.splitlines() if line.startswith("seed ")), "seed ?")
                by_seed = by_seed.partition(",")[0]
    return mutant, by_test, by_seed


def main() -> int:
    """Run all mutants; 1 if one survives."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--only", default="", help="only mutants whose name holds this text")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    begin, survivors, by_seeds = time.monotonic(), 0, 0
    chosen = [mutant for mutant in MUTANTS if options.only in mutant.name]
    with ThreadPoolExecutor(options.jobs) as pool:
        for mutant, by_test, by_seed in pool.map(killers, chosen):
            survivors += not by_test and not by_seed
            by_seeds += bool(by_seed)
            verdict = "killed" if by_test or by_seed else "SURVIVES"
            print(f"{verdict:8}  {mutant.name}\n          {by_test or '-'}; {by_seed or '-'}", flush=True)
    seconds = time.monotonic() - begin
    print(f"{len(chosen)} mutants, {survivors} survive; the simulation alone kills {by_seeds}; {seconds:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
