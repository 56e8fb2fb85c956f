"""All targets by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.fuzz import decoders, gossip, machines, raft

Target = Callable[[bytes], None]

TARGETS: Mapping[str, Target] = {
    "addresses": decoders.addresses,
    "bond": decoders.bond,
    "commands": machines.commands,
    "control": machines.control,
    "discovery": decoders.discovery,
    "gossip": gossip.gossip,
    "identity": decoders.identity,
    "known-peers": decoders.known_peers,
    "link": decoders.link,
    "raft": raft.raft,
    "requests": machines.requests,
    "snapshot": machines.snapshot,
    "values": decoders.values,
}

CORPUS = Path(__file__).parent / "corpus"
"""A folder of inputs a target: starting points, and every finding there ever was."""


def corpus(name: str) -> list[bytes]:
    """The inputs that the repository keeps for a target."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
