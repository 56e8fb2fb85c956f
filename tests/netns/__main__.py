"""``python -m tests.netns --measure`` prints how long things take on networks of several kinds; needs root and iproute2."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from p2praft.cli.output import CommandError
from tests.netns.lab import NAT_PORT, Lab, Node, leader_of, until, why_not

NETWORKS: dict[str, dict[str, float]] = {
    "a LAN": {},
    "20 ms each way": {"delay": 0.02},
    "100 ms each way": {"delay": 0.1},
    "100 ms each way, 5 % lost, 10 % reordered": {"delay": 0.1, "loss": 0.05, "reorder": 0.1},
}
WRITES = 20


def took(action: Callable[[], Any]) -> float:
    """Seconds that something takes."""
    started = time.monotonic()
    action()
    return time.monotonic() - started


def say(text: str) -> None:
    """One line."""
    print(text, flush=True)


def value_in_time(node: Node, size: int, bound: float) -> str:
    """How long a value of so many bytes takes to be committed, in words."""
    try:
        seconds = took(lambda: node.set(f"size-{size}", "x" * size, timeout=bound))
    except CommandError as error:
        return f"not in {bound:g} s ({error.kind})"
    return f"{seconds:.2f} s"


def one_network(name: str, path: dict[str, float], folder: Path) -> None:
    """Meeting, writing, losing the leader's host, on one kind of network."""
    with Lab(3, folder) as lab:
        lab.path(**path)
        meeting = took(lambda: (nodes := lab.cluster()) and leader_of(nodes))
        say(f"{name}: three processes started, met, and all voted after {meeting:.1f} s")
        nodes = lab.nodes
        for role, node in (("the leader", leader_of(nodes)), ("a follower", _follower(nodes))):
            times = [took(lambda node=node, number=number: node.set("key", number)) for number in range(WRITES)]  # type: ignore[misc]
            say(f"{name}: a write through {role} takes {statistics.median(times) * 1000:.0f} ms (median of {WRITES})")
        for size in (1_000, 10_000, 50_000):
            say(
                f"{name}: a value of {size:,} bytes through the leader is committed in {value_in_time(leader_of(nodes), size, 60)}"
            )
        until(lambda: leader_of(nodes), "they agree again")
        leader = leader_of(nodes)
        rest = [node for node in nodes if node is not leader]
        lab.isolate(leader.host)
        away = took(lambda: rest[0].set("away", 1, timeout=40))
        say(f"{name}: the leader's host vanishes; the next write is acknowledged after {away:.2f} s")
        lab.heal()
        back = took(lambda: until(lambda: leader.get("away", weak=True), "the old leader has it"))
        say(f"{name}: the host is back; it has what it missed after {back:.2f} s")


def partition(folder: Path) -> None:
    """Everybody loses everybody, then meets again."""
    with Lab(3, folder) as lab:
        nodes = lab.cluster()
        lab.isolate(*lab.hosts)
        lost = took(lambda: until(lambda: all(_alone(node) for node in nodes), "everybody is lost"))
        lab.heal()
        healed = took(lambda: nodes[0].set("healed", 1, timeout=40))
        say(
            f"all hosts cut off: each counts the others as lost after {lost:.1f} s; healed, a write passes after {healed:.2f} s"
        )


def nat(folder: Path) -> None:
    """A member behind a NAT that forgets."""
    with Lab(3, folder) as lab:
        lab.nat(3)
        nodes = lab.cluster()
        lab.nat(3, NAT_PORT + 1)
        nodes[0].set("after", 1)
        heard = took(lambda: until(lambda: nodes[2].get("after", weak=True), "the hidden member hears"))
        say(f"a NAT forgets a member: it hears the others again after {heard:.2f} s")


def _alone(node: Node) -> bool:
    return all(peer["status"] == "lost" for peer in node.ask("peers"))


def _follower(nodes: list[Node]) -> Node:
    leader = leader_of(nodes)
    return next(node for node in nodes if node is not leader)


def main() -> int:
    """Measure; 1 if that cannot be done here."""
    parser = argparse.ArgumentParser(prog="python -m tests.netns", description=__doc__)
    parser.add_argument("--measure", action="store_true", required=True, help="some two minutes")
    parser.parse_args()
    if reason := why_not():
        print(reason, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, path) in enumerate(NETWORKS.items()):
            (Path(folder) / str(number)).mkdir()
            one_network(name, path, Path(folder) / str(number))
        for measure in (partition, nat):
            (Path(folder) / measure.__name__).mkdir()
            measure(Path(folder) / measure.__name__)
    return 0


if __name__ == "__main__":
    sys.exit(main())
