"""A group's id, key and tags: the same for who means the same, others for who does not, and nothing for strangers."""

from __future__ import annotations

import secrets

import pytest

from p2praft import ConfigError, GroupId, GroupKey, NetworkId, PeerInfo, SecretKey
from p2praft.groups.key import Tags
from p2praft.groups.machine import MachineName
from transport import HostPort, PeerId

KEY = GroupKey(b"k" * 32)
HERE = NetworkId.of("n")
WORDS = "correct horse battery staple"


def of(*, key: GroupKey = KEY, network: NetworkId = HERE, name: str = "g", machine: str = "m") -> GroupId:
    return GroupId.of(key, network=network, name=name, machine=machine)


@pytest.mark.parametrize(
    "other",
    [
        of(key=GroupKey(b"K" * 32)),
        of(network=NetworkId.of("m")),
        of(name="h"),
        of(machine="n"),
        of(name="m", machine="g"),
    ],
)
def test_key_network_name_and_machine_tell_groups_apart(other: GroupId) -> None:
    assert of() == of()
    assert of() != other


@pytest.mark.parametrize(
    ("signature", "name", "version"),
    [
        ("till/2", "till", 2),
        ("till", "till", 1),
        ("shop/till/12", "shop/till", 12),
        ("till/", "till/", 1),
        ("till/two", "till/two", 1),
        ("till/2b", "till/2b", 1),
        ("till/0", "till/0", 1),
        ("till/-2", "till/-2", 1),
        ("till/²", "till/²", 1),
        ("till/1" + "0" * 5000, "till/1" + "0" * 5000, 1),
        ("/2", "/2", 1),
        ("2", "2", 1),
    ],
)
def test_a_signature_is_a_name_and_a_version(signature: str, name: str, version: int) -> None:
    assert MachineName.parse(signature) == MachineName(name, version)


def test_a_passphrase_makes_another_key_in_each_network_and_group() -> None:
    places = [("n", "g"), ("n", "h"), ("m", "g"), ("", "")]
    keys = [GroupKey.from_passphrase(WORDS, network=network, group=group) for network, group in places]
    assert len({key.secret for key in keys}) == len(places)
    assert GroupKey.from_passphrase(WORDS, network=HERE, group="g") == keys[0]


@pytest.mark.parametrize(("network", "group"), [("n", ""), ("", "g")])
def test_half_a_place_is_refused(network: str, group: str) -> None:
    with pytest.raises(ConfigError, match="go together"):
        GroupKey.from_passphrase(WORDS, network=network, group=group)


def peer(peer_id: PeerId, *tags: bytes) -> PeerInfo:
    return PeerInfo(
        peer_id=peer_id,
        addresses=(HostPort("h", 1),),
        tags=frozenset(),
        groups=frozenset(tags),
        rtt=None,
        status="alive",
    )


def test_a_member_is_recognised_by_members_only_and_by_its_own_tag_only() -> None:
    one, two = (SecretKey.generate().peer_id for _ in range(2))
    mine = Tags(KEY, of())
    assert mine.announced_by(peer(one, secrets.token_bytes(16), mine.of(one)))
    assert not mine.announced_by(peer(two, mine.of(one))), "a tag that was copied is nobody's"
    for other in (Tags(GroupKey(b"K" * 32), of()), Tags(KEY, of(name="h"))):
        assert not other.announced_by(peer(one, mine.of(one)))


def test_tags_of_one_group_have_nothing_in_common() -> None:
    mine = Tags(KEY, of())
    made = {mine.of(SecretKey.generate().peer_id) for _ in range(50)}
    assert len(made) == 50
    assert {len(tag) for tag in made} == {16}
    assert len({tag[:4] for tag in made}) == 50
