"""A group is upgraded without downtime: processes of this release and of a next one, which speaks a newer wire as well."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.e2e.conftest import COMMAND, Hosts, Up, wait_voters

NEXT = [
    sys.executable,
    "-c",
    "import transport.handshake, p2praft.groups.bond\n"
    "transport.handshake.WIRE_VERSIONS = ('p2praft/2', 'p2praft/1')\n"
    "p2praft.groups.bond.FEATURES = ('test',)\n"
    "from p2praft.cli import main\n"
    "main()",
]
"""A release to come: it knows a version of the wire and a feature that this one does not."""


def wire(one: Up, other: Up) -> str:
    """Which version two nodes speak."""
    found = one.request(op="doctor", target=other.address)
    (text,) = [finding["message"] for finding in found if finding["check"] == "identity"]
    return re.split("[,)]", str(text).rpartition("(wire ")[2])[0]


def test_a_rolling_upgrade_loses_nothing_and_stops_nobody(hosts: Hosts, tmp_path: Path) -> None:
    secret = hosts.secret()
    written = 0

    def start(number: int, program: list[str], *seeds: Up) -> Up:
        arguments = ["--network", "shop", "--group", "tills", "--secret-file", secret, "--expect", "2"]
        arguments += ["--data-dir", str(tmp_path / f"node-{number}")]
        for seed in seeds:
            arguments += ["--seed", seed.address]
        return hosts.up(*arguments, program=program)

    def write(node: Up) -> None:
        nonlocal written
        request = {"op": "map", "action": "set", "group": "tills", "key": f"key-{written}", "value": written}
        written = node.request(**request, timeout=20)["version"]

    nodes = [start(0, COMMAND)]
    nodes += [start(number, COMMAND, nodes[0]) for number in (1, 2)]
    for node in nodes:
        node.wait_group(online=True)
        write(node)
    wait_voters(nodes, 3)  # of two voters none can be away
    for number in range(3):
        others = [node for node in nodes if node is not nodes[number]]
        assert nodes[number].stop() == 0
        write(others[0])  # while it is away
        nodes[number] = start(number, NEXT, *others)
        nodes[number].wait_group(online=True)
        write(nodes[number])
        assert wire(nodes[number], others[1]) == ("p2praft/2" if number == 2 else "p2praft/1")
    assert wire(nodes[0], nodes[1]) == "p2praft/2"
    entries = nodes[0].request(op="map", action="list", group="tills")
    assert sorted(entry["value"] for entry in entries) == list(range(9))
