"""Identities and addresses: text that people copy, files that only their owner reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from transport import AddressError, HostPort, KeyFileError, PeerAddr, PeerId, SecretKey

KEY = SecretKey.generate()


@given(st.binary(min_size=32, max_size=32))
def test_a_peer_id_is_its_text(key: bytes) -> None:
    peer = PeerId(key)
    assert len(str(peer)) == 52
    assert PeerId.parse(str(peer)) == peer
    assert hash(PeerId.parse(str(peer))) == hash(peer)


@pytest.mark.parametrize("text", ["", "a", "A" * 52, "1" * 52, "a" * 51 + "b", "a" * 53, "ä" * 52])
def test_what_is_no_peer_id_is_named(text: str) -> None:
    with pytest.raises(AddressError) as caught:
        PeerId.parse(text)
    assert repr(text) in str(caught.value)


def test_order_and_short_form() -> None:
    assert PeerId(bytes(32)) < PeerId(b"\x01" * 32)
    assert repr(PeerId(bytes(32))) == "PeerId('aaaaaaaa…')"
    assert "Ed25519" not in repr(KEY)
    assert str(KEY.peer_id) not in repr(KEY)


def test_signatures() -> None:
    signature = KEY.sign(b"data")
    assert KEY.peer_id.verify(signature, b"data")
    assert not KEY.peer_id.verify(signature, b"other")
    assert not KEY.peer_id.verify(bytes([signature[0] ^ 1]) + signature[1:], b"data")
    assert not SecretKey.generate().peer_id.verify(signature, b"data")
    assert not PeerId(b"\xff" * 32).verify(signature, b"data")


def test_a_key_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    KEY.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SecretKey.load(path).peer_id == KEY.peer_id
    with pytest.raises(KeyFileError, match="never overwritten"):
        KEY.save(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    KEY.save(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"chmod 600 {path}"):
        SecretKey.load(path)


def test_garbage_and_missing_key_files(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    for content in (b"", b"\x00" * 100, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        path.write_bytes(content)
        with pytest.raises(KeyFileError, match="holds no Ed25519 key"):
            SecretKey.load(path)
    with pytest.raises(KeyFileError, match="does not exist"):
        SecretKey.load(tmp_path / "none")
    with pytest.raises(KeyFileError, match="cannot read"):
        SecretKey.load(tmp_path)


@pytest.mark.parametrize("text", ["10.0.0.5:7001", "[fe80::1]:7001", "node.local:0", "0.0.0.0:65535"])
def test_host_and_port(text: str) -> None:
    assert str(HostPort.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", ":1", "a", "a:", "a:x", "a:-1", "a:65536", "::1:7", "a b:1", "a,b:1", "[::1]7", "a:１"]
)
def test_what_is_no_host_and_port_is_named_with_examples(text: str) -> None:
    with pytest.raises(AddressError, match="examples: "):
        HostPort.parse(text)


def test_a_peers_address_is_its_text() -> None:
    text = f"{KEY.peer_id}@10.0.0.5:7001,[::1]:7002"
    addr = PeerAddr.parse(text)
    assert addr.endpoints == (HostPort("10.0.0.5", 7001), HostPort("::1", 7002))
    assert str(addr) == text
    assert PeerAddr.parse(f" {text}\n") == addr


@pytest.mark.parametrize(
    "where", ["", "@a:1", "x@a:1", "{peer}@", "{peer}@a", "{peer}@a:0", "{peer}@a:1,,b:2", "{peer}"]
)
def test_what_is_no_peers_address_is_refused(where: str) -> None:
    with pytest.raises(AddressError):
        PeerAddr.parse(where.format(peer=KEY.peer_id))
    with pytest.raises(AddressError, match="more than 8"):
        PeerAddr.parse(f"{KEY.peer_id}@" + ",".join(["a:1"] * 9))
