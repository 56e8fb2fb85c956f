"""The whole stack but for the sockets, in virtual time: what applications rely on."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from p2praft import (
    ApplyContext,
    CommandFailed,
    ConfigError,
    ConsensusConfig,
    Consistency,
    GroupClosed,
    GroupEvent,
    GroupId,
    GroupKey,
    Network,
    NoCommands,
    NotAuthorized,
    Offline,
    OutcomeUnknown,
    P2PRaftError,
    PeerInfo,
    Validator,
)
from tests.groups.conftest import Counter, Node, lab
from transport import MemoryNetwork

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


async def test_every_member_executes_and_reads() -> None:
    async with lab(3, observers=1) as it:
        for expected, node in enumerate(it.nodes, start=1):
            assert await node.group.execute(1) == expected
        for node in it.nodes:
            assert (await node.group.query(None)).value == 4


async def test_execute_many_is_applied_without_others_in_between() -> None:
    async with lab(3) as it:
        results: list[list[int]] = []

        async def many(node: Any) -> None:
            results.append(await node.group.execute_many([1, 1, 1]))

        async with anyio.create_task_group() as tasks:
            for node in it.nodes * 5:
                tasks.start_soon(many, node)
        assert sorted(results) == [[first, first + 1, first + 2] for first in range(1, 46, 3)]


async def test_calls_of_one_handle_take_effect_in_their_order() -> None:
    async with lab(3) as it:
        group = it.followers[0].group
        seen: list[int] = []

        async def call(number: int) -> None:
            seen.append(await group.execute(number))

        async with anyio.create_task_group() as tasks:
            for number in range(1, 20):
                tasks.start_soon(call, number)
                await anyio.lowlevel.checkpoint()
        assert sorted(seen) == [sum(range(1, n + 1)) for n in range(1, 20)]


async def test_feed_returns_the_index_before_the_commit() -> None:
    async with lab(3) as it:
        index = await it.followers[0].group.feed(5)
        await it.followers[0].group.when.committed.reaches(index)
        assert (await it.nodes[0].group.query(None)).value == 5
        assert await it.leader.group.feed_many([1, 2]) > index


async def test_a_command_that_fails_fails_alike_everywhere_and_the_group_goes_on() -> None:
    async with lab(3) as it:
        for node in it.nodes:
            with pytest.raises(CommandFailed, match="TypeError: not a number: 'x'"):
                await node.group.execute("x")
        assert await it.leader.group.execute(3) == 3


@pytest.mark.parametrize("ours", [MemoryError, RecursionError])
async def test_what_only_this_member_runs_into_is_no_outcome_but_its_end(ours: type[Exception]) -> None:
    async with lab(3) as it:
        odd = it.followers[0]

        def apply(command: Any, ctx: ApplyContext) -> Any:
            raise ours

        odd.machine.apply = apply  # type: ignore[method-assign]
        assert await it.leader.group.execute(3) == 3
        with pytest.raises(P2PRaftError, match=ours.__name__):
            await odd.group.execute(1)
        assert await it.leader.group.execute(3) >= 6, "the others go on, and agree"


async def test_without_a_leader_a_call_was_never_sent_and_can_be_cancelled_without_effect() -> None:
    async with lab(3) as it:
        alone = it.followers[0]
        await alone.group.execute(1)
        it.net.partition([alone.host], [node.host for node in it.nodes if node is not alone])
        with anyio.fail_after(60):
            while alone.group.leader is not None:
                await anyio.sleep(0.1)
        with pytest.raises(Offline, match="nothing was sent"):
            await alone.group.execute(100, timeout=1)
        with anyio.move_on_after(1):
            await alone.group.execute(100)
        it.net.heal()
        await alone.group.when.online()
        assert await alone.group.execute(1) == 2


async def test_who_could_not_leave_in_time_stays() -> None:
    async with lab(2) as it:
        one, other = it.nodes
        it.net.partition([one.host], [other.host])
        with pytest.raises(Offline, match="did not let this member go"):
            await one.group.leave(timeout=2)
        it.net.heal()
        await one.group.when.online()
        await anyio.sleep(30)
        assert one.network.peer_id in one.group.voters


async def test_nothing_is_lost_when_the_leader_falls_silent() -> None:
    async with lab(5) as it:
        acknowledged = 0
        writer = it.followers[0]
        for _ in range(20):
            acknowledged = await writer.group.execute(1)
        dead = it.leader
        it.net.crash(dead.host)
        for _ in range(20):
            assert await writer.group.execute(1) == acknowledged + 1
            acknowledged += 1
        for node in it.nodes:
            if node is not dead:
                assert (await node.group.query(None)).value == acknowledged


async def test_commands_survive_failovers_exactly_once() -> None:
    """Every call is sent again by itself; none is applied twice."""
    async with lab(5) as it:
        writers = it.followers[:3]
        done = 0

        async def write(node: Any) -> None:
            nonlocal done
            for _ in range(40):
                await node.group.execute(1, timeout=60)
                done += 1
                await anyio.sleep(0.05)

        async with anyio.create_task_group() as tasks:
            for node in writers:
                tasks.start_soon(write, node)
            for _ in range(3):
                await anyio.sleep(0.7)
                hosts = [node.host for node in it.nodes]
                leader = next((node.host for node in it.nodes if node.group.is_leader), hosts[0])
                it.net.partition([leader], [host for host in hosts if host != leader])
                await anyio.sleep(3)
                it.net.heal()
        await it.online()
        assert done == 120
        assert (await it.nodes[0].group.query(None, timeout=30)).value == 120


async def test_a_cut_off_member_says_offline_and_gives_the_commands_back() -> None:
    async with lab(3) as it:
        node = it.followers[0]
        others = [other.host for other in it.nodes if other is not node]
        it.net.partition([node.host], others)
        await node.group.when.offline()
        await anyio.sleep(10)
        with pytest.raises(Offline) as caught:
            await node.group.execute(7, timeout=2)
        assert caught.value.commands == [7]
        with pytest.raises(Offline, match="no leader of group 'line' confirmed"):
            await node.group.query(None, timeout=2)
        assert (await node.group.query(None, Consistency.WEAK)).value == 0
        it.net.heal()
        await node.group.when.online()
        assert await node.group.execute(7) == 7


async def test_a_deposed_leader_serves_no_strong_read_and_acknowledges_nothing() -> None:
    async with lab(5) as it:
        old = it.leader
        others = [node.host for node in it.nodes if node is not old]
        it.net.partition([old.host], others)

        async def doomed() -> None:
            with pytest.raises((Offline, OutcomeUnknown)):
                await old.group.execute(100, timeout=3)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(doomed)
            survivor = next(node for node in it.nodes if node is not old)
            await survivor.group.when.leader_changed()
            assert await survivor.group.execute(1, timeout=30) == 1
            with pytest.raises(Offline):
                await old.group.query(None, timeout=1)


async def test_a_burst_of_callers_that_outlasts_the_election_timeout_costs_no_leader(anyio_backend: Any) -> None:
    """They are all served in one step, and nothing is read meanwhile: the others' silence says nothing."""
    async with lab(3) as it:
        leader = it.leader
        before = [node.group.term for node in it.nodes]
        results: list[int] = []

        async def call() -> None:
            anyio_backend[1]["clock"].jump(0.005)
            results.append(await leader.group.execute(1, timeout=60))

        it.net.partition([leader.host], [node.host for node in it.followers])
        async with anyio.create_task_group() as tasks:
            for _ in range(600):  # three seconds
                tasks.start_soon(call)
            await anyio.lowlevel.checkpoint()
            it.net.heal()
        assert sorted(results) == list(range(1, 601))
        assert [node.group.term for node in it.nodes] == before


