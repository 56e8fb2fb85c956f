"""The facade for programs without an event loop: over real sockets on loopback, from threads, in notebooks, at Ctrl-C and fork."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from p2praft import CommandFailed, ConsensusConfig, Consistency, GroupClosed, GroupKey, OutcomeUnknown, P2PRaftError
from p2praft.blocking import Forked, Group, Map, MapReader, Network, WrongThread
from p2praft.collections import Conflict, MapChange, MapMachine
from tests.groups.conftest import Counter

KEY = GroupKey(b"k" * 32)
ALONE = ConsensusConfig(bootstrap_delay=0)  # nobody to wait for
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def net() -> Iterator[Network]:
    with Network("shop", listen="127.0.0.1:0") as made:
        yield made


@pytest.fixture
def group(net: Network) -> Iterator[Group]:
    with net.group("line", secret=KEY, machine=Counter(), consensus=ALONE) as made:
        made.when.online(timeout=30)
        yield made


@pytest.fixture
def shelf(net: Network) -> Iterator[Map[Any]]:
    with net.group("map", secret=KEY, machine=MapMachine(), consensus=ALONE) as made:
        made.when.online(timeout=30)
        yield Map(made)


def test_commands_queries_and_state(net: Network, group: Group) -> None:
    assert group.execute(5) == 5
    assert group.execute_many([1, 2]) == [6, 8]
    index = group.feed(2)
    assert group.when.committed.reaches(index, timeout=10) >= index
    assert group.query(None).value == 10
    assert group.query(None, Consistency.WEAK).index >= index
    assert (group.name, group.role, group.leader, group.voters) == ("line", "leader", net.peer_id, (net.peer_id,))
    assert group.is_leader
    assert group.online
    assert group.failure is None
    assert group.committed == group.applied == group.log_position.index
    assert dict(group.bonds) == {}
    assert [found.name for found in net.groups.values()] == ["line"]
    assert net.id is not None
    with pytest.raises(CommandFailed, match="not a number"):
        group.execute("five")


def test_two_nodes_find_each_other(net: Network, group: Group) -> None:
    joined = net.peers.events()
    with Network("shop", listen="127.0.0.1:0", seeds=[net.address]) as other:
        with other.group("line", secret=KEY, machine=Counter(), consensus=ALONE) as second:
            second.when.online(timeout=30)
            assert second.execute(3, timeout=30) == 3
            net.peers.when.known(1, timeout=30)
            assert [peer.peer_id for peer in net.peers] == [other.peer_id]
            assert len(net.peers) == 1
            assert net.peers.get(other.peer_id) is not None
            assert net.peers.explain(other.peer_id)
            assert joined.next(timeout=30).kind == "joined"


def test_the_map(shelf: Map[Any]) -> None:
    watch = shelf.watch()
    assert shelf.set("a", 1) == 1
    assert shelf.set_many({"b": 2, "c": 3}, ttl=60) == 3
    with pytest.raises(Conflict):
        shelf.set("a", 2, expected=7)
    assert shelf.write({"a": 2}, ["b"], expected={"a": 1}) == 5
    assert shelf.delete("c") == 6
    assert shelf.delete_many(["c", "b"]) == 0
    entry = shelf.get("a")
    assert entry is not None
    assert (entry.value, list(shelf.items()), shelf.version(), list(shelf.view())) == (2, ["a"], 6, ["a"])
    assert [next(watch).version for _ in range(6)] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(TimeoutError, match=r"no event came within 0\.05 s"):
        watch.next(timeout=0.05)
    shelf.set("d", 4)
    assert watch.next(timeout=10) == MapChange(kind="set", key="d", value=4, version=7)
    assert shelf.when.reaches(7, timeout=10) == 7


def test_conditions_that_do_not_come_true_say_so(group: Group) -> None:
    with pytest.raises(TimeoutError, match=r"waited 0\.05 s for offline in vain"):
        group.when.offline(timeout=0.05)


def test_any_thread_may_call(group: Group) -> None:
    results: list[int] = []

    def work() -> None:
        for _ in range(20):
            results.append(group.execute(1))

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == list(range(1, 101))


def test_a_state_machine_that_calls_its_own_group_is_told() -> None:
    class Selfish(Counter):
        group: Group

        def apply(self, command: Any, ctx: Any) -> Any:
            try:
                self.group.execute(1)
            except WrongThread as error:
                return str(error)

    machine = Selfish()
    with Network("shop", listen="127.0.0.1:0") as net:
        with net.group("line", secret=KEY, machine=machine, consensus=ALONE) as group:
            machine.group = group
            group.when.online(timeout=30)
            assert "would wait for itself for ever" in group.execute(1)


def test_leaving_ends_what_other_threads_wait_for() -> None:
    ended: list[str] = []

    def until_closed(name: str, wait: Callable[[], Any]) -> None:
        with contextlib.suppress(P2PRaftError):
            wait()
        ended.append(name)

    with Network("shop", listen="127.0.0.1:0") as net:
        with net.group("map", secret=KEY, machine=MapMachine(), consensus=ALONE) as group:
            reader: MapReader[Any] = MapReader(group)
            waits = {
                "peer": lambda: net.peers.when.known(5),
                "events": lambda: list(group.events()),
                "watch": lambda: list(reader.watch()),
                "version": lambda: reader.when.reaches(99),
            }
            threads = [threading.Thread(target=until_closed, args=item) for item in waits.items()]
            for thread in threads:
                thread.start()
            group.when.online(timeout=30)
    for thread in threads:
        thread.join(30)
    assert sorted(ended) == ["events", "peer", "version", "watch"]
    with pytest.raises(GroupClosed, match="was left"):
        _ = group.leader
    with pytest.raises(GroupClosed, match="not open"):
        _ = net.peers


def loops() -> int:
    """Threads that run event loops of ours."""
    return sum(thread.name.startswith("p2praft network") for thread in threading.enumerate())


def test_what_cannot_be_entered_leaves_nothing_behind() -> None:
    with Network("shop", listen="127.0.0.1:0") as first:
        where = first.address.endpoints[0]
        with pytest.raises(Exception, match="cannot listen on"):
            Network("shop", listen=str(where)).open()
        assert loops() == 1
        with pytest.raises(GroupClosed, match="is open already"):
            first.open()
    assert loops() == 0
    first.close()


def test_what_the_body_raises_is_raised_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"):
        with Network("shop", listen="127.0.0.1:0"):
            raise KeyError("mine")


def test_beside_a_running_loop_as_in_a_notebook() -> None:
    async def cell() -> int:
        net = Network("shop", listen="127.0.0.1:0").open()
        handle = net.group("line", secret=KEY, machine=Counter(), consensus=ALONE)
        group = handle.open()
        group.when.online(timeout=30)
        await asyncio.sleep(0)
        result: int = group.execute(5)
        await asyncio.sleep(0)
        handle.close()
        net.close()
        return result

    assert asyncio.run(cell()) == 5


def test_the_network_may_be_opened_again(net: Network) -> None:
    again = Network("shop", listen="127.0.0.1:0")
    for _ in range(2):
        with again:
            assert again.peer_id


def test_settle_waits_on_for_the_same_command(group: Group) -> None:
    async def wait() -> list[Any]:
        return [7]

    assert group.settle(OutcomeUnknown("sent", wait), timeout=10) == [7]


# --- processes of their own


def python(program: str, *, timeout: float = 60, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter."""
    source = PROLOGUE + textwrap.dedent(program)
    command = [sys.executable, "-W", "error", "-c", source]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False, **more)


