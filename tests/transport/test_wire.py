"""Strict decoding: what is right comes back the same, everything else is a WireError and nothing worse."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any, ClassVar, NewType

import msgpack
import pytest
from hypothesis import given, strategies as st

from p2praft.groups.bond import BOND
from transport import PeerId, Protocol, WireError
from transport.handshake import PROOF
from transport.wire import Range, Schema, Size

Count = NewType("Count", int)


class Colour(IntEnum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    wire_tag: ClassVar[int] = 1
    name: Annotated[str, Size(1, 5)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    wire_tag: ClassVar[int] = 2
    left: Leaf
    right: Leaf | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    count: Count
    small: Annotated[int, Range(-5, 5)]
    flag: bool
    ratio: float
    text: str
    data: Annotated[bytes, Size(0, 4)]
    many: Annotated[tuple[Annotated[int, Range(0, 9)], ...], Size(0, 3)]
    two: tuple[str, bool]
    colour: Colour
    peer: PeerId
    tree: Leaf | Fork


PROTOCOL = Protocol(name="test/1", messages={1: Everything, 7: Leaf}, max_frame=2048)
PEER = PeerId(bytes(32))
GOOD = Everything(
    count=Count(3),
    small=-5,
    flag=True,
    ratio=0.5,
    text="é",
    data=b"ab",
    many=(1, 2),
    two=("x", False),
    colour=Colour.BLUE,
    peer=PEER,
    tree=Fork(left=Leaf(name="l"), right=None),
)
PLAIN: list[Any] = [1, 3, -5, True, 0.5, "é", b"ab", [1, 2], ["x", False], 2, bytes(32), [2, ["l"], None]]


def test_the_form_on_the_wire() -> None:
    frame = PROTOCOL.encode(GOOD)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert msgpack.unpackb(frame[4:]) == PLAIN
    assert PROTOCOL.decode(frame[4:]) == GOOD


@pytest.mark.parametrize(
    ("position", "value", "says"),
    [
        (1, -1, "Everything.count: -1 is not between 0"),
        (1, 2**63, "is not between"),
        (1, True, "Everything.count: expected an integer, not bool"),
        (1, 1.0, "expected an integer, not float"),
        (2, 6, "6 is not between -5 and 5"),
        (3, 1, "expected true or false, not int"),
        (4, float("nan"), "expected a finite number"),
        (4, "0.5", "expected a finite number, not str"),
        (5, b"x", "expected text, not bytes"),
        (5, "x" * 1025, "text of length 1025"),
        (6, b"abcde", "bytes of length 5, allowed are 0 to 4"),
        (7, [1, 2, 3, 4], "a list of 4 items, allowed are 0 to 3"),
        (7, [10], "10 is not between 0 and 9"),
        (7, 5, "expected a list, not int"),
        (8, ["x"], "expected a list of 2 items"),
        (9, 3, "3 is none of [1, 2]"),
        (9, [], "is none of"),
        (10, bytes(31), "a peer id is 32 bytes"),
        (11, [3, "x"], "begins with one of [1, 2]"),
        (11, [True, "x"], "begins with one of"),
        (11, None, "not nothing"),
        (11, [1, "toolong"], "Everything.tree: Leaf.name: text of length 7"),
        (11, [2, ["l"], ["r"], None], "Fork is a list of 3 items, not a list of 4"),
    ],
)
def test_what_is_wrong_is_named(position: int, value: object, says: str) -> None:
    plain = [*PLAIN]
    plain[position] = value
    with pytest.raises(WireError) as caught:
        PROTOCOL.decode(msgpack.packb(plain))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        msgpack.packb({}),
        msgpack.packb([]),
        msgpack.packb([9]),
        msgpack.packb(["1"]),
        msgpack.packb([True, "x"]),
        msgpack.packb(PLAIN) + b"\x00",
        msgpack.packb(PLAIN)[:-1],
        msgpack.packb([*PLAIN, 1]),
        msgpack.packb(PLAIN[:-1]),
        msgpack.packb([1, {"a": 1}]),
        msgpack.packb([1, msgpack.ExtType(5, b"x")]),
        b"\x91" * 2000 + b"\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xffabc",
        msgpack.packb(PLAIN) + bytes(3000),
        b"\xa2\xff\xfe",
        msgpack.packb([7, "\ud800"], unicode_errors="surrogatepass"),
    ],
)
def test_malformed_frames(payload: bytes) -> None:
    with pytest.raises(WireError):
        PROTOCOL.decode(payload)


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=20,
)


@pytest.mark.parametrize("protocol", [PROTOCOL, PROOF, BOND], ids=lambda protocol: protocol.name)
def test_random_bytes_and_values_raise_nothing_but_wire_errors(protocol: Protocol) -> None:
    @given(
        st.binary(max_size=200) | plain_values.map(msgpack.packb) | st.lists(plain_values, max_size=12).map(_message)
    )
    def attack(payload: bytes) -> None:
        try:
            protocol.decode(payload)
        except WireError:
            return

    attack()


def _message(values: list[Any]) -> bytes:
    packed: bytes = msgpack.packb([1 + len(values) % 4, *values])
    return packed


@given(st.integers(0, len(PLAIN) * 8), st.integers(0, 255))
def test_a_flipped_byte_is_either_another_message_or_a_wire_error(at: int, value: int) -> None:
    frame = bytearray(PROTOCOL.encode(GOOD)[4:])
    frame[at % len(frame)] = value
    try:
        decoded = PROTOCOL.decode(bytes(frame))
    except WireError:
        return
    assert isinstance(decoded, Everything | Leaf)


def test_a_message_of_another_protocol_is_our_own_mistake() -> None:
    with pytest.raises(TypeError, match="has no message Fork"):
        PROTOCOL.encode(Fork(left=Leaf(name="l"), right=None))


def test_a_schema_that_cannot_be_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="no wire schema"):
        Schema(dict[str, int])
    with pytest.raises(ValueError, match="is not 1 to 255"):
        Protocol(name="x", messages={0: Leaf}, max_frame=10)
