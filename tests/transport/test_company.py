"""When datagrams are made: at once for what is queued, soon for what the engine owes."""

from __future__ import annotations

import anyio
import pytest

from tests.transport.chat import CHAT, Say, bind, echo
from tests.transport.support import PATIENCE, Links, until
from transport import QuicConfig
from transport.quic import QuicPeer

pytestmark = pytest.mark.anyio

SILENT = QuicConfig(engine="aioquic", keepalive=60, idle_timeout=300)
"""Nothing is sent for the sake of being heard."""


async def test_what_nobody_answers_is_acknowledged_all_the_same() -> None:
    async with bind(config=SILENT) as a, bind(config=SILENT) as b:
        links = Links()
        b.serve(CHAT, links)
        link = await (await a.connect(b.address)).open(CHAT)

        async def say(number: int) -> None:
            sent = b.counters["datagrams out"]
            await link.send(Say(text=str(number)))
            await until(lambda: b.counters["datagrams out"] > sent)

        with anyio.fail_after(PATIENCE):
            for number in range(20):
                await say(number)
        links.release()


async def test_a_connection_id_can_be_used_as_soon_as_it_is_known() -> None:
    """The engine tells of it when it sends it, and the peer may use it with its next datagram."""
    async with bind(config=SILENT) as a, bind(config=SILENT) as b:
        b.serve(CHAT, echo)
        connection = await a.connect(b.address)
        assert isinstance(connection, QuicPeer)
        link = await connection.open(CHAT)

        async def say() -> None:
            await link.send(Say(text="hello"))
            await link.receive()

        with anyio.fail_after(PATIENCE):
            await say()
            for _ in range(5):
                connection.quic.change_connection_id()
                await say()
                spare = connection.quic._peer_cid_available
                spare.insert(0, spare.pop())  # the newest
                connection.quic.change_connection_id()
                await say()
        assert not b.counters["unroutable datagrams"]


async def test_what_is_held_back_leaves_with_the_flush() -> None:
    async with bind(config=SILENT) as a, bind(config=SILENT) as b:
        b.serve(CHAT, echo)
        connection = await a.connect(b.address)
        link, other = [await connection.open(CHAT) for _ in range(2)]
        with anyio.fail_after(PATIENCE):
            link.hold()
            link.send_nowait(Say(text="held"))
            sent = a.counters["datagrams out"]
            link.flush()
            assert a.counters["datagrams out"] == sent + 1
            assert await link.receive() == Say(text="held")
            await other.send(Say(text="free"))
            assert await other.receive() == Say(text="free")