async def test_an_unknown_outcome_can_be_waited_for() -> None:
    async with lab(3) as it:
        old = it.leader
        assert await old.group.execute(0) == 0  # it has a session from here on
        others = [node.host for node in it.nodes if node is not old]
        it.net.partition([old.host], others)
        with pytest.raises(OutcomeUnknown) as caught:
            await old.group.execute(5, timeout=0.2)
        it.net.heal()
        with anyio.fail_after(60):
            assert await caught.value.wait() == [5]
        assert (await it.nodes[0].group.query(None)).value == 5


async def test_leadership_is_handed_over() -> None:
    async with lab(3) as it:
        old = it.leader
        target = it.followers[1]
        assert await old.group.transfer_leadership(target.network.peer_id) == target.network.peer_id
        await target.group.when.is_leader()
        with pytest.raises(NotAuthorized, match="does not lead"):
            await old.group.transfer_leadership()
        assert await old.group.execute(1) == 1


async def test_a_leader_that_stops_hands_over_first() -> None:
    async with lab(3) as it:
        old = it.leader
        other = it.followers[0]
        await it.stop(old)
        with anyio.fail_after(1):
            assert await other.group.execute(1) == 1


async def test_who_leaves_for_good_is_no_voter_any_more() -> None:
    async with lab(3) as it:
        node = it.followers[0]
        await node.group.leave()
        remaining = [other for other in it.nodes if other is not node]
        with anyio.fail_after(30):
            while node.network.peer_id in remaining[0].group.voters:
                await anyio.sleep(0.1)
        assert await remaining[0].group.execute(1) == 1
        with pytest.raises(GroupClosed):
            await node.group.execute(1)


async def test_the_leader_may_leave_too() -> None:
    async with lab(3) as it:
        node = it.leader
        await node.group.leave(timeout=30)
        other = next(other for other in it.nodes if other is not node)
        with anyio.fail_after(10):
            while node.network.peer_id in other.group.voters:
                await anyio.sleep(0.1)
        assert await other.group.execute(1) == 1


