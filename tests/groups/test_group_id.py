"""A group's id: the same for who means the same, another for who does not."""

from __future__ import annotations

import pytest

from p2praft import ConsensusConfig, GroupId, GroupKey, NetworkId

KEY = GroupKey(b"k" * 32)


def of(config: ConsensusConfig, *, key: GroupKey = KEY, name: str = "g", signature: str = "m/1") -> GroupId:
    return GroupId.of(key, network=NetworkId.of("n"), name=name, config=config, signature=signature)


def test_a_whole_number_of_seconds_is_the_same_setting_however_it_was_written() -> None:
    assert of(ConsensusConfig(bootstrap_delay=1)) == of(ConsensusConfig(bootstrap_delay=1.0))


@pytest.mark.parametrize(
    "other",
    [
        of(ConsensusConfig(bootstrap_delay=2)),
        of(ConsensusConfig(), key=GroupKey(b"K" * 32)),
        of(ConsensusConfig(), signature="m/2"),
    ],
)
def test_members_that_disagree_are_namesakes_and_no_more(other: GroupId) -> None:
    mine = of(ConsensusConfig())
    assert mine != other
    assert mine.is_namesake(other.key)
    assert not mine.is_namesake(of(ConsensusConfig(), name="h").key)
