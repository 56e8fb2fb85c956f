"""What the doctor makes of a peer's answer about its groups."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from discovery import NetworkId
from p2praft.about import About
from p2praft.cli.doctor.findings import Finding
from p2praft.cli.doctor.peer import GroupFacts, _examine_group
from p2praft.config import ConsensusConfig
from p2praft.groups.key import GroupKey
from p2praft.groups.legacy import Former
from transport import SecretKey

NETWORK = NetworkId.of("shop")
PEER, OTHER = (SecretKey.generate().peer_id for _ in range(2))
GROUP = GroupFacts(name="tills", key=GroupKey(b"k" * 32))


def look(served: Collection[bytes], *, group: GroupFacts = GROUP, release: str = "0.2.0") -> Finding:
    return _examine_group(group, NETWORK, PEER, About(release=release, time=0.0, groups=tuple(served)))


def test_the_groups_own_tag_is_recognised_whatever_the_machines_version() -> None:
    other = GroupFacts(name="tills", key=GROUP.key, signature="p2praft.map/77")
    for group in (GROUP, other):
        assert look([b"?" * 16, GROUP.tag(NETWORK, PEER, "p2praft.map")], group=group).ok


@pytest.mark.parametrize(
    ("served", "text"),
    [
        ([], "the peer serves no group"),
        ([b"?" * 16, b"!" * 16], "serves 2 group(s), but none that is called 'tills' and has the same secret"),
        ([GROUP.tag(NETWORK, OTHER, "p2praft.map")], "serves 1 group(s), but none"),
        ([GroupFacts(name="tills", key=GroupKey(b"x" * 32)).tag(NETWORK, PEER, "p2praft.map")], "but none"),
    ],
)
def test_what_is_not_recognised_is_counted(served: list[bytes], text: str) -> None:
    found = look(served)
    assert found.fault == "no-such-group"
    assert text in found.message


def test_another_machine_is_named() -> None:
    found = look([GROUP.tag(NETWORK, PEER, "none")])
    assert found.fault == "other-machine"
    assert "its state machine is none, ours p2praft.map" in found.message


def test_a_group_of_that_name_on_an_older_release_is_named() -> None:
    then = Former(secret="s", network=NETWORK, name="tills", config=ConsensusConfig(), signature="p2praft.map/2").id()
    found = look([then.key], release="0.1.0")
    assert found.fault == "older-release"
    assert "runs an older release (0.1.0)" in found.message
    assert look([then.key], group=GroupFacts(name="line", key=GROUP.key)).fault == "no-such-group"
