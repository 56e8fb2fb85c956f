"""What a node tells of itself, and to whom."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest

from p2praft import NetworkId, __version__
from p2praft.about import ABOUT, ELSEWHERE, About, ask_about
from tests.groups.conftest import lab
from transport import HostPort, LinkClosed, SecretKey

pytestmark = pytest.mark.anyio
KEY = SecretKey.generate()
HERE = HostPort("asker", 0)


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


async def test_who_names_the_network_is_told_release_clock_and_groups() -> None:
    async with lab(1) as it:
        (node,) = it.nodes
        async with it.net.transport("asker").bind(KEY, listen=HERE) as endpoint:
            connection = await endpoint.connect(node.network.address)
            about, ahead = await ask_about(connection, node.network.id.key)
            assert about.release == __version__
            assert abs(about.time - time.time()) < 60
            assert abs(ahead) < 60
            assert about.groups == (node.group.tag_of(node.network.peer_id),), "a tag: the group's id is for members"
            with pytest.raises(LinkClosed, match=ELSEWHERE):
                await ask_about(connection, NetworkId.of("another").key)
            assert len(node.network.peers) == 0, "to ask makes nobody a member"


async def test_who_says_something_else_or_nothing_is_turned_away() -> None:
    async with lab(1) as it:
        (node,) = it.nodes
        async with it.net.transport("asker").bind(KEY, listen=HERE) as endpoint:
            connection = await endpoint.connect(node.network.address)
            link = await connection.open(ABOUT)
            await link.send(About(release="mine", time=0.0, groups=()))
            with pytest.raises(LinkClosed, match=ELSEWHERE):
                await link.receive()
            mute = await connection.open(ABOUT)
            with anyio.fail_after(30), pytest.raises(LinkClosed):  # virtual
                await mute.receive()
