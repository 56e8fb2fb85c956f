"""``make bench``: latency and throughput of three processes, in memory and durable, and how long a fail-over takes."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


class Member:
    """A process of :mod:`benchmarks.member`."""

    def __init__(self, seeds: list[str], data_dir: Path | None) -> None:
        command = [sys.executable, "-m", "benchmarks.member"]
        for seed in seeds:
            command += ["--seed", seed]
        if data_dir is not None:
            command += ["--data-dir", str(data_dir)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address: str = self.hear()["address"]

    def tell(self, **order: Any) -> None:
        """Give an order."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def hear(self) -> Any:
        """Wait for the answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("a member of the benchmark ended")
        return json.loads(line)

    def ask(self, **order: Any) -> Any:
        """Give an order and wait for the answer."""
        self.tell(**order)
        return self.hear()


class Cluster:
    """Three members."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.started = 0
        self.members: list[Member] = []
        for _ in range(3):
            self.start()
        self.settle()

    def start(self) -> None:
        """Start one more."""
        self.started += 1
        data_dir = self.folder / f"member-{self.started}" if self.folder else None
        self.members.append(Member([member.address for member in self.members], data_dir))

    def settle(self, voters: int = 3) -> None:
        """Wait until all are online and vote."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            states = [member.ask(do="state") for member in self.members]
            if all(state["online"] and state["voters"] >= voters for state in states):
                return
            time.sleep(0.05)
        raise RuntimeError(f"the benchmark's group did not come up: {states}")

    def roles(self) -> tuple[Member, Member]:
        """The leader and a follower."""
        states = [(member.ask(do="state")["is_leader"], member) for member in self.members]
        leader = next(member for leads, member in states if leads)
        return leader, next(member for leads, member in states if not leads)

    def stop(self) -> None:
        """End all."""
        for member in self.members:
            assert member.process.stdin is not None
            member.process.stdin.close()
        for member in self.members:
            try:
                member.process.wait(10)
            except subprocess.TimeoutExpired:
                member.process.kill()
                member.process.wait(10)
            assert member.process.stdout is not None
            member.process.stdout.close()


def measure(title: str, folder: Path | None, scale: float) -> None:
    """Latency and throughput of one kind of storage."""
    cluster = Cluster(folder)
    try:
        leader, follower = cluster.roles()
        for where, member in (("leader", leader), ("follower", follower)):
            member.ask(do="sequential", count=100)  # warm-up: sessions, caches, congestion window
            one = member.ask(do="sequential", count=int(1000 * scale))
            read = member.ask(do="reads", count=int(500 * scale))
            narrow = member.ask(do="window", width=256, count=int(20_000 * scale))
            wide = member.ask(do="window", width=20_000, count=int(60_000 * scale))
            print(
                f"{title:8} {where:9} {one['p50'] * 1e3:7.2f} {one['p99'] * 1e3:7.2f} {one['per_second']:8.0f}"
                f" {narrow['per_second']:9.0f} {wide['per_second']:9.0f} {read['p50'] * 1e3:9.2f}",
                flush=True,
            )
    finally:
        cluster.stop()


def fail_over(trials: int) -> None:
    """SIGKILL of the leader; seconds until a survivor's next write is acknowledged. Default settings, in memory."""
    times = []
    for _ in range(trials):
        cluster = Cluster(None)
        try:
            leader, follower = cluster.roles()
            follower.ask(do="sequential", count=20)
            killed = time.monotonic()
            leader.process.kill()
            follower.tell(do="first_write")
            times.append(follower.hear()["at"] - killed)
            leader.process.wait(10)
            cluster.members.remove(leader)
        finally:
            cluster.stop()
    times.sort()
    shown = " ".join(f"{value * 1e3:.0f}" for value in times)
    print(
        f"fail-over after SIGKILL of the leader, ms, {trials} trials: {shown}; median {statistics.median(times) * 1e3:.0f}"
    )


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--scale", type=float, default=1.0, help="fewer or more commands")
    parser.add_argument("--trials", type=int, default=10, help="fail-overs")
    options = parser.parse_args()
    print("three processes on this machine, default settings; one command of 1 byte each")
    print("                     one at a time        window    window    strong read")
    print("storage  through    p50 ms  p99 ms  per s   256 per s 20000 per s  p50 ms")
    measure("memory", None, options.scale)
    with tempfile.TemporaryDirectory(prefix="p2praft-bench-", dir=".") as folder:
        measure("durable", Path(folder), options.scale)
    fail_over(options.trials)


if __name__ == "__main__":
    main()