async def test_a_late_member_catches_up_and_becomes_a_voter() -> None:
    async with lab(2, expect=2) as it:
        for _ in range(50):
            await it.leader.group.execute(1)
        late = await it.start("late")
        await late.group.when.online()
        assert (await late.group.query(None)).value == 50
        with anyio.fail_after(30):
            while late.network.peer_id not in it.leader.group.voters:
                await anyio.sleep(0.1)


async def test_events_tell_what_happened() -> None:
    async with lab(3) as it:
        seen: list[GroupEvent] = []
        watcher = it.followers[0]

        async def watch() -> None:
            async for event in watcher.group.events():
                seen.append(event)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            await anyio.sleep(0.1)
            it.net.crash(it.leader.host)
            await watcher.group.when.leader_changed()
            await anyio.sleep(8)
            tasks.cancel_scope.cancel()
        kinds = [event.kind for event in seen]
        assert "leader" in kinds
        assert "bond lost" in kinds


async def heard(node: Node, kind: str, seconds: float) -> list[GroupEvent]:
    """Events of one kind that a node tells from now on."""
    found: list[GroupEvent] = []
    with anyio.move_on_after(seconds):
        async for event in node.group.events():
            if event.kind == kind:
                found.append(event)
    return found


async def test_a_wrong_secret_finds_no_member_and_the_node_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    async with lab(3) as it:
        stranger = await it.start("stranger", key=GroupKey(b"x" * 32))
        (told,) = await heard(stranger, "no members", 60)
        assert "3 other node(s) here announce groups, but none of them this one" in told.text
        assert told.text in caplog.text
        assert stranger.network.peer_id not in it.nodes[0].group.bonds
        assert await it.nodes[0].group.execute(1) == 1


async def test_who_has_met_a_member_is_not_told_that_there_is_none() -> None:
    async with lab(2, expect=1) as it:
        one, two = it.nodes
        await it.start("stranger", key=GroupKey(b"x" * 32))
        it.net.crash(one.host)
        assert not await heard(two, "no members", 120)
        assert one.network.peer_id not in two.network.peers


async def test_nodes_without_groups_are_no_reason_to_doubt_the_secret(caplog: pytest.LogCaptureFixture) -> None:
    async with lab(1) as it:
        transport = it.net.transport("plain")
        seeds = [it.nodes[0].network.address]
        async with Network("lab", listen="plain:0", seeds=seeds, transport=transport) as plain:
            await plain.peers.when.known(1)
            await anyio.sleep(60)
    assert "announce groups" not in caplog.text


async def test_what_is_announced_tells_strangers_nothing_and_members_all() -> None:
    async with lab(3) as it:
        transport = it.net.transport("plain")
        seeds = [it.nodes[0].network.address]
        async with Network("lab", listen="plain:0", seeds=seeds, transport=transport) as plain:
            await plain.peers.when.known(3)
            with anyio.fail_after(30):
                while any(not peer.groups for peer in plain.peers):
                    await anyio.sleep(0.1)
            tags = {tag for peer in plain.peers for tag in peer.groups}
            assert len(tags) == 3, "each member announces something else"
            assert it.nodes[0].group.id.key not in tags
            for node in it.nodes:
                members = {peer.peer_id for peer in plain.peers if node.group.announced_by(peer)}
                assert members == {other.network.peer_id for other in it.nodes}
            one, two, _ = it.nodes
            tag = two.group.tag_of(two.network.peer_id)
            assert one.network._shares_group(two.network.peer_id, [tag]), "its connection is kept for a bond"
            assert not one.network._shares_group(plain.peer_id, [tag])


async def test_settings_and_the_machines_version_are_no_part_of_the_id() -> None:
    net = MemoryNetwork()
    async with Network("n", listen="a:0", transport=net.transport("a")) as network:

        class Later(Counter):
            signature = "counter/2"

        class Other(Counter):
            signature = "counters/1"

        def named(machine: Counter, expect: int) -> GroupId:
            return network.group("g", secret="s", machine=machine, consensus=ConsensusConfig(expect=expect)).group_id

        assert named(Counter(), 1) == named(Later(), 3) != named(Other(), 1)


async def test_a_passphrase_and_the_key_made_of_it_are_one_secret() -> None:
    async with lab(0, expect=2) as it:
        one = await it.start("one", key="correct horse")
        two = await it.start("two", key=GroupKey.from_passphrase("correct horse", network="lab", group="line"))
        await it.online()
        assert one.group.id == two.group.id
        assert set(one.group.bonds) == {two.network.peer_id}


class Certified(Validator):
    """Lets in who says it is certified."""

    signature = "certified/1"

    def allows(self, peer: PeerInfo) -> bool:
        return "certified" in peer.tags


