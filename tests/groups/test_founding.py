"""Who founds a group, on whole nodes in virtual time: late links, members that cannot be reached, an operator's word."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from p2praft import ConfigError, LeadershipPreference, Network, SecretKey
from tests.groups.conftest import Lab, Node, lab
from transport import PeerAddr

pytestmark = pytest.mark.anyio
LATE = 6.0
"""Seconds until the link to a new site is up; several bootstrap delays."""


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


async def grow(it: Lab, count: int = 20) -> None:
    """Let two more join a group that one has founded, which makes it as junior as can be, and have commands acknowledged."""
    for host in ("host-1", "host-2"):
        await it.start(host)
    await it.online()
    for _ in range(count):
        await it.nodes[0].group.execute(1)


async def keeps(it: Lab, value: int = 20) -> None:
    """Wait until every node works, and see that every one has what was acknowledged."""
    await it.online()
    await anyio.sleep(20)
    await it.online()
    for node in it.nodes:
        assert (await node.group.query(None)).value == value, node.host


def cut_off(it: Lab, *hosts: str) -> None:
    """Hosts that are to come are cut off from those that run."""
    it.net.partition(hosts, [node.host for node in it.nodes])


async def waits(node: Node, text: str) -> None:
    """Wait until a node says that it waits for this."""
    with anyio.fail_after(60):
        while text not in (node.group.waits_for or ""):
            await anyio.sleep(0.05)


async def test_a_node_that_was_told_of_nobody_founds_after_the_bootstrap_delay() -> None:
    began = anyio.current_time()
    async with lab(1) as it:
        assert anyio.current_time() - began == pytest.approx(it.config.bootstrap_delay, abs=0.01)
        assert it.nodes[0].group.waits_for is None


@pytest.mark.parametrize("epoch", [0.0, 4e9], ids=["in 1970", "in 2096"])
async def test_a_fresh_node_whose_link_is_late_joins_and_founds_nothing(epoch: float) -> None:
    async with lab(1) as it:
        await grow(it)
        cut_off(it, "late")
        late = await it.start("late", epoch=epoch)
        await anyio.sleep(LATE)
        where = it.nodes[0].network.address.endpoints[0]
        assert f"waits for a link with its network: nobody answers at {where}" in (late.group.waits_for or "")
        assert late.group.voters == ()
        it.net.heal()
        await keeps(it)
        assert late.group.waits_for is None


async def test_two_fresh_nodes_that_are_told_of_the_group_join_it() -> None:
    async with lab(1) as it:
        await grow(it)
        cut_off(it, "late-0", "late-1")
        fresh = [await it.start(host, epoch=0.0) for host in ("late-0", "late-1")]
        await anyio.sleep(LATE)
        assert [node.group.voters for node in fresh] == [(), ()]
        it.net.heal()
        await keeps(it)


async def test_two_fresh_nodes_that_have_met_each_other_first_lose_nothing_of_the_group() -> None:
    async with lab(1) as it:
        await grow(it)
        cut_off(it, "late-0", "late-1")
        first = await it.start("late-0", epoch=0.0)
        await it.start("late-1", epoch=0.0, seeds=[first.network.address])
        await anyio.sleep(LATE)
        it.net.heal()
        await keeps(it)


async def test_a_node_whose_seed_never_answers_waits_for_ever_unless_it_is_told_to_go_ahead() -> None:
    async with lab(0) as it:
        seed = PeerAddr.parse(f"{SecretKey.generate().peer_id}@nowhere:7001")
        patient = await it.start("patient", seeds=[seed])
        await anyio.sleep(3600)
        assert patient.group.voters == ()
        assert "nobody answers at nowhere:7001" in (patient.group.waits_for or "")
        bold = await it.start("bold", seeds=[seed], found=True)
        with anyio.fail_after(10):
            await bold.group.when.online()
        assert await bold.group.execute(1) == 1


async def test_a_node_whose_only_seed_is_itself_was_told_of_nobody() -> None:
    async with lab(0) as it:
        key = SecretKey.generate()
        for number, identity in enumerate((key, SecretKey.generate())):  # it may have another key since
            own = PeerAddr.parse(f"{key.peer_id}@host-{number}:{40_001 + number}")
            node = await it.start(f"host-{number}", seeds=[own], identity=identity)
            assert node.network.address.endpoints == own.endpoints
            with anyio.fail_after(10):
                await node.group.when.online()
            await it.stop(node)


async def test_a_node_that_only_joins_never_founds() -> None:
    async with lab(0) as it:
        # The founder ranks first: today nobody founds while one that ranks before it waits.
        low, high = sorted((SecretKey.generate(), SecretKey.generate()), key=lambda key: key.peer_id)
        joiner = await it.start("joiner", found=False, identity=high)
        await anyio.sleep(3600)
        assert joiner.group.voters == ()
        await waits(joiner, "waits for a member that has it")
        await it.start("founder", identity=low)
        await it.online()
        assert await joiner.group.execute(1) == 1


async def test_a_member_that_cannot_be_bonded_is_waited_for_but_not_for_ever() -> None:
    """A third node that serves no group tells of the member; nothing passes between the two that do."""
    async with lab(1) as it:
        member = it.nodes[0]
        it.net.cut("host-0", "newcomer")
        relay = Network("lab", seeds=[member.network.address], transport=it.net.transport("relay"))
        async with relay:
            await relay.peers.when.known(1)
            newcomer = await it.start("newcomer", seeds=[relay.address])
            await waits(newcomer, f"waits to bond with {member.network.peer_id.short}, which is in this group")
            await anyio.sleep(2)
            assert newcomer.group.voters == ()
            with anyio.fail_after(60):
                await newcomer.group.when.online()
            known = newcomer.network.peers.get(member.network.peer_id)
            assert known is not None
            assert known.status in ("alive", "suspect"), "it was not lost, but given up"


async def test_a_member_that_is_lost_is_waited_for_no_more() -> None:
    async with lab(1) as it:
        member = it.nodes[0]
        async with Network("lab", seeds=[member.network.address], transport=it.net.transport("relay")) as relay:
            await relay.peers.when.known(1)
            it.net.cut("host-0", "newcomer")
            newcomer = await it.start("newcomer", seeds=[relay.address])
            await waits(newcomer, member.network.peer_id.short)
            it.net.crash("host-0")
            with anyio.fail_after(120):
                await newcomer.group.when.online()


async def test_a_member_in_memory_that_restarts_cut_off_founds_nothing() -> None:
    async with lab(1) as it:
        await grow(it)
        await it.stop(it.nodes[2])
        cut_off(it, "host-2")
        again = await it.start("host-2")
        await anyio.sleep(60)
        assert again.group.voters == ()
        it.net.heal()
        await keeps(it)


async def test_what_contradicts_itself_is_refused() -> None:
    async with lab(1) as it:
        network = it.nodes[0].network
        with pytest.raises(ConfigError, match="found=True is not allowed for an observer"):
            network.group("line", secret="s", preference=LeadershipPreference.OBSERVER, found=True)
        async with network.group("other", secret="s", found=False):
            async with network.group("other", secret="s"):
                pass
            with pytest.raises(ConfigError, match="found=False; it cannot be found=True as well"):
                async with network.group("other", secret="s", found=True):
                    pass
