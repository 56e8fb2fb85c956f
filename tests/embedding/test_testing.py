"""``p2praft.testing`` as its users meet it: from plain functions, and from a suite that uses anyio's plugin."""

from __future__ import annotations

import anyio
import pytest

from p2praft import ConfigError, Consistency, Offline, P2PRaftError
from p2praft.testing import Cluster, run, virtual_time
from tests.groups.conftest import Counter


async def count_while_the_leader_is_cut_off() -> list[int]:
    async with Cluster(3, Counter) as cluster:
        cut = await cluster.wait_leader()
        cluster.isolate(cut)
        successor = await cluster.wait_leader(other_than=cut)
        assert successor is cluster.leader
        assert await successor.group.execute(5) == 5
        with pytest.raises(Offline):
            await cut.group.query(None, Consistency.STRONG, timeout=1)
        cluster.heal()
        await cluster.wait_settled()
        return [member.machine.value for member in cluster]


def test_from_a_plain_function() -> None:
    assert run(count_while_the_leader_is_cut_off) == [5, 5, 5]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", [virtual_time()])
async def test_under_anyios_plugin() -> None:
    assert await count_while_the_leader_is_cut_off() == [5, 5, 5]


@pytest.mark.anyio
async def test_in_real_time_on_any_loop() -> None:
    async with Cluster(1, Counter) as cluster:
        assert await cluster[0].group.execute(5) == 5


def test_crash_stop_and_restart() -> None:
    async def scenario() -> None:
        async with Cluster(3, Counter, observers=1) as cluster:
            assert (len(cluster), cluster[3].group.role) == (4, "observer")
            first = await cluster.wait_leader()
            assert len(cluster.followers) == 2
            await first.group.execute(1)
            identity = first.network.peer_id
            cluster.crash(first)
            second = await cluster.wait_leader(other_than=first)
            await second.group.execute(1)
            again = await cluster.restart(first)
            await cluster.wait_settled()
            assert (again.machine.value, again.network.peer_id) == (2, identity)
            # It is a new member, for it has forgotten; the group must take it in before another may be missing.
            await cluster.wait_until(lambda: len(again.group.voters) == 3, "three voters")
            await cluster.stop(second)
            third = await cluster.wait_leader()
            assert third is not second
            await third.group.execute(1)
            await cluster.restart(second)
            await cluster.wait_settled()
            assert [member.machine.value for member in cluster] == [3, 3, 3, 3]

    run(scenario)


def test_the_only_seed_is_restarted_and_finds_the_others() -> None:
    async def scenario() -> None:
        async with Cluster(3, Counter) as cluster:
            await cluster[1].group.execute(5)
            await cluster.wait_until(lambda: len(cluster[1].group.voters) == 3, "three voters")
            cluster.crash(cluster[0])
            again = await cluster.restart(cluster[0])
            await cluster.wait_settled()
            assert [member.machine.value for member in cluster] == [5, 5, 5]
            assert again.group.waits_for is None

    run(scenario)


def test_each_member_has_a_wall_clock_of_its_own() -> None:
    async def scenario() -> set[float]:
        async with Cluster(3, Counter, skew=1000) as cluster:
            return {member.network._wall_clock() for member in cluster}

    clocks = run(scenario)
    assert len(clocks) == 3
    assert max(clocks) - min(clocks) <= 2000


def test_a_minority_waits_and_a_majority_works() -> None:
    async def scenario() -> None:
        async with Cluster(5, Counter) as cluster:
            minority = [cluster[0], cluster[1]]
            cluster.partition(minority)
            await cluster.wait_until(lambda: not any(member.group.online for member in minority), "them to notice")
            majority = [member for member in cluster if member not in minority]
            await majority[0].group.execute(2)
            with pytest.raises(P2PRaftError):
                await minority[0].group.execute(3, timeout=5)
            cluster.heal()
            await cluster.wait_settled()
            assert {member.machine.value for member in cluster} <= {2, 5}
            assert len({member.machine.value for member in cluster}) == 1

    run(scenario)


def test_minutes_pass_in_seconds() -> None:
    async def scenario() -> float:
        began = anyio.current_time()
        async with Cluster(3, Counter) as cluster:
            await anyio.sleep(60)
            await cluster.wait_leader()
        return anyio.current_time() - began

    assert run(scenario) >= 60


def test_waiting_in_vain_says_how_the_members_stand() -> None:
    async def scenario() -> None:
        async with Cluster(2, Counter) as cluster:
            cluster.crash(cluster[0])
            with pytest.raises(ConfigError, match="node-0 does not run"):
                cluster.crash(cluster[0])
            with pytest.raises(ConfigError, match="node-1 runs; stop or crash it"):
                await cluster.restart(cluster[1])
            with pytest.raises(
                TimeoutError, match=r"waited 3 s for the moon; node-0: does not run; node-1: .* in term"
            ):
                await cluster.wait_until(lambda: False, "the moon", timeout=3)

    run(scenario)


def test_what_the_test_raises_reaches_it_as_it_is() -> None:
    async def scenario() -> None:
        async with Cluster(1, Counter):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(scenario)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one node, not 0"):
        Cluster(0, Counter)
