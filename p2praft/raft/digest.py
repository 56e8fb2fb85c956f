"""Digests of log positions: equal only if all entries up to there are equal.

Equal terms and indices mean equal content only as long as nobody has forgotten anything (paper, section 5.3, Log Matching). A
digest finds the member whose disk was replaced by an older copy.
"""

from __future__ import annotations

import hashlib
import struct

import msgpack

from p2praft.raft.entries import Commands, LogEntry, Payload
from p2praft.raft.histories.entries import Genesis, Share
from p2praft.raft.types import NO_DIGEST
from transport.wire import Schema

_FRONT = struct.Struct(">QQdQQQI")
_LENGTH = struct.Struct(">I").pack
_PAYLOAD: Schema[Payload] = Schema(Payload)


def digest_after(before: bytes, entry: LogEntry) -> bytes:
    """The digest at ``entry``, 16 bytes, from that at the entry before.

    What release 0.1 wrote has no digests, and its logs may begin anywhere. There the digest is :data:`NO_DIGEST`, which says
    nothing, until the first entry that only this release writes.
    """
    payload = entry.payload
    if type(payload) is Commands:
        if before == NO_DIGEST:
            return NO_DIGEST
        commands = payload.commands
        front = _FRONT.pack(
            entry.term, entry.index, entry.time, payload.session, payload.first, payload.settled, len(commands)
        )
        hashed = hashlib.blake2b(before, digest_size=16)
        hashed.update(front + entry.proposer.key + b"".join(map(_LENGTH, map(len, commands))))
        hashed.update(b"".join(commands))
        return hashed.digest()
    if type(payload) is Genesis and payload.settings is None:
        return NO_DIGEST
    if before == NO_DIGEST and type(payload) is not Share and type(payload) is not Genesis:
        return NO_DIGEST
    body = msgpack.packb([entry.term, entry.index, entry.time, entry.proposer.key, _PAYLOAD.dump(payload)])
    return hashlib.blake2b(before + body, digest_size=16).digest()
