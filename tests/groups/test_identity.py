"""One key on two machines: found as soon as somebody has met both, said by both, and ended by one. In virtual time."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from p2praft import GroupEvent, IdentityInUse, SecretKey
from p2praft.groups.bond import Bond, Twin
from p2praft.groups.twins import Process
from p2praft.groups.worker import Worker
from tests.groups.conftest import KEY, Counter, Lab, Node, lab

pytestmark = pytest.mark.anyio

SECONDS = 5.0
"""In which two are found and one has ended."""


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


class Heard:
    """What the nodes of a laboratory say of twins."""

    def __init__(self) -> None:
        self.by: dict[str, list[GroupEvent]] = {}

    async def listen(self, node: Node) -> None:
        """Hear one node until its group ends."""
        heard = self.by.setdefault(node.host, [])
        async for event in node.group.events():
            if event.kind == "twin":
                heard.append(event)


@asynccontextmanager
async def cloned(seed: int = 0) -> AsyncIterator[tuple[Lab, list[Node], Heard]]:
    """A group of two and one more member, whose key a second machine has as well; all run from now on."""
    key = SecretKey.generate()
    heard = Heard()
    async with lab(2, seed=seed) as it:
        twins = [await it.start(f"twin-{number}", identity=key) for number in range(2)]
        for node in it.nodes:
            it.tasks.start_soon(heard.listen, node)
        yield it, twins, heard


def ended(twins: list[Node]) -> list[Node]:
    return [node for node in twins if node.group.failure is not None]


@pytest.mark.parametrize("seed", range(5))
async def test_one_of_two_ends_within_seconds_and_the_other_works_on(seed: int) -> None:
    async with cloned(seed) as (it, twins, _):
        await anyio.sleep(SECONDS)
        (loser,) = ended(twins)
        (winner,) = [node for node in twins if node is not loser]
        assert isinstance(loser.group.failure, IdentityInUse)
        text = str(loser.group.failure)
        for part in (
            str(winner.network.peer_id),
            loser.host,
            winner.host,
            "This one ends",
            "remove its data directory",
        ):
            assert part in text
        assert await winner.group.execute(1) == 1
        assert len(winner.group.bonds) == 2
        assert all(winner.network.peer_id in node.group.bonds for node in it.nodes[:2])


async def test_both_say_so_loudly_and_once_and_third_parties_warn(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "p2praft.group")
    async with cloned() as (it, twins, heard):
        await anyio.sleep(60)
        (loser,) = ended(twins)
        (winner,) = [node for node in twins if node is not loser]
        (winners,) = heard.by[winner.host]
        (losers,) = heard.by[loser.host]
        assert winners.peer == losers.peer == winner.network.peer_id
        assert "The other one ends" in winners.text
        assert loser.host in winners.text
        errors = [record for record in caplog.records if "is used by two processes: this one" in record.getMessage()]
        said = [record for record in errors if "stops on this node" not in record.getMessage()]
        assert [record.levelno for record in said] == [logging.ERROR] * 2
        for node in it.nodes[:2]:
            assert len(heard.by[node.host]) <= 1, "once a pair"
        others = [event.text for node in it.nodes[:2] for event in heard.by[node.host]]
        assert others
        assert all(winner.host in text.partition("stays a member")[0] for text in others)


async def test_the_one_that_ended_leaves_the_others_connections_alone_and_says_no_goodbye() -> None:
    async with cloned() as (it, twins, _):
        await anyio.sleep(SECONDS)
        (loser,) = ended(twins)
        first = it.nodes[0]
        peer = loser.network.peer_id
        connection = first.network.endpoint.connections[peer]
        await anyio.sleep(60)
        await it.stop(loser)
        await anyio.sleep(5)
        assert first.network.endpoint.connections[peer] is connection
        info = first.network.peers.get(peer)
        assert info is not None
        assert info.status == "alive"


async def test_no_group_is_joined_any_more_with_an_identity_that_was_given_up() -> None:
    async with cloned() as (_, twins, __):
        await anyio.sleep(SECONDS)
        (loser,) = ended(twins)
        with pytest.raises(IdentityInUse, match="This one ends"):
            async with loser.network.group("another", secret=KEY, machine=Counter()):
                pass


async def test_a_node_that_restarts_with_its_key_is_no_twin() -> None:
    key = SecretKey.generate()
    async with lab(2) as it:
        heard = Heard()
        for node in it.nodes:
            it.tasks.start_soon(heard.listen, node)
        for number in range(4):
            node = await it.start(f"home-{number}", identity=key)
            await anyio.sleep(2)
            if number % 2:
                it.net.crash(node.host)
                it.nodes.remove(node)
                node.stopping.set()
            else:
                await it.stop(node)
        await anyio.sleep(30)
        assert not any(heard.by.values())


def process(worker: Worker, **changes: Any) -> Process:
    """What a worker's own process looks like to others."""
    own = worker.on_twin.__self__._own  # type: ignore[attr-defined]
    shown = {"nonce": own.process, "start": own.start, "incarnation": own.me.incarnation, "address": "here:1"}
    return Process(**{**shown, **changes})


async def test_what_a_member_tells_is_acted_on_only_if_it_is_about_us_and_by_the_order_of_all() -> None:
    async with lab(2) as it:
        worker = it.nodes[0].group._worker
        mine = process(worker)
        strong, weak = process(worker, nonce=b"\xff" * 16), process(worker, nonce=bytes(16))
        worker.on_twin(Twin(one=strong, other=weak))
        worker.on_twin(Twin(one=strong, other=mine))
        worker.on_twin(Twin(one=mine, other=mine))
        worker.on_twin(Twin(one=process(worker, start=7), other=strong))
        worker.on_twin(Twin(one=mine, other=weak))
        await anyio.sleep(1)
        assert it.nodes[0].group.failure is None
        worker.on_twin(Twin(one=mine, other=strong))
        await anyio.sleep(1)
        assert isinstance(it.nodes[0].group.failure, IdentityInUse)


async def test_what_looks_like_a_twin_is_said_also_where_nobody_can_prove_it() -> None:
    """The others are in another group: no bond shows the two, only that entries of our own come which we did not make."""
    key = SecretKey.generate()
    async with lab(2) as it:
        heard: list[GroupEvent] = []

        async def listen(node: Node) -> None:
            heard.extend([event async for event in node.group.events() if event.kind == "twin suspected"])

        for number in range(2):
            node = await it.start(f"twin-{number}", identity=key, key="another secret")
            it.tasks.start_soon(listen, node)
        await anyio.sleep(60)
        for node in it.nodes:
            await it.stop(node)
        assert {event.peer for event in heard} == {key.peer_id}
        assert 1 <= len(heard) <= 2
        assert "seems to be used by another process, at twin-" in heard[0].text


async def test_who_must_end_and_does_not_is_no_member_all_the_same() -> None:
    async with cloned() as (it, twins, _):
        for node in twins:
            node.group._worker.on_twin = lambda _: None  # as if it had not heard, or would not
        await anyio.sleep(SECONDS)
        weaker, stronger = sorted(node.network._process for node in twins)
        given: set[bytes] = set()
        for node in it.nodes[:2]:
            worker = node.group._worker
            worker.add_bond = recording(worker.add_bond, given)  # type: ignore[method-assign, assignment]
        await anyio.sleep(30)
        assert stronger in given
        assert weaker not in given


def recording(add_bond: Callable[[Bond], bool], given: set[bytes]) -> Callable[[Bond], bool]:
    """The same, with a note of whose bonds it was given."""

    def add(bond: Bond) -> bool:
        given.add(bond.process)
        return add_bond(bond)

    return add
