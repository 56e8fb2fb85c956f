"""MessagePack values that are almost what a schema wants."""

from __future__ import annotations

from typing import Any

import msgpack

from tests.fuzz.source import Source

NASTY: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 255, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)),
    *(
        0.0,
        -0.0,
        1.5,
        float("nan"),
        float("inf"),
        1e308,
        "",
        "x",
        "x" * 2000,
        b"",
        b"x",
        bytes(16),
        bytes(32),
        bytes(64),
    ),
    *([], [[]], [0], [1, 2, 3], [None] * 300, {}, {"a": 1}, {1: 2}, msgpack.ExtType(5, b"x"), msgpack.Timestamp(1, 2)),
)


def mutate(plain: Any, source: Source) -> Any:
    """The value with one of its parts, at any depth, replaced, dropped, doubled or moved."""
    if isinstance(plain, list) and plain and not source.chance(8):
        at = source.below(len(plain))
        match source.byte() % 8:
            case 0:
                return [*plain[:at], *plain[at + 1 :]]
            case 1:
                return [*plain[:at], plain[at], *plain[at:]]
            case 2:
                return [*plain[:at], source.pick(NASTY), *plain[at:]]
            case 3:
                other = source.below(len(plain))
                return [plain[other] if place == at else item for place, item in enumerate(plain)]
            case _:
                return [mutate(item, source) if place == at else item for place, item in enumerate(plain)]
    return source.pick(NASTY)


def spoil(payload: bytes, source: Source) -> bytes:
    """The bytes with a few of them changed, dropped or put in."""
    spoiled = bytearray(payload)
    for _ in range(1 + source.below(4)):
        at = source.below(len(spoiled) + 1)
        match source.byte() % 4:
            case 0:
                del spoiled[at : at + 1 + source.below(4)]
            case 1:
                spoiled[at:at] = source.take(1 + source.below(4))
            case 2:
                del spoiled[at:]
            case _:
                spoiled[at : at + 1] = source.take(1)
    return bytes(spoiled)
