"""What the command and the HTTP API show of peers' groups."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from p2praft import GroupKey
from p2praft.groups.key import GroupTag
from p2praft.views import group_detail, peer_view
from tests.groups.conftest import lab

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


async def test_shared_groups_are_shown_by_id_and_others_by_tag() -> None:
    async with lab(2, expect=1) as it:
        one, two = it.nodes
        stranger = await it.start("stranger", key=GroupKey(b"x" * 32))
        await anyio.sleep(5)
        shown = {
            view["peer_id"]: view["groups"] for view in (peer_view(one.network, peer) for peer in one.network.peers)
        }
        tag = stranger.group.tag_of(stranger.network.peer_id)
        assert shown == {
            str(two.network.peer_id): [str(one.group.id)],
            str(stranger.network.peer_id): [str(GroupTag(tag))],
        }
        members = {member["peer_id"] for member in group_detail(one.network, one.group)["members"]}
        assert members == {str(one.network.peer_id), str(two.network.peer_id)}
