"""``python -m tests.mutants``: weaken one rule of the engine at a time; the suite must notice each.

Every mutant is a copy of the sources in a temporary directory with one text replaced. A mutant that survives means that a
rule stands in the code that no test holds.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UNIT = ("tests/raft",)
SEEDS = ("tests/simulation",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One weakened rule.

    Attributes:
        name: What is weakened.
        file: Where, below the engine's package.
        old: Text that must occur exactly once.
        new: What takes its place.
    """

    name: str
    file: str
    old: str
    new: str


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
        file="leader.py",
        old="counts = response.vote is Vote.GRANTED",
        new="counts = True",
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
        old="        if ctx.founded:\n            # Entries",
        new="        if False:\n            # Entries",
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
        old="if self.reads.waiting and ctx.commit >= self._term_start:",
        new="if self.reads.waiting:",
    ),
    Mutant(
        name="an acknowledgement leaves before the entries are durable",
        file="follower.py",
        old="        ctx.send_when_durable(\n            sender,\n            AppendEntriesResponse(",
        new="        ctx.send(\n            sender,\n            AppendEntriesResponse(",
    ),
    Mutant(
        name="the leader's own copy counts before it is durable",
        file="leader.py",
        old="return ctx.log.stable",
        new="return ctx.log.last.index",
    ),
    Mutant(
        name="a candidate's own vote counts before it is durable",
        file="candidate.py",
        old="if not ctx.is_durable(self._asked):",
        new="if False:",
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
        old="if ctx.founded and not self._quorum_is_active(ctx):",
        new="if False:",
    ),
    Mutant(
        name="several changes of the voter set at a time",
        file="leader.py",
        old="ctx.commit < max(self._term_start, ctx.log.voters_index)",
        new="ctx.commit < self._term_start",
    ),
    Mutant(
        name="a genesis commits before every founder holds it",
        file="leader.py",
        old="if all(self._counted(founder, ctx) >= 1 for founder in ctx.voters):",
        new="if sum(self._counted(founder, ctx) >= 1 for founder in ctx.voters) * 2 > len(ctx.voters):",
    ),
    Mutant(
        name="a commit index is taken beyond what was verified",
        file="follower.py",
        old="ctx.commit_up_to(Index(min(request.leader_commit, request.last.index)))",
        new="ctx.commit_up_to(Index(min(request.leader_commit, ctx.log.last.index)))",
    ),
)


def survives(mutant: Mutant, tests: tuple[str, ...]) -> str | None:
    """Run the tests against a mutant; None if it survives, else the first test that failed.

    Raises:
        LookupError: The text to replace does not occur exactly once.
    """
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        for name in ("p2praft", "discovery", "transport", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        path = copy / "p2praft" / "raft" / mutant.file
        source = path.read_text(encoding="utf-8")
        if source.count(mutant.old) != 1:
            raise LookupError(f"{mutant.name}: {mutant.file} holds the text {source.count(mutant.old)} times, not once")
        path.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", *tests]
        # The copy must win over an installed package: ``python -m`` puts the working directory first.
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode == 0:
            return None
        failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return failed[0] if failed else f"exit status {done.returncode}"


def main() -> int:
    """Run all mutants; 1 if one survives."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--only", default="", help="only mutants whose name holds this text")
    parser.add_argument("--simulate", action="store_true", help="give survivors of the unit tests to the simulation")
    options = parser.parse_args()
    begin, survivors = time.monotonic(), 0
    chosen = [mutant for mutant in MUTANTS if options.only in mutant.name]
    for mutant in chosen:
        killer = survives(mutant, UNIT)
        if killer is None and options.simulate:
            killer = survives(mutant, SEEDS)
        survivors += killer is None
        print(f"{'SURVIVES' if killer is None else 'killed':8}  {mutant.name}  {(killer or '')[:150]}", flush=True)
    print(f"{len(chosen)} mutants, {survivors} survive, {time.monotonic() - begin:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
