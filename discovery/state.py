"""A file of what a node should know when it starts again: its incarnation, and whom it knew."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgpack

from transport import PeerAddr
from transport.errors import WireError
from transport.wire import Schema, Size

logger = logging.getLogger("discovery")

MAX_KNOWN = 64
"""Peers that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    incarnation: int
    peers: Annotated[tuple[PeerAddr, ...], Size(0, MAX_KNOWN)]


_SCHEMA: Schema[_State] = Schema(_State)


class KnownPeers:
    """Reads and writes the file. It is a convenience: if it cannot be read or written, the node goes on without.

    Args:
        path: The file; None keeps nothing.

    Attributes:
        incarnation: The last one used; 0 if unknown.
        peers: Whom the node knew.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.incarnation = 0
        self.peers: tuple[PeerAddr, ...] = ()
        if path is None or not path.exists():
            return
        try:
            state = _SCHEMA.load(msgpack.unpackb(path.read_bytes()))
        except (OSError, ValueError, WireError) as error:
            logger.warning("cannot use %s (%s); starting without known peers", path, error)
            return
        self.incarnation, self.peers = state.incarnation, state.peers

    def save(self, incarnation: int, peers: Sequence[PeerAddr]) -> None:
        """Write what is known now; the old file stays until the new one is whole."""
        if self._path is None:
            return
        state = _State(incarnation=incarnation, peers=tuple(peers[:MAX_KNOWN]))
        temporary = self._path.with_suffix(".new")
        try:
            temporary.write_bytes(msgpack.packb(_SCHEMA.dump(state)))
            temporary.replace(self._path)
        except OSError as error:
            logger.warning("cannot write %s: %s", self._path, error.strerror)
