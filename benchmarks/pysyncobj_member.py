"""One PySyncObj process of the comparison; takes the same orders as :mod:`benchmarks.member`, on standard input.

A script of its own, run by the interpreter that has PySyncObj (see :mod:`benchmarks.comparison`). It imports nothing
of ours.

What was chosen, so that PySyncObj shows what it can:

- ``appendEntriesUseBatch``: the comparison runs both settings and takes the better figure of each. On (the default)
  a command waits for the next tick: more commands a second where many are under way. Off, a command wakes the sender:
  that is what its documentation and its own latency benchmark use to "improve single request speed".
- ``commandsQueueSize``: above the largest window, or commands would be refused.
- ``dynamicMembershipChange`` off, no ``password``: the defaults, and the quickest. Its links are thus plain TCP, while
  ours are encrypted and authenticated.
- ``journalFile`` when durable. It is a memory map that is not synchronised before an entry is acknowledged: it
  outlives the process, not a loss of power.
- Python's garbage collector looks at 20,000 new objects at a time, as in p2praft's processes.
- Everything else as it comes, as for p2praft.
- Callbacks, not ``sync=True``: the next command is issued from the last one's callback, which spares a switch of
  threads for each.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import threading
import time
from typing import Any

from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf, replicated


class Counter(SyncObj):
    """Counts."""

    def __init__(self, address: str, partners: list[str], conf: SyncObjConf) -> None:
        self.value = 0
        super().__init__(address, partners, conf)

    @replicated
    def add(self, amount: int) -> int:
        self.value += amount
        return self.value


class Run:
    """``count`` commands, ``width`` of them under way at any time."""

    def __init__(self, counter: Counter, width: int, count: int) -> None:
        self.latencies: list[float] = []
        self._counter = counter
        self._width = width
        self._count = count
        self._issued = 0
        self._failures: dict[int, int] = {}
        self._done = threading.Event()
        self._lock = threading.Lock()

    def run(self) -> dict[str, Any]:
        """Commands a second, latencies in seconds; ``failed`` if not all of them were acknowledged."""
        begin = time.perf_counter()
        for _ in range(min(self._width, self._count)):
            self._issue()
        settled = self._done.wait(60)
        seconds = time.perf_counter() - begin
        if self._failures or not settled:
            return {"failed": f"{len(self.latencies)} of {self._count} acknowledged, refusals {self._failures}"}
        self.latencies.sort()
        p50, p99 = self.latencies[self._count // 2], self.latencies[self._count * 99 // 100]
        return {"p50": p50, "p99": p99, "per_second": self._count / seconds}

    def _issue(self) -> None:
        with self._lock:
            if self._issued == self._count:
                return
            self._issued += 1
        begin = time.perf_counter()

        def settled(_result: Any, reason: int) -> None:
            self.latencies.append(time.perf_counter() - begin)
            if reason != FAIL_REASON.SUCCESS:
                self._failures[reason] = self._failures.get(reason, 0) + 1
            if len(self.latencies) == self._count:
                self._done.set()
            else:
                self._issue()

        self._counter.add(1, callback=settled)


def obey(counter: Counter, order: dict[str, Any]) -> Any:
    """Do one thing."""
    match order["do"]:
        case "state":
            leader = counter._getLeader()
            return {"online": counter.isReady() and leader is not None, "is_leader": leader == counter.selfNode}
        case "sequential":
            return Run(counter, 1, order["count"]).run()
        case "window":
            return Run(counter, order["width"], order["count"]).run()
    raise ValueError(order)


def main() -> None:
    """Start, say so, obey."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--partner", action="append", default=[])
    parser.add_argument("--journal")
    parser.add_argument("--batch", action="store_true")
    options = parser.parse_args()
    gc.set_threshold(20_000, 20, 20)
    conf = SyncObjConf(
        appendEntriesUseBatch=options.batch,
        commandsQueueSize=1_000_000,
        dynamicMembershipChange=False,
        journalFile=options.journal,
    )
    counter = Counter(options.address, options.partner, conf)
    say({"address": options.address})
    for line in sys.stdin:
        say(obey(counter, json.loads(line)))
    counter.destroy_synchronous()


def say(value: Any) -> None:
    """One line of JSON."""
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
