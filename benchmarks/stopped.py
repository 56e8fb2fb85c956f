"""What a stopped follower (SIGSTOP) costs the others: their rate, and the leader's memory.

Run it: ``python -m benchmarks.stopped --seconds 10``
"""

from __future__ import annotations

import argparse
import signal
import time
from pathlib import Path

from benchmarks.cluster import Cluster, Process, leader_changes

WIDTH = 64


def memory(process: Process) -> float:
    """Resident MiB of a process (``/proc/PID/statm``)."""
    pages = int(Path(f"/proc/{process.process.pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 2**20


def rate(leader: Process, seconds: float) -> float:
    """Commands a second through the leader for so long."""
    leader.ask(do="begin writing", width=WIDTH)
    time.sleep(seconds)
    per_second: float = leader.ask(do="end writing")["per_second"]
    return per_second


def run(seconds: float) -> None:
    """Stop one of three, write on, let it go on."""
    with Cluster(3) as cluster:
        leader, others = cluster.roles()
        stopped = others[-1]
        rate(leader, seconds / 2)
        states, before, at_first = cluster.states(), rate(leader, seconds), memory(leader)
        stopped.process.send_signal(signal.SIGSTOP)
        try:
            during, at_last = rate(leader, seconds), memory(leader)
        finally:
            stopped.process.send_signal(signal.SIGCONT)
        begin, log = time.monotonic(), leader.ask(do="state")["log"]
        stopped.ask(do="reach", index=log)
        caught_up = time.monotonic() - begin
        changes = leader_changes(states, cluster.states())
    print(
        f"one of three stopped for {seconds:g} s: {during:.0f} commands/s instead of {before:.0f} ({during / before:.2f} "
        f"of it), the leader's memory {at_first:.0f} MiB before, {at_last:.0f} after; going on, it had caught up after "
        f"{caught_up:.2f} s; leader changes: {changes}"
    )


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stopped", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    run(parser.parse_args().seconds)


if __name__ == "__main__":
    main()
