"""The file of known peers is a convenience: it never keeps a node from starting."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from discovery import DiscoveryConfig
from discovery.state import MAX_KNOWN, KnownPeers
from tests.discovery.support import address


def test_what_is_saved_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "peers"
    KnownPeers(path).save(7, [address(1), address(2)])
    known = KnownPeers(path)
    assert (known.incarnation, known.peers) == (7, (address(1), address(2)))


def test_it_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "peers"
    KnownPeers(path).save(1, [address(1)] * (MAX_KNOWN + 1))
    assert len(KnownPeers(path).peers) == MAX_KNOWN


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x00", b"\x92\x01\x91\xa1x", b"x" * 100])
def test_garbage_is_said_and_passed_over(tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="discovery")
    path = tmp_path / "peers"
    path.write_bytes(data)
    known = KnownPeers(path)
    assert (known.incarnation, known.peers) == (0, ())
    assert str(path) in caplog.text


def test_a_folder_that_is_gone_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="discovery")
    KnownPeers(tmp_path / "gone" / "peers").save(1, [])
    assert "cannot write" in caplog.text


def test_without_a_file_nothing_is_kept() -> None:
    known = KnownPeers(None)
    known.save(3, [address(1)])
    assert (known.incarnation, known.peers) == (0, ())


@pytest.mark.parametrize(
    "name", ["anti_entropy_interval", "suspicion_timeout", "max_neighbours", "dial_interval", "seed_backoff"]
)
def test_settings_out_of_range_are_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        DiscoveryConfig(**{name: -1})
