"""Hosts in network namespaces on one switch, and nodes as real processes on them. Needs root on Linux and iproute2."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio

from p2praft.cli.client import ask_at
from p2praft.cli.output import CommandError

T = TypeVar("T")

LIVENESS = 60.0
"""Seconds that anything may take on a busy machine before it counts as hanging."""
SUBNET = "10.77.0"
PORT = 7001
NAT_PORT = 40_000
_serial = count(1)


def why_not() -> str | None:
    """Why hosts cannot be made here; None if they can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need root on Linux"
    if shutil.which("ip") is None:
        return "network namespaces need the command `ip` (Debian: iproute2)"
    name = f"p2praft-{os.getpid()}-try"
    try:
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, timeout=LIVENESS)
        if made.returncode:
            return f"no network namespaces here: {made.stderr.strip()}"
        linked = _ip("-n", name, "link", "add", "one", "type", "veth", "peer", "name", "two", check=False)
        return f"no veth pairs here: {linked.stderr.strip()}" if linked.returncode else None
    finally:
        _ip("netns", "del", name, check=False)


def _ip(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=LIVENESS, check=False)
    if check and result.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {result.stderr.strip()}")
    return result


def until(condition: Callable[[], T], what: str, timeout: float = LIVENESS) -> T:
    """Wait until ``condition`` gives something true, and give that; asks 20 times a second."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.05)
    return found


@dataclass(slots=True, eq=False)
class Node:
    """A running ``p2praft up`` on one host.

    Attributes:
        host: Number of its host.
        address: What others take as a seed.
        peer_id: Who it is.
    """

    host: int
    process: subprocess.Popen[bytes]
    log: Path
    address: str = ""
    peer_id: str = ""
    control: str = ""

    def ask(self, op: str, **request: Any) -> Any:
        """What the node answers to a local client."""
        return anyio.run(partial(ask_at, Path(self.control), {"op": op, **request}))

    def group(self) -> dict[str, Any]:
        """Its group."""
        (group,) = self.ask("groups")
        found: dict[str, Any] = group
        return found

    def set(self, key: str, value: Any, *, timeout: float = 20) -> None:
        """Write, through this node."""
        self.ask("map", action="set", group="g", key=key, value=value, timeout=timeout)

    def get(self, key: str, *, weak: bool = False) -> Any:
        """Read, through this node; None if there is no such key."""
        try:
            return self.ask("map", action="get", group="g", key=key, weak=weak)["value"]
        except CommandError as error:
            if error.kind != "NoSuchKey":
                raise
            return None

    def end(self) -> None:
        """SIGKILL: nothing is said to anybody."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIVENESS)


