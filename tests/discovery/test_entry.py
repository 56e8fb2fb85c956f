"""What a node says of itself, and that nobody else can."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from discovery import Entry, NetworkId, SignedEntry, Version
from tests.discovery.support import NETWORK, entry, key, peer
from transport import AddressError, HostPort, WireError
from transport.wire import Schema


def test_network_ids_tell_names_apart() -> None:
    assert NetworkId.of("factory") == NETWORK
    assert NetworkId.of("factory ") != NETWORK
    assert len({NetworkId.of("a"), NetworkId.of("b"), NetworkId.of("a")}) == 2


@given(st.binary(min_size=32, max_size=32))
def test_network_id_text_round_trips(data: bytes) -> None:
    network = NetworkId(data)
    assert NetworkId.parse(str(network)) == network
    assert len(str(network)) == 52
    assert network.short in repr(network)
    assert str(network) not in repr(network)


@pytest.mark.parametrize("text", ["", "abc", "!" * 52, "a" * 51, "a" * 60])
def test_network_id_refuses_other_text(text: str) -> None:
    with pytest.raises(AddressError):
        NetworkId.parse(text)


@pytest.mark.parametrize("plain", [b"", b"x" * 31, "x" * 32, None, 7])
def test_network_id_refuses_other_bytes(plain: object) -> None:
    with pytest.raises(WireError):
        NetworkId.from_wire(plain)


def test_network_ids_are_ordered_as_their_bytes() -> None:
    ids = [NetworkId.of(str(number)) for number in range(9)]
    assert [i.key for i in sorted(ids)] == sorted(i.key for i in ids)


def test_incarnation_outweighs_sequence() -> None:
    assert Version(2, 1) > Version(1, 9) > Version(1, 8)
    assert str(Version(2, 1)) == "2.1"


def test_own_signature_holds() -> None:
    assert entry(1, tags=["press"], groups=[b"g" * 16]).holds()


@pytest.mark.parametrize(
    "change",
    [
        {"network": NetworkId.of("elsewhere")},
        {"peer_id": peer(2)},
        {"version": Version(9, 9)},
        {"endpoints": (HostPort("evil", 1),)},
        {"tags": ("other",)},
        {"groups": (b"h" * 16,)},
        {"left": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_signature_covers_every_field(change: dict[str, object]) -> None:
    signed = entry(1, tags=["press"], groups=[b"g" * 16])
    forged = replace(signed, entry=replace(signed.entry, **change))  # type: ignore[arg-type]
    assert not forged.holds()


def test_every_field_is_tried_above() -> None:
    assert set(Entry.__slots__) == {"network", "peer_id", "version", "endpoints", "tags", "groups", "left"}


def test_another_key_cannot_sign() -> None:
    assert not SignedEntry.sign(key(2), entry(1).entry).holds()


@given(
    tags=st.lists(st.text(max_size=64), max_size=32),
    groups=st.lists(st.binary(min_size=16, max_size=16), max_size=64),
)
def test_size_is_an_upper_bound(tags: list[str], groups: list[bytes]) -> None:
    msgpack = pytest.importorskip("msgpack")
    signed = entry(1, (2**62, 2**62), tags=tags, groups=groups)
    schema: Schema[SignedEntry] = Schema(SignedEntry)
    packed = msgpack.packb(schema.dump(signed))
    assert len(packed) <= signed.size
    assert schema.load(msgpack.unpackb(packed)) == signed
