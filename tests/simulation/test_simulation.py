"""Seeded runs of whole clusters, and a few histories of one group told by hand."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from p2praft.raft.leader import Leader
from tests.simulation.run import play, settle
from tests.simulation.support import calm, histories, leader_of, newcomer, put, running, voters_of
from tests.simulation.world import Plan, World

SEEDS = 200
REGRESSIONS = [
    10,  # a founder of the reborn history counted as a survivor of the old one, and its last holder waited for ever
    27,  # the holders of a dead history began it anew in turn, hundreds of times
    161,  # founders that had the parent's log from the writer forgot it when the writer did
    178,  # nobody could go on with a dead history, and another one lived beside it
    5508,  # a late answer to a founder's round confirmed a read of the leader that it had become
    359,  # a member came back to a history that it had left, with the same incarnation
]


@pytest.mark.parametrize("block", range(0, SEEDS, 10))
def test_invariants_hold_after_every_step(block: int) -> None:
    for seed in range(block, block + 10):
        counts = play(seed)
        assert counts["acknowledged"] > 0, "a run in which nothing was acknowledged shows nothing"


@pytest.mark.parametrize("seed", [seed for seed in REGRESSIONS if seed >= SEEDS])
def test_seeds_that_once_failed(seed: int) -> None:
    play(seed)


def test_the_same_seed_gives_the_same_run_in_every_process() -> None:
    """Python orders sets of bytes differently in each process; a replay must not depend on it."""
    command = [sys.executable, "-m", "tests.simulation", "--seed", "7"]
    runs = [
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": salt}, capture_output=True, text=True, check=True)
        for salt in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout


def test_a_cut_off_minority_neither_elects_nor_commits() -> None:
    world = calm(5)
    leader = leader_of(world)
    minority = [leader, next(node for node in world.nodes if node is not leader)]
    world.cut({node.number for node in minority})
    before = running(leader).commit
    for _ in range(20):
        for node in minority:
            world.propose(node)
            world.pump(node)
        world.run(world.now + 0.5)
    for node in minority:
        assert running(node).commit == before
        assert not isinstance(running(node).role, Leader), "check-quorum: a leader without a majority resigns"
    majority = [node for node in world.nodes if node not in minority]
    assert sum(running(node).is_leader for node in majority) == 1


def test_observers_neither_elect_nor_commit_for_a_cut_off_voter() -> None:
    world = calm(3, observers=4)
    leader = leader_of(world)
    alone = [leader, *world.nodes[3:]]
    world.cut({node.number for node in alone})
    before = running(leader).commit
    world.run(world.now + 20)
    for node in alone:
        assert running(node).commit == before
        assert not running(node).is_leader


def test_a_group_is_founded_once_although_its_members_come_one_by_one() -> None:
    world = World(Plan(seed=3, voters=5, expect=3))
    world.run(10)
    assert len(histories(world)) == 1
    assert len(world.ledger.committed) == 1


def test_nothing_is_founded_below_expect() -> None:
    world = World(Plan(seed=3, voters=2, expect=3))
    world.run(30)
    assert world.ledger.committed == {}
    assert histories(world) == {bytes(16)}


def test_a_joining_member_becomes_a_voter_once_it_has_caught_up() -> None:
    world = World(Plan(seed=5, voters=2, expect=2))
    world.run(5)
    put(world, 3)
    assert len(voters_of(world)) == 2
    newcomer(world)
    world.run(world.now + 5)
    assert len(voters_of(world)) == 3


def test_a_voter_that_stays_away_is_replaced_by_a_member_that_stands_by() -> None:
    world = calm(4)
    assert len(voters_of(world)) == 3
    victim = next(node for node in voters_of(world) if node is not leader_of(world))
    world.crash(victim, restart_after=None)
    world.run(world.now + 10)
    assert victim not in voters_of(world)
    assert len(voters_of(world)) == 3


def test_five_machines_that_are_lost_one_by_one_leave_a_working_group_of_three() -> None:
    world = calm(5)
    for _ in range(2):
        victim = next(node for node in voters_of(world) if node is not leader_of(world))
        victim.gone = True
        world.crash(victim, restart_after=None)
        world.run(world.now + 25)
        put(world, 1)
    assert len(voters_of(world)) == 3
    settle(world)
