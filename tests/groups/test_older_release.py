"""Members of release 0.1 and of this one form no group, and a person is told so, once a peer."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from p2praft import Network
from p2praft.groups.bond import FORMER, FORMER_BOND
from p2praft.groups.legacy import Former
from tests.groups.conftest import KEY, Lab, lab
from transport import HostPort, LinkClosed, SecretKey

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


def old_id(it: Lab, name: str = "line") -> bytes:
    """What a member of 0.1 announces; with another secret, for that is not needed to recognise it."""
    network = it.nodes[0].network.id
    return Former(secret="another", network=network, name=name, config=it.config, signature="till/7").id().key


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines about older releases."""
    return [record.message for record in caplog.records if "older release" in record.message]


async def test_a_member_of_0_1_is_recognised_and_named_once(caplog: pytest.LogCaptureFixture) -> None:
    async with lab(1) as it:
        (node,) = it.nodes
        transport, seeds = it.net.transport("old"), [node.network.address]
        async with Network("lab", listen="old:0", seeds=seeds, transport=transport) as old:
            assert old._discovery is not None
            old._discovery.set_groups([old_id(it, "another")])
            await anyio.sleep(3)
            assert not said(caplog)
            old._discovery.set_groups([old_id(it)])
            await anyio.sleep(10)
            assert said(caplog) == [
                f"{old.peer_id.short} runs an older release (0.1) and forms no group with this one; upgrade it"
            ]
            assert "announce groups, but none" not in caplog.text, "why is known"
            assert not node.group.bonds
            assert await node.group.execute(1) == 1


async def test_who_asks_for_a_bond_as_0_1_did_is_told_why_there_is_none(caplog: pytest.LogCaptureFixture) -> None:
    async with lab(1) as it:
        key = SecretKey.generate()
        async with it.net.transport("old").bind(key, listen=HostPort("old", 0)) as endpoint:
            connection = await endpoint.connect(it.nodes[0].network.address)
            for _ in range(3):
                link = await connection.open(FORMER_BOND)
                with pytest.raises(LinkClosed, match=FORMER):
                    await link.receive()
    (line,) = said(caplog)
    assert line.startswith(key.peer_id.short)


async def test_only_so_many_are_named(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Identities cost nothing: they must not fill the log."""
    monkeypatch.setattr("p2praft.network.MAX_OLDER", 3)
    async with lab(1) as it:
        for _ in range(6):
            it.nodes[0].network._say_older(SecretKey.generate().peer_id)
    assert len(said(caplog)) == 3


async def test_members_with_the_key_are_not_taken_for_older_ones(caplog: pytest.LogCaptureFixture) -> None:
    async with lab(3) as it:
        await it.start("later", key=KEY)
        await it.online()
        await anyio.sleep(30)
    assert not said(caplog)