PROLOGUE = """
import os, sys
from p2praft import ConsensusConfig, GroupClosed, GroupKey
from p2praft.blocking import Forked, Map, Network
from p2praft.collections import MapMachine
KEY, ALONE = GroupKey(b"k" * 32), ConsensusConfig(bootstrap_delay=0)
def group_of(net):
    handle = net.group("map", secret=KEY, machine=MapMachine(), consensus=ALONE)
    group = handle.open()
    group.when.online(timeout=30)
    return group
"""


def test_a_forked_child_is_told_and_does_no_harm() -> None:
    result = python(
        """
        with Network("shop", listen="127.0.0.1:0") as net:
            shelf = Map(group_of(net))
            shelf.set("a", 1)
            pid = os.fork()
            if pid == 0:
                for use in (lambda: shelf.get("a"), lambda: net.peers, lambda: net.peer_id, shelf.watch):
                    try:
                        use()
                    except Forked as error:
                        assert "multiprocessing" in str(error)
                    else:
                        os._exit(3)
            else:
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
                assert shelf.set("a", 2) == 2
                print("parent goes on")
        if pid == 0:  # left without a hang; and a network of its own works
            with Network("shop", listen="127.0.0.1:0") as own:
                assert own.peer_id
            sys.exit(0)
        """
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "parent goes on\n", "")


def test_a_forked_child_of_an_asynchronous_network_is_told() -> None:
    result = python(
        """
        import anyio, p2praft
        async def main():
            net = p2praft.Network("shop", listen="127.0.0.1:0")
            async with net:
                handle = net.group("map", secret=KEY, machine=MapMachine(), consensus=ALONE)
                async with handle as group:
                    await group.when.online()
                    pid = os.fork()
                    if pid == 0:
                        try:
                            net.peers
                        except GroupClosed as error:
                            assert "fork" in str(error)
                        else:
                            os._exit(3)
                        for call in (group.execute(["tick"]), group.query(None)):
                            try:
                                call.send(None)
                            except GroupClosed as error:
                                assert "fork" in str(error)
                            else:
                                os._exit(4)
                        os._exit(0)
                    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
                    await group.execute(["tick"])
                    print("parent goes on")
        anyio.run(main)
        """
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "parent goes on\n", "")


def test_what_is_open_at_the_interpreters_exit_is_closed_in_good_order(net: Network) -> None:
    events = net.peers.events()
    result = python(
        f"""
        net = Network("shop", listen="127.0.0.1:0", seeds=[{str(net.address)!r}]).open()
        shelf = Map(group_of(net))
        net.peers.when.known(1, timeout=30)
        print(shelf.set("a", 1))
        """
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "1\n", "")
    kinds = [events.next(timeout=30).kind]
    while kinds[-1] in ("joined", "updated"):
        kinds.append(events.next(timeout=30).kind)
    assert kinds[-1] == "left", "it has said goodbye"


@pytest.mark.parametrize("waiting", ["shelf.watch().next()", "shelf.when.reaches(99)", "net.peers.when.known(5)"])
def test_ctrl_c_interrupts_whatever_waits(waiting: str) -> None:
    program = f"""
        import signal
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with Network("shop", listen="127.0.0.1:0") as net:
                shelf = Map(group_of(net))
                print("ready", flush=True)
                {waiting}
        except KeyboardInterrupt:
            print("interrupted")
        """
    command = [sys.executable, "-W", "error", "-c", PROLOGUE + textwrap.dedent(program)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.1)  # it may wait by now; if not yet, the interrupt only comes earlier
            os.kill(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (0, "interrupted\n", "")


def test_forked_is_a_closed_group() -> None:
    assert issubclass(Forked, GroupClosed)
