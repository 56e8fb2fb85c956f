"""``python -m tests.fuzz --minutes 10`` drives the targets by coverage (atheris, on libFuzzer), from the kept corpus.

Each target has a process of its own and an equal part of the time. What they learn stays in ``.fuzz/``, so that the next run
goes on from there. A finding is a file and a traceback: fix it, and keep the file in ``tests/fuzz/corpus/TARGET/``, where
``make test`` replays it for good.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import CORPUS, TARGETS

WORK = Path(".fuzz")
MAX_LENGTH = 4096
"""Bytes of an input at most."""
INPUT_TIMEOUT = 20
"""Seconds that one input may take on a busy machine before it counts as hanging."""
MEMORY = 2048
"""MiB that a target may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one target's turn.

    Attributes:
        executions: Inputs that were tried.
        coverage: Edges that libFuzzer counted; 0 if it never said.
        kept: Inputs in the working corpus.
        findings: Files whose content breaks the target.
        failed: Whether the process ended badly.
    """

    name: str
    executions: int
    coverage: int
    kept: int
    findings: Sequence[Path]
    failed: bool


def drive(name: str, seconds: int) -> Outcome:
    """Fuzz one target in a process of its own."""
    work, findings, log = WORK / "corpus" / name, WORK / "findings" / name, WORK / f"{name}.log"
    for folder in (work, findings):
        folder.mkdir(parents=True, exist_ok=True)
    before = set(findings.iterdir())
    command = [
        *(sys.executable, "-m", "tests.fuzz.child", name),
        f"-max_total_time={seconds}",
        f"-max_len={MAX_LENGTH}",
        f"-timeout={INPUT_TIMEOUT}",
        f"-rss_limit_mb={MEMORY}",
        f"-artifact_prefix={findings}{os.sep}",
        *(str(work), str(CORPUS / name)),
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            status = process.wait(seconds + 10 * INPUT_TIMEOUT)
        except BaseException:  # also Ctrl-C: leave nothing behind
            process.kill()
            process.wait()
            raise
    text = log.read_text(errors="replace")
    executions = re.findall(r"^#(\d+)", text, re.MULTILINE) or ["0"]
    coverage = re.findall(r" cov: (\d+)", text) or ["0"]
    outcome = Outcome(
        name=name,
        executions=int(executions[-1]),
        coverage=int(coverage[-1]),
        kept=len(list(work.iterdir())),
        findings=sorted(set(findings.iterdir()) - before),
        failed=status != 0,
    )
    verdict = f"a finding, see {log}" if outcome.failed else "clean"
    print(
        f"{name:12} {outcome.executions:>9,} executions in {seconds} s, {outcome.coverage} edges, "
        f"{outcome.kept} inputs kept: {verdict}",
        flush=True,
    )
    return outcome


def main() -> int:
    """Take the command line; 0 if nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"all if none is named: {', '.join(TARGETS)}")
    parser.add_argument("--minutes", type=float, default=10, help="in all, however many targets and jobs (default: 10)")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="targets at a time")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="give the named target one file's bytes")
    options = parser.parse_args()
    names = options.targets or list(TARGETS)
    if unknown := [name for name in names if name not in TARGETS]:
        parser.error(f"there is no target {unknown[0]!r}; there are: {', '.join(TARGETS)}")
    if options.replay:
        for name in names:
            TARGETS[name](options.replay.read_bytes())
        return 0
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris is not installed; run `make fuzz`, which installs it")
    seconds = max(1, int(options.minutes * 60 * options.jobs / len(names)))
    started = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as lanes:
        outcomes = list(lanes.map(lambda name: drive(name, seconds), names))
    executions = sum(outcome.executions for outcome in outcomes)
    bad = [outcome for outcome in outcomes if outcome.failed]
    print(
        f"{executions:,} executions of {len(outcomes)} targets in {time.monotonic() - started:.0f} s: "
        + (f"findings in {', '.join(outcome.name for outcome in bad)}" if bad else "no findings")
    )
    for outcome in bad:
        for path in outcome.findings:
            print(f"  replay with: python -m tests.fuzz {outcome.name} --replay {path}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