async def test_a_validator_keeps_out_whom_it_does_not_allow() -> None:
    async with lab(0, expect=1) as it:
        it.validators = (Certified(),)
        first = await it.start("first", tags=("certified",))
        second = await it.start("second", tags=("certified",))
        stranger = await it.start("stranger")
        with anyio.fail_after(30):
            while second.network.peer_id not in first.group.voters:
                await anyio.sleep(0.1)
        await anyio.sleep(10)
        assert stranger.network.peer_id not in {*first.group.bonds, *second.group.bonds}


async def test_who_is_kept_out_by_a_rule_of_others_is_told_so_once(caplog: pytest.LogCaptureFixture) -> None:
    async with lab(0, expect=1) as it:
        it.validators = (Certified(),)
        first = await it.start("first", tags=("certified",))
        it.validators = ()
        stranger = await it.start("stranger")
        formed = await heard(stranger, "bond formed", 300)
        assert not formed, "a rule is asked before a bond is made"
        assert not first.group.bonds
        assert not stranger.group.bonds
    assert caplog.text.count("one of its validators keeps us out") == 1


async def test_a_bug_in_one_group_does_not_end_the_node(caplog: pytest.LogCaptureFixture) -> None:
    net = MemoryNetwork()
    async with Network("n", listen="a:0", transport=net.transport("a")) as network:
        async with (
            network.group("bad", secret=GroupKey(b"k" * 32), machine=Counter()) as bad,
            network.group("good", secret=GroupKey(b"k" * 32), machine=Counter()) as good,
        ):
            await bad.when.online()
            await good.when.online()
            bad._worker.applier.tables.sessions = None  # type: ignore[assignment]
            with pytest.raises(P2PRaftError, match="'bad' stopped on this node: AttributeError"):
                await bad.execute(1)
            assert await good.execute(1) == 1
        assert "group bad fails on this node" in caplog.text


async def test_another_network_is_not_joined() -> None:
    async with lab(2) as it:
        lost = await it.start("lost", name="elsewhere")
        await anyio.sleep(5)
        assert len(lost.network.peers) == 0
        text = lost.network.peers.explain(it.nodes[0].network.peer_id)
        assert "another network" in text
        assert lost.network.peer_id not in it.nodes[0].network.peers


async def test_two_handles_of_one_group_on_one_node_are_one() -> None:
    net = MemoryNetwork()
    machine = Counter()
    async with Network("n", listen="a:0", transport=net.transport("a")) as network:
        key = GroupKey(b"k" * 32)
        async with network.group("g", secret=key, machine=machine) as one:
            async with network.group("g", secret=key, machine=Counter()) as two:
                assert two is one
                await two.when.online()
                assert await two.execute(1) == 1
            assert await one.execute(1) == 2
        with pytest.raises(GroupClosed, match="is closed"):
            await one.execute(1)


async def test_a_group_without_a_machine_only_elects() -> None:
    net = MemoryNetwork()
    async with Network("n", listen="a:0", transport=net.transport("a")) as network:
        async with network.group("g", secret=GroupKey(b"k" * 32)) as group:
            assert await group.when.leader_elected() == network.peer_id
            with pytest.raises(CommandFailed, match="only elects"):
                await group.execute(1)


async def test_bad_arguments_are_refused_by_name() -> None:
    async with lab(1) as it:
        group = it.nodes[0].group
        with pytest.raises(NoCommands):
            await group.execute_many([])
        with pytest.raises(ConfigError, match="too large"):
            await group.execute(b"x" * 2_000_000)
        for timeout in (float("nan"), None, "5"):
            with pytest.raises(ConfigError, match=r"timeout=.* is not allowed"):
                await group.execute(1, timeout=timeout)  # type: ignore[arg-type]
        assert (await group.query(None)).value == 0, "nothing was sent"
        with pytest.raises(TypeError):
            await group.execute(object())
        with pytest.raises(ConfigError, match="signature is empty"):
            from p2praft import StateMachine

            it.nodes[0].network.group("h", secret="s", machine=StateMachine())


async def test_what_the_body_raises_arrives_as_it_is() -> None:
    net = MemoryNetwork()
    with pytest.raises(KeyError, match="mine"):
        async with Network("n", listen="a:0", transport=net.transport("a")) as network:
            async with network.group("g", secret=GroupKey(b"k" * 32), machine=Counter()) as group:
                await group.when.online()
                raise KeyError("mine")


async def test_watchers_of_the_log() -> None:
    async with lab(3) as it:
        group = it.followers[0].group
        start = group.committed

        async def later() -> None:
            await anyio.sleep(0.5)
            await it.leader.group.execute(1)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(later)
            assert await group.when.log.advanced() > start
            assert await group.when.committed.reaches(start + 1) > start