class Lab:
    """Some hosts and their switch; gone with the context, whatever happened.

    Args:
        hosts: How many, numbered from 1.
        folder: For logs and the secret.
        mtu: Of each host's interface, by number; 1500 for the others.
    """

    def __init__(self, hosts: int, folder: Path, *, mtu: dict[int, int] | None = None) -> None:
        self.hosts = range(1, hosts + 1)
        self.nodes: list[Node] = []
        self._folder = folder
        self._mtu = mtu or {}
        self._prefix = f"p2praft-{os.getpid()}-{next(_serial)}"
        self._made: list[str] = []
        self._switch: subprocess.Popen[bytes] | None = None
        self._cut: set[tuple[int, int]] = set()

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            for node in self.nodes:
                print(f"--- host {node.host}\n{node.log.read_text(errors='replace')[-3000:]}", file=sys.stderr)
        self._remove()

    # --- hosts and links

    def path(self, *, delay: float = 0.0, loss: float = 0.0, reorder: float = 0.0) -> None:
        """How every frame fares: seconds each way, and what part is lost or comes late, each way."""
        self._order({"path": {"delay": delay, "loss": loss, "reorder": reorder}})

    def cut(self, *pairs: tuple[int, int]) -> None:
        """From now on the second host of each pair hears nothing from the first."""
        self._cut |= set(pairs)
        self._order_cuts()

    def isolate(self, *hosts: int) -> None:
        """Pull the cables of some hosts: nothing goes in or out, and nobody is told."""
        self.part(*([host] for host in hosts), [host for host in self.hosts if host not in hosts])

    def part(self, *sides: Iterable[int]) -> None:
        """Cut the network into sides that do not hear each other."""
        groups = [list(side) for side in sides]
        self.cut(*((a, b) for one in groups for other in groups if one is not other for a in one for b in other))

    def heal(self) -> None:
        """Everybody hears everybody."""
        self._cut.clear()
        self._order_cuts()

    def nat(self, host: int, outside: int = NAT_PORT) -> None:
        """Put a host behind a NAT that shows this UDP port; again, with another, and the NAT has forgotten all."""
        self._order({"nat": [f"port{host}", PORT, outside]})

    # --- nodes

    def up(self, host: int, *seeds: Node, extra: Sequence[str] = ()) -> Node:
        """Start a node and wait until it is ready."""
        node = self.start(host, *seeds, extra=extra)
        self.wait_ready(node)
        return node

    def start(self, host: int, *seeds: Node, extra: Sequence[str] = ()) -> Node:
        """Start a node."""
        log = self._folder / f"host-{host}-{len(self.nodes)}.log"
        command = ["ip", "netns", "exec", self._host(host), sys.executable, "-m", "p2praft", "up", "--json"]
        command += ["--network", "lab", "--listen", f"{SUBNET}.{host}:{PORT}", "--group", "g", *extra]
        command += ["--secret-file", str(self._secret())]
        for seed in seeds:
            command += ["--seed", seed.address]
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, "XDG_RUNTIME_DIR": ""}
            )
        node = Node(host, process, log)
        self.nodes.append(node)
        return node

    def wait_ready(self, node: Node) -> None:
        """Wait until it has said its address."""
        until(lambda: self._is_ready(node), f"host {node.host} is ready")

    def cluster(self, *, expect: int = 2, extra: Sequence[str] = ()) -> list[Node]:
        """A node on every host, seeded by the first; returned when all vote."""
        options = ["--expect", str(expect), *extra]
        first = self.up(self.hosts[0], extra=options)
        nodes = [first, *(self.start(host, first, extra=options) for host in self.hosts[1:])]
        for node in nodes[1:]:
            self.wait_ready(node)
        wait_voters(nodes)
        return nodes

    # --- inner workings

    def _build(self) -> None:
        for name in ("hub", *map(str, self.hosts)):
            _ip("netns", "add", f"{self._prefix}-{name}")
            self._made.append(f"{self._prefix}-{name}")
        hub = f"{self._prefix}-hub"
        for host in self.hosts:
            ends = ["type", "veth", "peer", "name", "eth0", "netns", self._host(host)]
            _ip("-n", hub, "link", "add", f"port{host}", *ends)
            _ip("-n", hub, "link", "set", f"port{host}", "mtu", "9000", "up")
            _ip("-n", self._host(host), "addr", "add", f"{SUBNET}.{host}/24", "dev", "eth0")
            _ip("-n", self._host(host), "link", "set", "eth0", "mtu", str(self._mtu.get(host, 1500)), "up")
            _ip("-n", self._host(host), "link", "set", "lo", "up")
        self._switch = subprocess.Popen(
            [
                *("ip", "netns", "exec", hub, sys.executable, "-m", "tests.netns.switch"),
                *(f"port{host}" for host in self.hosts),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._await_switch()

    def _host(self, host: int) -> str:
        return f"{self._prefix}-{host}"

    def _order(self, order: dict[str, Any]) -> None:
        assert self._switch is not None
        assert self._switch.stdin is not None
        self._switch.stdin.write(json.dumps(order).encode() + b"\n")
        self._switch.stdin.flush()
        self._await_switch()

    def _await_switch(self) -> None:
        assert self._switch is not None
        assert self._switch.stdout is not None
        assert self._switch.stdout.readline(), "the switch ended"

    def _order_cuts(self) -> None:
        self._order({"cut": [[f"port{source}", f"port{to}"] for source, to in sorted(self._cut)]})

    def _secret(self) -> Path:
        path = self._folder / "secret"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text("correct horse battery staple")
        return path

    def _is_ready(self, node: Node) -> bool:
        for line in node.log.read_text(errors="replace").splitlines():
            if line.startswith("{") and (event := json.loads(line)).get("event") == "ready":
                node.address, node.peer_id, node.control = event["address"], event["peer_id"], event["control"]
                return True
        assert node.process.poll() is None, f"the node ended: {node.log.read_text()}"
        return False

    def _remove(self) -> None:
        for node in self.nodes:
            node.end()
            if node.control:
                Path(node.control).unlink(missing_ok=True)  # killed, it could not do that itself
        if self._switch is not None:
            self._switch.kill()
            self._switch.communicate()
        for name in self._made:
            _ip("netns", "del", name, check=False)


def wait_voters(nodes: Sequence[Node]) -> None:
    """Wait until all vote and know who leads."""
    everybody = {node.peer_id for node in nodes}

    def settled() -> bool:
        groups = [node.group() for node in nodes]
        return all(set(group["voters"]) == everybody and group["online"] for group in groups)

    until(settled, "everybody votes")


def leader_of(nodes: Sequence[Node]) -> Node:
    """The one that leads, and that the others follow."""

    def found() -> Node | None:
        groups = [node.group() for node in nodes]
        leaders = {group["leader"] for group in groups}
        by_id = {node.peer_id: node for node in nodes}
        agreed = len(leaders) == 1 and all(group["online"] for group in groups)
        return by_id.get(leaders.pop()) if agreed else None

    leader = until(found, "they agree on a leader")
    assert leader is not None
    return leader
