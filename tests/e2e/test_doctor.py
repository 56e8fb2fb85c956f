"""The doctor, and the faults that it finds: each is made for real, on real sockets, disks and clocks."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from p2praft.cli.doctor.command import Plan, examine_before
from p2praft.cli.doctor.findings import ADVICE, Finding
from tests.e2e.conftest import COMMAND, LIVENESS, Hosts, Up, run

GROUP = ["--network", "shop", "--group", "tills"]
PLAN: dict[str, Any] = {
    "target": None,
    "network": "shop",
    "listen": "127.0.0.1:0",
    "seeds": (),
    "group": None,
    "secret_file": None,
    "expect": 1,
    "data_dir": None,
}
WARPED = "import time; now = time.time; time.time = lambda: now() {:+d}; from p2praft.cli import main; main()"
"""A node whose clock is off by so many seconds."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Hosts that several tests look at and none changes."""
    made = Hosts(tmp_path_factory.mktemp("doctor"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def secret(shared: Hosts) -> str:
    return shared.secret()


@pytest.fixture(scope="module")
def node(shared: Hosts, secret: str) -> Up:
    """A healthy node that a patient may be told to join."""
    up = shared.up(*GROUP, "--secret-file", secret, "--expect", "1")
    up.wait_group(online=True)
    return up


def diagnose(**options: Any) -> list[Finding]:
    """What is found before a node starts."""

    async def collect() -> list[Finding]:
        with anyio.fail_after(60):
            return [finding async for finding in examine_before(Plan(**{**PLAN, **options}))]

    return anyio.run(collect)


def only_fault(findings: list[Finding]) -> Finding:
    """The one thing that is wrong."""
    (bad,) = [finding for finding in findings if not finding.ok]
    assert bad.fault is not None
    assert bad.advice == ADVICE[bad.fault]
    return bad


def port_of(up: Up) -> int:
    return int(up.address.rpartition(":")[2])


def at(up: Up, port: int) -> str:
    """The node's address, but by another port."""
    return f"{up.peer_id}@127.0.0.1:{port}"


@contextmanager
def relay(to: int, limit: int) -> Iterator[int]:
    """A port of a narrow path: datagrams of more than ``limit`` bytes are dropped in silence."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as front,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back,
    ):
        front.bind(("127.0.0.1", 0))
        back.connect(("127.0.0.1", to))
        client: list[Any] = []
        going = True

        def forward(source: socket.socket) -> None:
            source.settimeout(0.1)
            while going:
                try:
                    data, address = source.recvfrom(65536)
                except (TimeoutError, ConnectionRefusedError):
                    continue
                if len(data) > limit:
                    continue
                if source is front:
                    client[:] = [address]
                    back.send(data)
                elif client:
                    front.sendto(data, client[0])

        threads = [threading.Thread(target=forward, args=[source]) for source in (front, back)]
        for thread in threads:
            thread.start()
        try:
            yield front.getsockname()[1]
        finally:
            going = False
            for thread in threads:
                thread.join()


# --- nothing is wrong


def test_a_healthy_node_and_one_that_may_join_it(node: Up, secret: str, tmp_path: Path) -> None:
    findings = diagnose(
        seeds=(node.address,), group="tills", secret_file=secret, data_dir=str(tmp_path / "new" / "data")
    )
    assert [finding for finding in findings if not finding.ok] == []
    checks = [finding.check.split()[0] for finding in findings]
    assert checks == ["data", "secret", "socket", "path", "identity", "network", "clock", "group"]
    assert not (tmp_path / "new").exists(), "the doctor makes nothing"


def test_a_host_and_a_port_are_enough_to_learn_who_is_there(node: Up) -> None:
    findings = diagnose(target=f"127.0.0.1:{port_of(node)}", network=None)
    assert node.address in findings[-1].message
    assert all(finding.ok for finding in findings)


def test_through_a_running_node(node: Up, hosts: Hosts, secret: str) -> None:
    other = hosts.up(*GROUP, "--secret-file", secret, "--seed", node.address, "--observer")
    other.wait_group(online=True)
    found = other.json("doctor")
    assert [one["check"] for one in found][:2] == ["node", "group"]
    assert all(one["ok"] for one in found), found
    assert all(set(one) >= {"check", "ok", "message", "advice"} for one in found)
    found = other.request(op="doctor", target=node.address)
    assert [one["check"] for one in found][-1] == "group"
    assert other.stop() == 0


# --- the way there


def test_nothing_listens(node: Up) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    bad = only_fault(diagnose(seeds=(at(node, port),)))
    assert bad.fault == "nothing-listens"
    assert f"UDP port {port}" in bad.message


def test_udp_is_blocked(node: Up) -> None:
    with relay(port_of(node), limit=0) as port:
        bad = only_fault(diagnose(seeds=(at(node, port),)))
    assert bad.fault == "udp-blocked"
    assert "the host is up" in bad.message


def test_the_path_takes_only_small_datagrams(node: Up) -> None:
    with relay(port_of(node), limit=1400) as port:
        bad = next(finding for finding in diagnose(seeds=(at(node, port),)) if not finding.ok)
    assert bad.fault == "mtu-smaller"
    assert "only datagrams of up to 1392 bytes pass" in bad.message


def test_a_name_that_nobody_knows(node: Up) -> None:
    bad = only_fault(diagnose(seeds=(f"{node.peer_id}@no-such-host.invalid:7001",)))
    assert bad.fault == "name-unknown"


def test_a_port_that_is_taken(node: Up) -> None:
    bad = only_fault(diagnose(listen=f"127.0.0.1:{port_of(node)}"))
    assert bad.fault == "listen"


# --- who is there


def test_a_wrong_identity_behind_an_address(node: Up) -> None:
    bad = only_fault(diagnose(seeds=(f"{'a' * 51}q@127.0.0.1:{port_of(node)}",)))
    assert bad.fault == "wrong-identity"
    assert f"its address is {node.address}" in bad.message


def test_another_network_name(node: Up) -> None:
    bad = only_fault(diagnose(seeds=(node.address,), network="shpo"))
    assert bad.fault == "other-network"


def test_a_wrong_group_secret(node: Up, shared: Hosts) -> None:
    wrong = shared.secret("wrong horse")
    bad = only_fault(diagnose(seeds=(node.address,), group="tills", secret_file=wrong))
    assert bad.fault == "no-such-group"
    assert "serves 1 group(s), but none that is called 'tills' and has the same secret" in bad.message


def test_other_settings_are_no_other_group(node: Up, secret: str) -> None:
    findings = diagnose(seeds=(node.address,), group="tills", secret_file=secret, expect=3)
    assert all(finding.ok for finding in findings)


def test_a_group_that_the_peer_does_not_serve(node: Up, secret: str) -> None:
    assert only_fault(diagnose(seeds=(node.address,), group="tlils", secret_file=secret)).fault == "no-such-group"


def test_a_secret_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "secret").touch(mode=0o644)
    bad = only_fault(diagnose(group="tills", secret_file=str(tmp_path / "secret")))
    assert bad.fault == "secret-file"
    assert "chmod 600" in bad.message


def test_a_clock_that_is_far_off(hosts: Hosts) -> None:
    late = hosts.up("--network", "shop", program=[sys.executable, "-c", WARPED.format(-7200)])
    bad = only_fault(diagnose(seeds=(late.address,)))
    assert bad.fault == "clock-off"
    assert "the peer's clock is 120 min behind this machine's" in bad.message or "2 h behind" in bad.message


def test_a_node_that_knows_nobody_and_a_group_that_waits(hosts: Hosts, secret: str) -> None:
    lonely = hosts.up(*GROUP, "--secret-file", secret, "--expect", "3")
    found = lonely.request(op="doctor")
    assert [finding["fault"] for finding in found] == [None, "not-founded", "alone"]
    assert "it waits for 3 members that may vote; so far, 1 of them here" in found[1]["message"]


# --- the data directory


def test_a_data_directory_that_another_node_has_locked(hosts: Hosts, tmp_path: Path) -> None:
    up = hosts.up("--network", "shop", "--data-dir", str(tmp_path / "data"))
    bad = only_fault(diagnose(data_dir=str(tmp_path / "data")))
    assert bad.fault == "data-locked"
    assert f"pid {up.process.pid}" in bad.message


def test_a_log_whose_bits_have_flipped(hosts: Hosts, tmp_path: Path) -> None:
    data = tmp_path / "data"
    up = hosts.up(*GROUP, "--secret-file", hosts.secret(), "--data-dir", str(data))
    up.wait_group(online=True)
    request = {"op": "map", "action": "set", "group": "tills", "key": "apple", "value": "crumble crumble crumble"}
    up.request(**request, timeout=10)
    assert up.stop() == 0
    assert all(finding.ok for finding in diagnose(data_dir=str(data)))
    (log,) = (data / "groups").glob("*.sqlite")
    flipped = log.read_bytes().replace(b"crumble crumble", b"crumblx crumble")
    assert flipped != log.read_bytes()
    log.write_bytes(flipped)
    bad = only_fault(diagnose(data_dir=str(data)))
    assert bad.fault == "data-corrupt"
    assert "wrong checksum" in bad.message
    log.write_bytes(b"not a database, but long enough to be looked at" * 100)
    assert only_fault(diagnose(data_dir=str(data))).fault == "data-corrupt"


def test_a_key_file_that_is_garbage(tmp_path: Path) -> None:
    (tmp_path / "identity.key").touch(mode=0o600)
    (tmp_path / "identity.key").write_text("garbage")
    assert only_fault(diagnose(data_dir=str(tmp_path))).fault == "key-file"


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert only_fault(diagnose(data_dir=str(tmp_path / "file"))).fault == "data-unusable"
    assert only_fault(diagnose(data_dir=str(tmp_path / "file" / "data"))).fault == "data-unusable"


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small disk of its own."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m") as disk:
        bad = only_fault(diagnose(data_dir=str(disk / "data")))
        assert bad.fault == "data-full"
        assert list(disk.iterdir()) == []


def test_a_disk_that_is_mounted_read_only(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "ro") as disk:
        assert only_fault(diagnose(data_dir=str(disk))).fault == "data-read-only"


# --- on other machines: network namespaces


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextmanager
def two_hosts(mtu: int) -> Iterator[tuple[str, str]]:
    """Names of two namespaces with a router between them; behind it the path is narrow."""
    tag = f"p2p{os.getpid()}"
    names = here, router, there = f"{tag}a", f"{tag}r", f"{tag}b"
    try:
        for name in names:
            ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        pytest.skip(f"no network namespaces here: {error}")
    try:
        for name, number in ((here, 1), (there, 2)):
            side, end = f"{tag}{number}", f"{tag}{number}r"
            ip("link", "add", side, "netns", name, "type", "veth", "peer", "name", end, "netns", router)
            ip("-n", name, "addr", "add", f"10.77.{number}.1/24", "dev", side)
            ip("-n", router, "addr", "add", f"10.77.{number}.254/24", "dev", end)
            for where, device in ((name, side), (router, end), (name, "lo")):
                ip("-n", where, "link", "set", device, "up")
            ip("-n", name, "route", "add", "default", "via", f"10.77.{number}.254")
        for where, device in ((there, f"{tag}2"), (router, f"{tag}2r")):
            ip("-n", where, "link", "set", device, "mtu", str(mtu))
        ip("netns", "exec", router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        yield here, there
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@pytest.mark.parametrize(("mtu", "fault"), [(1000, "mtu-too-small"), (1400, "mtu-smaller"), (1500, None)])
def test_a_narrow_link_between_two_hosts(hosts: Hosts, mtu: int, fault: str | None) -> None:
    with two_hosts(mtu) as (here, there):
        inside = ["ip", "netns", "exec", there, *COMMAND]
        up = hosts.up("--network", "shop", "--listen", "10.77.2.1:7001", program=inside)
        arguments = [*COMMAND, "doctor", "--json", "--network", "shop", up.address]
        looked = subprocess.run(
            ["ip", "netns", "exec", here, *arguments], capture_output=True, text=True, timeout=2 * LIVENESS, check=False
        )
        up.stop()
    assert looked.returncode == (1 if fault else 0), looked.stdout
    assert (f'"fault":"{fault}"' in looked.stdout) is (fault is not None)


# --- as a person meets it


def test_what_a_person_sees(node: Up, hosts: Hosts) -> None:
    good = run("doctor", node.address, env=hosts.env)
    assert good.returncode == 0
    assert "nothing is wrong that can be seen from here" in good.stdout
    bad = run("doctor", node.address, "--network", "shpo", env=hosts.env)
    assert bad.returncode == 1
    assert "BAD  network: the peer is not in network 'shpo'" in bad.stdout
    assert f"try: {ADVICE['other-network']}" in bad.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["here"], "'here' is neither <peer-id>@host:port nor host:port"),
        (["--group", "g"], "give --network NAME as well"),
        (["--node", "x", "--network", "n"], "--node looks through a running node"),
    ],
)
def test_wrong_usage(arguments: list[str], says: str) -> None:
    result = run("doctor", *arguments)
    assert result.returncode == 2
    assert says in result.stderr
