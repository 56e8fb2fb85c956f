"""Members of two releases in one group: what both can do is used between them, and nothing else."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from p2praft.groups import bond
from tests.groups.conftest import Node, lab
from transport import PeerId

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


def features(node: Node, other: Node) -> set[str]:
    """What is used between two members."""
    return set(node.group._worker.bonds[other.network.peer_id].features)


def peers(nodes: list[Node]) -> set[PeerId]:
    """Who they are."""
    return {node.network.peer_id for node in nodes}


async def test_features_are_what_both_ends_have(monkeypatch: pytest.MonkeyPatch) -> None:
    async with lab(3) as it:
        old = list(it.nodes)
        monkeypatch.setattr(bond, "FEATURES", ("hurry", "pack"))
        newer = await it.start("newer")
        monkeypatch.setattr(bond, "FEATURES", ("pack", "sing"))
        newest = await it.start("newest")
        await it.online()
        assert await newest.group.execute(1) == 1
        assert await old[0].group.execute(1) == 2
        assert await newer.group.execute(1) == 3
        assert features(newer, newest) == features(newest, newer) == {"pack"}
        for node in old:
            assert features(node, newest) == features(newest, node) == features(node, newer) == set()


async def test_a_group_is_upgraded_a_member_at_a_time_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async with lab(3) as it:
        count = 0
        releases: tuple[tuple[str, tuple[str, ...]], ...] = (("next", ("pack",)), ("back", ()))
        for release, known in releases:
            monkeypatch.setattr(bond, "FEATURES", known)
            for number, node in enumerate(list(it.nodes)):
                await it.stop(node)
                await it.start(f"{release}-{number}")
                await it.online()
                with anyio.fail_after(300):  # virtual: in memory it is a new member, which takes the old one's place
                    while any(peers(it.nodes) != set(member.group.voters) for member in it.nodes):
                        await anyio.sleep(0.5)
                for member in it.nodes:
                    count += 1
                    assert await member.group.execute(1) == count
            first, second, _ = it.nodes
            assert features(first, second) == set(known)
