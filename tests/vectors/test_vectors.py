"""The vectors hold in both directions, for our code and for a second implementation, and the document quotes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from discovery.messages import DISCOVERY
from p2praft.groups.bond import BOND
from p2praft.raft import messages as raft
from p2praft.raft.entries import Payload
from tests.vectors import document, make, second
from transport import PeerAddr, Protocol
from transport.handshake import ACCEPTOR, DIALLER, PROOF, check_proof

FILED: dict[str, list[dict[str, Any]]] = json.loads(make.FILE.read_text(encoding="utf-8"))
VALUES = {vector["name"]: vector for vector in FILED["values"]}
FRAMES = {vector["name"]: vector for vector in FILED["frames"]}


def value(name: str) -> bytes:
    """What a vector holds."""
    return bytes.fromhex(VALUES[name]["hex"])


def given(name: str, item: str) -> bytes:
    """What a vector is made from."""
    return bytes.fromhex(VALUES[name]["inputs"][item])


def unplain(filed: Any) -> Any:
    """The MessagePack value that the file shows."""
    if isinstance(filed, dict):
        return bytes.fromhex(filed["hex"]) if "hex" in filed else float(filed["float"])
    return [unplain(item) for item in filed] if isinstance(filed, list) else filed


def test_the_file_is_what_the_code_makes() -> None:
    assert make.FILE.read_text(encoding="utf-8") == make.dumped(), "run `python -m tests.vectors`"


def test_the_document_quotes_the_vectors_and_the_schemas() -> None:
    text = document.FILE.read_text(encoding="utf-8")
    assert text == document.rendered(text), "run `python -m tests.vectors`"
    assert text.count("<!-- vector: ") + text.count("<!-- table: ") == len(document.MARK.findall(text))


@pytest.mark.parametrize(
    ("protocol", "message", "vector"), list(make.messages()), ids=[vector["name"] for _, _, vector in make.messages()]
)
def test_frames_decode_to_messages_and_messages_encode_to_frames(
    protocol: Protocol, message: Any, vector: dict[str, Any]
) -> None:
    filed = FRAMES[vector["name"]]
    frame = bytes.fromhex(filed["hex"])
    assert protocol.decode(frame[4:]) == message
    assert protocol.encode(message) == frame
    assert second.frame(unplain(filed["value"])) == frame
    assert msgpack.unpackb(frame[4:]) == unplain(filed["value"])


@pytest.mark.parametrize("protocol", [PROOF, DISCOVERY, BOND], ids=lambda protocol: protocol.name)
def test_every_message_has_a_vector(protocol: Protocol) -> None:
    shown = {type(message) for its, message, _ in make.messages() if its is protocol}
    assert shown == set(protocol.messages.values())


def test_every_raft_message_and_every_payload_has_a_vector() -> None:
    assert {type(message) for message in make.RAFT} == set(raft.Message.__args__)
    assert {type(payload) for payload in make.PAYLOADS} == set(Payload.__args__)


def test_the_proofs_of_identity_hold_where_they_should_and_nowhere_else() -> None:
    dialler, acceptor = (
        PROOF.decode(bytes.fromhex(FRAMES[f"identity/1 Proof of the {role}"]["hex"])[4:])
        for role in ("dialler", "acceptor")
    )
    alice, bob = dialler.peer_id, acceptor.peer_id
    assert check_proof(dialler, role=DIALLER, binding=value("channel binding"), me=bob) is None
    assert check_proof(acceptor, role=ACCEPTOR, binding=value("channel binding"), me=alice) is None
    assert check_proof(dialler, role=ACCEPTOR, binding=value("channel binding"), me=bob) is not None
    assert check_proof(dialler, role=DIALLER, binding=bytes(32), me=bob) is not None


def test_the_entries_hold() -> None:
    for name in ("News", "Hello"):
        message = DISCOVERY.decode(bytes.fromhex(FRAMES[f"discovery/1 {name}"]["hex"])[4:])
        assert all(signed.holds() for signed in getattr(message, "entries", None) or [message.entry])


# --- a second implementation gets the same


ALICE, BOB = given("peer id of alice", "seed"), given("peer id of bob", "seed")
ALICE_ID, BOB_ID = value("peer id of alice"), value("peer id of bob")
BINDING = value("channel binding")
NETWORK, GROUP, GROUP_KEY = value("network id"), value("group id"), value("group key of a passphrase")
HELLO = unplain(FRAMES["discovery/1 Hello"]["value"])[1]
DERIVED: dict[str, Callable[[], bytes]] = {
    "peer id of alice": lambda: second.public(ALICE),
    "peer id of bob": lambda: second.public(BOB),
    "address": lambda: second_address(VALUES["address"]["inputs"]["text"]),
    "channel binding": lambda: second.channel_binding(
        given("channel binding", "client_traffic_secret_0"), given("channel binding", "server_traffic_secret_0")
    ),
    "identity transcript of the dialler": lambda: second.transcript(
        b"dialler", BINDING, ALICE_ID, BOB_ID, given("identity transcript of the dialler", "instance")
    ),
    "identity signature of the dialler": lambda: second.sign(ALICE, value("identity transcript of the dialler")),
    "link open": lambda: second.frame([0, 0, VALUES["link open"]["inputs"]["value"]]),
    "link credit": lambda: second.frame([0, 1, VALUES["link credit"]["inputs"]["value"]]),
    "link close": lambda: second.frame([0, 2, VALUES["link close"]["inputs"]["value"]]),
    "network id": lambda: second.network_id(VALUES["network id"]["inputs"]["name"]),
    "signed bytes of alice's entry": lambda: second.entry(*HELLO[0]),
    "signature of alice's entry": lambda: second.sign(ALICE, value("signed bytes of alice's entry")),
    "group key of a passphrase": lambda: second.group_key(
        VALUES["group key of a passphrase"]["inputs"]["passphrase"], NETWORK, VALUES["group id"]["inputs"]["name"]
    ),
    "group id": lambda: second_group_id(VALUES["group id"]["inputs"]),
    "group tag of alice": lambda: second.group_tag(GROUP_KEY, GROUP, ALICE_ID),
    "group tag of bob": lambda: second.group_tag(GROUP_KEY, GROUP, BOB_ID),
    "bond key": lambda: second.hkdf(GROUP_KEY, b"p2praft/1 bond"),
    "bond proof of the opener": lambda: second.bond_proof(
        GROUP_KEY, GROUP, BINDING, b"opener", ALICE_ID, BOB_ID, (b"\x01" * 8, False), (b"\x0a" * 16, 3)
    ),
    "bond proof of the acceptor": lambda: second.bond_proof(
        GROUP_KEY, GROUP, BINDING, b"acceptor", BOB_ID, ALICE_ID, (b"\x02" * 8, True), (b"\x0b" * 16, 1)
    ),
    "snapshot digest": lambda: second.snapshot_digest(
        [bytes.fromhex(chunk) for chunk in VALUES["snapshot digest"]["inputs"]["chunks"]]
    ),
}


def second_address(text: str) -> bytes:
    """An address, read by our code and packed."""
    address = PeerAddr.parse(text)
    packed: bytes = msgpack.packb([address.peer_id.key, [[end.host, end.port] for end in address.endpoints]])
    assert str(address) == text
    return packed


def second_group_id(inputs: dict[str, Any]) -> bytes:
    """The group's id from what the file says it is made of."""
    assert second.text(NETWORK) == inputs["network"]
    return second.group_id(GROUP_KEY, NETWORK, inputs["name"], inputs["machine"])


@pytest.mark.parametrize("name", VALUES)
def test_a_second_implementation_gets_the_same(name: str) -> None:
    assert DERIVED[name]() == value(name)


@pytest.mark.parametrize("name", ["peer id of alice", "network id", "group id"])
def test_ids_are_written_alike(name: str) -> None:
    assert second.text(value(name)) == VALUES[name]["inputs"]["text"]
