"""``python -m tests.fuzz.seeds`` writes the corpus's starting points anew: real encodings, one of each kind.

Their names begin with ``seed-``; what a fuzzer found, and was kept, has other names and is left alone.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import msgpack

from discovery.messages import DISCOVERY, Hello
from p2praft.collections import MapMachine
from p2praft.groups import snapshots
from p2praft.groups.applier import Applier
from p2praft.groups.bond import BOND, Envelope
from tests.discovery.support import address, entry, key
from tests.fuzz.machines import REQUESTS
from tests.fuzz.raft import KINDS
from tests.fuzz.source import Source
from tests.fuzz.targets import CORPUS, TARGETS
from tests.fuzz.values import Maker
from transport import Protocol
from transport.handshake import DIALLER, PROOF, make_proof
from transport.quic_link import control


def _of_each_kind(protocol: Protocol) -> Iterator[bytes]:
    """A message of each kind, made from fixed dice; without its length."""
    for number, kind in sorted(protocol.messages.items()):
        yield protocol.encode(Maker().message(kind, Source(random.Random(number).randbytes(400))))[4:]


def _raft() -> Iterator[bytes]:
    for number, kind in enumerate(KINDS):
        source = Source(random.Random(number).randbytes(400))
        yield BOND.encode(Envelope(history=b"h" * 16, message=Maker().message(kind, source)))[4:]


def _streams() -> Iterator[bytes]:
    """Links from their opening to their end, behind the byte for the side and the one for the cut."""
    opening, goodbye = control(0, DISCOVERY.name), control(2, "done")
    frames = [len(payload).to_bytes(4, "big") + payload for payload in _of_each_kind(DISCOVERY)]
    yield b"\x00\x05" + opening + frames[0] + frames[2] + control(1, 70_000) + goodbye
    yield b"\x01\x40" + frames[1] + frames[3] + goodbye
    yield b"\x00\x05" + control(0, "unknown/1")
    yield b"\x01\xff" + b"\xff\xff\xff\xff"


def _known_peers() -> Iterator[bytes]:
    plain = [7, [[peer.peer_id.key, [[end.host, end.port] for end in peer.endpoints]] for peer in map(address, (1, 2))]]
    yield msgpack.packb(plain)
    yield msgpack.packb([1, []])


def _snapshots() -> Iterator[bytes]:
    applier = Applier(MapMachine())
    yield b"\x40" + b"".join(snapshots.encode(applier))
    machine = cast(MapMachine, applier.machine)
    machine.apply(["set", [["a", b"\x01"], ["b", b"\x02"]], None], cast(Any, SimpleNamespace(time=1.0)))
    yield b"\x08" + b"".join(snapshots.encode(applier))


def _steering(name: str) -> list[bytes]:
    return [random.Random(f"{name} {number}").randbytes(length) for number, length in enumerate((8, 64, 400, 400))]


def seeds() -> Mapping[str, list[bytes]]:
    """Starting points by target."""
    proof = make_proof(key(1), role=DIALLER, binding=b"b" * 32, remote=key(2).peer_id, instance=b"i" * 8)
    hosts = ["10.0.0.5:7001", "[fe80::1]:7001", "node.local:0", str(address(1)), f"{address(1)},10.0.0.6:7002"]
    made = {
        "addresses": [text.encode() for text in hosts],
        "bond": [*_of_each_kind(BOND), *_raft()],
        "control": [json.dumps(request).encode() for request in REQUESTS],
        "discovery": [*_of_each_kind(DISCOVERY), DISCOVERY.encode(_hello())[4:]],
        "identity": [PROOF.encode(proof)[4:]],
        "known-peers": list(_known_peers()),
        "link": list(_streams()),
        "snapshot": list(_snapshots()),
    }
    return {name: made.get(name) or _steering(name) for name in TARGETS}


def _hello() -> Hello:
    return Hello(entry=entry(1, tags=["red"], groups=[b"g" * 16]))


def main() -> None:
    """Write them."""
    for name, inputs in seeds().items():
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("seed-*"):
            old.unlink()
        for number, data in enumerate(inputs):
            (folder / f"seed-{number:02}").write_bytes(data)


if __name__ == "__main__":
    main()
