"""One root for all errors, and a message for each."""

from __future__ import annotations

import inspect

import pytest

import p2praft
from discovery import DiscoveryConfig
from p2praft import ConfigError, ConsensusConfig, LeadershipPreference, NetworkConfig, P2PRaftError, QuicConfig


def test_every_error_derives_from_one_root() -> None:
    named = [getattr(p2praft, name) for name in p2praft.__all__]
    errors = [value for value in named if inspect.isclass(value) and issubclass(value, Exception)]
    assert len(errors) == 14
    assert all(issubclass(error, P2PRaftError) for error in errors)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: ConsensusConfig(heartbeat_interval=0),
            "heartbeat_interval=0 is not allowed: choose from 0.005 to 60 seconds",
        ),
        (lambda: ConsensusConfig(election_timeout=0.2), "election_timeout=0.2 is not allowed"),
        (lambda: ConsensusConfig(expect=9), "expect=9 is not allowed: it is at most max_voters=5"),
        (lambda: ConsensusConfig(expect=1.5), "expect=1.5"),  # type: ignore[arg-type]
        (lambda: ConsensusConfig(max_voters=True), "max_voters=True"),
        (lambda: LeadershipPreference.reluctant(0.5), "factor=0.5 is not allowed: choose from 1 to 1000"),
        (lambda: NetworkConfig(shutdown_timeout=-1), "shutdown_timeout=-1"),
        (lambda: DiscoveryConfig(max_neighbours=1), "max_neighbours=1 is not allowed: choose from 3 to 64"),
        (lambda: QuicConfig(datagram_size=100), "datagram_size must be 1200 to 16000 bytes"),
        (lambda: p2praft.GroupKey(b"short"), "a group key is 32 bytes"),
        (lambda: p2praft.GroupKey.from_passphrase(""), "secret is empty"),
        (lambda: p2praft.Network(""), "1 to 255 characters"),
    ],
)
def test_nonsense_is_refused_by_name_with_what_is_allowed(make: object, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()  # type: ignore[operator]
    assert says in str(caught.value)
