"""The proof of identity: worth nothing on another connection, in another role, for another peer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from transport import PeerId, SecretKey
from transport.handshake import ACCEPTOR, DIALLER, KeyLog, Proof, channel_binding, check_proof, make_proof

ALICE, BOB, EVE = SecretKey.generate(), SecretKey.generate(), SecretKey.generate()
BINDING = channel_binding(b"c" * 32, b"s" * 32)


def proof(key: SecretKey = ALICE, role: bytes = DIALLER, binding: bytes = BINDING, to: PeerId = BOB.peer_id) -> Proof:
    return make_proof(key, role=role, binding=binding, remote=to, instance=b"i" * 8)


def check(what: Proof, role: bytes = DIALLER, binding: bytes = BINDING, me: PeerId = BOB.peer_id) -> str | None:
    return check_proof(what, role=role, binding=binding, me=me)


def test_a_good_proof_holds() -> None:
    assert check(proof()) is None


def test_a_proof_replayed_on_another_connection_does_not() -> None:
    other = channel_binding(b"c" * 32, b"t" * 32)
    assert other != BINDING
    assert check(proof(), binding=other) == "the identity proof does not hold"


def test_a_proof_in_swapped_roles_does_not() -> None:
    assert check(proof(role=ACCEPTOR)) == "the identity proof does not hold"


def test_a_proof_reflected_to_its_maker_does_not() -> None:
    assert check(proof(), me=ALICE.peer_id) is not None
    assert check(proof(to=ALICE.peer_id), me=ALICE.peer_id) == "a node cannot be its own peer"


def test_a_proof_for_somebody_else_does_not() -> None:
    assert check(proof(to=EVE.peer_id)) == f"this is {BOB.peer_id}, not {EVE.peer_id}"
    forged = replace(proof(to=EVE.peer_id), wanted=BOB.peer_id)
    assert check(forged) == "the identity proof does not hold"


def test_a_proof_with_anothers_name_does_not() -> None:
    assert check(replace(proof(EVE), peer_id=ALICE.peer_id)) == "the identity proof does not hold"


@pytest.mark.parametrize("field", ["instance", "signature"])
def test_every_field_is_covered(field: str) -> None:
    good = proof()
    value: bytes = getattr(good, field)
    changed: dict[str, Any] = {field: bytes([value[0] ^ 1]) + value[1:]}
    assert check(replace(good, **changed)) is not None


def test_another_version_is_named() -> None:
    assert check(replace(proof(), version=2)) == "identity proof of version 2, this node knows 1"


def test_the_key_log_gives_the_binding_once_and_forgets_the_secrets() -> None:
    log = KeyLog()
    log.write("CLIENT_HANDSHAKE_TRAFFIC_SECRET 00 11\n")
    log.write(f"CLIENT_TRAFFIC_SECRET_0 00 {(b'c' * 32).hex()}\n")
    log.write(f"SERVER_TRAFFIC_SECRET_0 00 {(b's' * 32).hex()}\n")
    assert log.channel_binding() == BINDING
    with pytest.raises(KeyError):
        log.channel_binding()
    assert log.getvalue() == ""
