"""What every transport promises: each test runs over QUIC and in memory, on both back ends."""

from __future__ import annotations

import anyio
import pytest

from tests.transport.conftest import World
from tests.transport.support import ECHO, PATIENCE, SINK, Links, Say, at, echo, until
from transport import DialError, HostPort, Link, LinkClosed, LinkFull, Protocol, SecretKey, Unreachable, WrongIdentity

pytestmark = pytest.mark.anyio

FULL = Say(data=b"x" * 3000)


async def test_messages_arrive_in_order_and_come_back(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b:
            b.serve(ECHO, echo)
            link = await (await a.connect(b.address)).open(ECHO)
            sent = [Say(number=number, data=bytes(number * 5)) for number in range(200)]
            for message in sent:
                await link.send(message)
            assert [await link.receive() for _ in sent] == sent


async def test_both_ends_know_each_other(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b:
            links = Links()
            b.serve(ECHO, links)
            connection = await a.connect(b.address)
            mine = await connection.open(ECHO)
            theirs = await links.wait_first()
            assert (mine.peer_id, theirs.peer_id) == (b.peer_id, a.peer_id)
            assert (mine.dialled, theirs.dialled) == (True, False)
            assert mine.binding == theirs.binding == connection.binding
            assert len(mine.binding) == 32
            assert (connection.dialled, b.connections[a.peer_id].dialled) == (True, False)
            assert connection.remote == b.address.endpoints[0]


async def test_each_connection_has_a_binding_of_its_own(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b, world.bind() as c:
            bindings = {(await a.connect(b.address)).binding, (await a.connect(c.address)).binding}
            first = await a.connect(b.address)
            first.close("again")
            await until(lambda: not b.connections and not a.connections.get(b.peer_id))
            bindings.add((await a.connect(b.address)).binding)
            assert len(bindings) == 3


async def test_many_links_share_one_connection(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b:
            a.serve(ECHO, echo)
            b.serve(ECHO, echo)
            connection = await a.connect(b.address)
            await until(lambda: a.peer_id in b.connections)
            links = [await connection.open(ECHO) for _ in range(20)]
            links += [await b.connections[a.peer_id].open(ECHO) for _ in range(20)]
            for number, link in enumerate(links):
                link.send_nowait(Say(number=number))
            assert [(await link.receive()).number for link in links] == list(range(40))
            assert len(a.connections) == len(b.connections) == 1


async def test_links_opened_over_and_over_leave_room_for_more(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b:
            b.serve(ECHO, echo)
            connection = await a.connect(b.address)
            for number in range(300):
                link = await connection.open(ECHO)
                await link.send(Say(number=number))
                assert (await link.receive()).number == number
                link.close()


async def test_connecting_again_gives_the_same_connection(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b:
            found = []

            async def connect() -> None:
                found.append(await a.connect(b.address))

            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(connect)
            assert len(set(map(id, found))) == 1


async def test_of_two_that_dial_at_once_one_connection_stays(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        for _ in range(5):
            async with world.bind() as a, world.bind() as b:
                a.serve(ECHO, echo)
                b.serve(ECHO, echo)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(a.connect, b.address)
                    tasks.start_soon(b.connect, a.address)

                def settled() -> bool:
                    mine, theirs = a.connections.get(b.peer_id), b.connections.get(a.peer_id)
                    return mine is not None and theirs is not None and mine.binding == theirs.binding

                await until(settled)
                for endpoint, other in ((a, b), (b, a)):
                    link = await endpoint.connections[other.peer_id].open(ECHO)
                    await link.send(Say(number=7))
                    assert await link.receive() == Say(number=7)


async def test_somebody_else_at_the_address_is_told_apart(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b, world.bind() as c:
            with pytest.raises(WrongIdentity):
                await a.connect(at(c.address, b))
            assert not a.connections
            assert not b.connections


async def test_a_node_does_not_dial_itself(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a:
            with pytest.raises(DialError, match="itself"):
                await a.connect(a.address)


async def test_nobody_there_is_unreachable(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a:
            async with world.bind() as b:
                gone = b.address
            with pytest.raises(Unreachable, match=gone.peer_id.short):
                await a.connect(gone, timeout=0.5)


async def test_a_protocol_that_is_not_served_closes_the_link_and_no_other(world: World) -> None:
    unknown = Protocol(name="unheard of/1", messages={1: Say}, max_frame=1000)
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b:
            b.serve(ECHO, echo)
            connection = await a.connect(b.address)
            good, bad = await connection.open(ECHO), await connection.open(unknown)
            with pytest.raises(LinkClosed, match="unheard of/1"):
                await bad.receive()
            await good.send(Say(number=1))
            assert (await good.receive()).number == 1
            assert b.counters["unknown protocol"] == 1


async def test_a_protocol_can_be_withdrawn(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b:
            b.serve(ECHO, echo)
            connection = await a.connect(b.address)
            before = await connection.open(ECHO)
            await before.send(Say(number=1))
            await before.receive()
            b.unserve(ECHO)
            with pytest.raises(LinkClosed, match="not served"):
                await (await connection.open(ECHO)).receive()
            await before.send(Say(number=2))
            assert (await before.receive()).number == 2


async def test_a_reason_arrives_behind_what_was_sent_before(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b:
            links = Links()
            b.serve(ECHO, links)
            link = await (await a.connect(b.address)).open(ECHO)
            theirs = await links.wait_first()
            for number in range(3):
                theirs.send_nowait(Say(number=number))
            theirs.close("enough ☂")
            theirs.close("a second reason counts for nothing")
            assert [(await link.receive()).number for _ in range(3)] == [0, 1, 2]
            for _ in range(2):
                with pytest.raises(LinkClosed, match=r"^enough ☂$"):
                    await link.receive()
            with pytest.raises(LinkClosed, match=r"^enough ☂$"):
                await link.send(Say())
            assert link.closed
            assert link.close_reason == theirs.close_reason == "enough ☂"


async def test_what_was_queued_before_a_connection_closes_arrives(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b:
            links = Links()
            b.serve(ECHO, links)
            connection = await a.connect(b.address)
            link = await connection.open(ECHO)
            theirs = await links.wait_first()
            link.send_nowait(Say(number=5))
            connection.close("bye")
            assert (await theirs.receive()).number == 5
            with pytest.raises(LinkClosed, match="bye"):
                await theirs.receive()
            assert await connection.wait_closed() == "bye"


@pytest.mark.parametrize("ending", ["the connection", "the node"])
async def test_what_is_more_than_leaves_at_once_arrives_before_the_end(world: World, ending: str) -> None:
    """Much more than a congestion window, so most of it waits in the QUIC engine when the end is asked for."""
    sent = [Say(number=number, data=bytes(50_000)) for number in range(5)]
    with anyio.fail_after(PATIENCE):
        async with world.bind() as b:
            links = Links()
            b.serve(ECHO, links)
            async with world.bind() as a:
                connection = await a.connect(b.address)
                link = await connection.open(ECHO)
                theirs = await links.wait_first()
                for message in sent:
                    link.send_nowait(message)
                if ending == "the connection":
                    connection.close("bye")
                    assert [await theirs.receive() for _ in sent] == sent
            if ending == "the node":
                assert [await theirs.receive() for _ in sent] == sent
            with pytest.raises(LinkClosed, match="bye" if ending == "the connection" else "the peer stops"):
                await theirs.receive()
            await until(lambda: not b.connections)


async def test_a_slow_reader_makes_the_sender_wait(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b:
            links = Links()
            b.serve(SINK, links)
            link = await (await a.connect(b.address)).open(SINK)
            theirs = await links.wait_first()
            sent = 0
            with pytest.raises(LinkFull):
                for sent in range(1000):  # noqa: B007
                    link.send_nowait(FULL)
            assert sent * 3000 <= SINK.window < (sent + 1) * 3100
            with anyio.move_on_after(0.05) as waiting:
                await link.send(FULL)
            assert waiting.cancelled_caught
            for _ in range(sent):
                assert await theirs.receive() == FULL
            await link.send(FULL)
            assert await theirs.receive() == FULL


async def test_a_waiting_sender_learns_that_the_link_ended(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b:
            links = Links()
            b.serve(SINK, links)
            link = await (await a.connect(b.address)).open(SINK)
            theirs = await links.wait_first()

            async def fill() -> None:
                with pytest.raises(LinkClosed, match="no more"):
                    while True:
                        await link.send(FULL)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(fill)
                await anyio.sleep(0.02)
                theirs.close("no more")


async def test_a_cancelled_receive_loses_nothing(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b:
            b.serve(ECHO, echo)
            link = await (await a.connect(b.address)).open(ECHO)
            for number in range(50):
                await link.send(Say(number=number))
            got: list[int] = []
            while len(got) < 50:
                with anyio.CancelScope() as scope:
                    if len(got) % 2:
                        await anyio.sleep(0.001)
                    scope.cancel()
                    got.append((await link.receive()).number)
                if len(got) < 50:
                    got.append((await link.receive()).number)
            assert got == list(range(50))


async def test_receive_nowait_drains_what_is_there(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b:
            b.serve(ECHO, echo)
            link = await (await a.connect(b.address)).open(ECHO)
            with pytest.raises(anyio.WouldBlock):
                link.receive_nowait()
            link.send_nowait(Say(number=1))
            link.send_nowait(Say(number=2))
            assert (await link.receive()).number == 1
            assert (await link.receive()).number == 2
            with pytest.raises(anyio.WouldBlock):
                link.receive_nowait()


async def test_a_handler_that_fails_costs_its_link_only(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def fails(link: Link) -> None:
        raise RuntimeError("secret details")

    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b:
            b.serve(ECHO, echo)
            b.serve(SINK, fails)
            connection = await a.connect(b.address)
            good, bad = await connection.open(ECHO), await connection.open(SINK)
            with pytest.raises(LinkClosed, match="internal error: RuntimeError") as caught:
                await bad.receive()
            assert "secret" not in str(caught.value)
            await good.send(Say(number=3))
            assert (await good.receive()).number == 3
    assert "secret details" in caplog.text


async def test_a_handler_whose_link_ends_is_no_failure(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b:
            b.serve(ECHO, echo)
            link = await (await a.connect(b.address)).open(ECHO)
            await link.send(Say())
            await link.receive()
            link.close("done here")
            await anyio.sleep(0.05)
    assert not caplog.records


async def test_a_handler_that_returns_closes_its_link(world: World) -> None:
    async def brief(link: Link) -> None:
        await link.send(await link.receive())

    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b:
            b.serve(ECHO, brief)
            link = await (await a.connect(b.address)).open(ECHO)
            await link.send(Say(number=9))
            assert (await link.receive()).number == 9
            with pytest.raises(LinkClosed, match="done"):
                await link.receive()


async def test_watchers_see_connections_come_and_go(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b:
            early = b.watch()
            connection = await a.connect(b.address)
            event = await anext(early)
            assert (event.kind, event.connection.peer_id) == ("up", a.peer_id)
            late = b.watch()
            assert (await anext(late)).kind == "up"
            connection.close("that was it")
            for watcher in (early, late):
                event = await anext(watcher)
                assert (event.kind, event.reason) == ("down", "that was it")
        assert [event async for event in early] == []


async def test_leaving_tells_the_peers_at_once(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a:
            async with world.bind() as b:
                b.serve(ECHO, echo)
                connection = await a.connect(b.address)
                link = await connection.open(ECHO)
                await link.send(Say())
                await link.receive()
            with anyio.fail_after(3):
                with pytest.raises(LinkClosed, match="the peer stops"):
                    await link.receive()
                assert await connection.wait_closed() == "the peer stops"
            assert not a.connections
            with pytest.raises(LinkClosed):
                await connection.open(ECHO)


async def test_leaving_is_bounded_and_ends_waiting_tasks(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a:
            async with world.bind() as b:
                links = Links()
                b.serve(SINK, links)
                link = await (await a.connect(b.address)).open(SINK)
                await links.wait_first()
                with pytest.raises(LinkFull):
                    while True:
                        link.send_nowait(FULL)
                leaving = anyio.current_time()
            assert anyio.current_time() - leaving < 5
            with pytest.raises(LinkClosed):
                await link.send(FULL)


async def test_a_peer_that_restarts_is_connected_anew(world: World) -> None:
    key = SecretKey.generate()
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a:
            a.serve(ECHO, echo)
            for _ in range(3):
                async with world.bind(key) as b:
                    link = await (await b.connect(a.address)).open(ECHO)
                    await link.send(Say(number=4))
                    assert (await link.receive()).number == 4
                    assert a.connections[key.peer_id].binding == link.binding


async def test_what_is_advertised_is_the_address(world: World) -> None:
    told = (HostPort("node.example", 7001), HostPort("10.1.2.3", 7001))
    with anyio.fail_after(PATIENCE):
        async with world.bind(advertise=told) as a:
            assert a.address.endpoints == told


async def test_the_bodys_own_error_comes_out_as_it_is(world: World) -> None:
    with anyio.fail_after(PATIENCE), pytest.raises(KeyError, match="mine"):
        async with world.bind():
            raise KeyError("mine")


async def test_a_message_of_another_protocol_is_our_own_mistake(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b:
            b.serve(ECHO, echo)
            link = await (await a.connect(b.address)).open(ECHO)
            with pytest.raises(TypeError, match="no message"):
                link.send_nowait("text")
            await link.send(Say(number=1))
            assert (await link.receive()).number == 1


async def test_a_diverted_link_hands_over_in_the_reader_s_step_and_answers_from_there(world: World) -> None:
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b:
            got: list[int] = []
            waiting: list[Say] = []

            async def serve(link: Link) -> None:
                def answer() -> None:
                    got.append(len(waiting))
                    for message in waiting:
                        link.send_nowait(message)
                    waiting.clear()

                link.divert(waiting.append, answer)
                with pytest.raises(LinkClosed):
                    await link.receive()

            b.serve(ECHO, serve)
            link = await (await a.connect(b.address)).open(ECHO)
            sent = [Say(number=number) for number in range(50)]
            for message in sent:
                link.send_nowait(message)
            assert [await link.receive() for _ in sent] == sent
            assert sum(got) == 50
            link.close()


async def test_who_fails_over_a_link_s_messages_costs_no_other_link(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    if world.kind == "memory":
        pytest.skip("in memory a message is dealt with in its sender's step, where a failure shows")
    with anyio.fail_after(PATIENCE):
        async with world.bind() as a, world.bind() as b:
            got: list[Say] = []

            def deal_with_them() -> None:
                if len(got) == 2:
                    raise ValueError("a bug")

            async def serve(link: Link) -> None:
                link.divert(got.append, deal_with_them)
                await link.receive()

            b.serve(SINK, serve)
            b.serve(ECHO, echo)
            connection = await a.connect(b.address)
            bad = await connection.open(SINK)
            for number in (1, 2):
                await bad.send(Say(number=number))
                await until(lambda count=number: len(got) == count)  # type: ignore[misc]
            other = await connection.open(ECHO)
            await other.send(Say(number=3))
            assert (await other.receive()).number == 3
            assert "what deals with a link's messages failed" in caplog.text
