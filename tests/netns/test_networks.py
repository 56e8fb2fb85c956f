"""Networks that delay, lose, reorder and part; each test begins with a whole one on which three hosts agree.

Assertions are on what comes out, with generous bounds on when. How long it takes is measured by
``python -m tests.netns --measure``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from p2praft.cli.output import CommandError
from tests.netns.lab import NAT_PORT, Lab, Node, leader_of, until, wait_voters, why_not

reason = why_not()
pytestmark = pytest.mark.skipif(reason is not None, reason=str(reason))


class Cluster:
    """Three hosts with a voter each, used by one test after the other."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.nodes = lab.cluster()
        self.written: dict[str, int] = {}

    def write(self, node: Node, *, timeout: float = 40) -> None:
        """One more write, acknowledged."""
        key = f"key-{len(self.written)}"
        node.set(key, len(self.written), timeout=timeout)
        self.written[key] = len(self.written)

    def agree(self) -> None:
        """Wait until each has all that was ever acknowledged, by itself, and all vote."""
        until(lambda: all(self.holds_all(node) for node in self.nodes), "every host has every acknowledged write")
        wait_voters(self.nodes)

    def holds_all(self, node: Node) -> bool:
        """Whether the node's own state has all that was acknowledged."""
        listed = node.ask("map", action="list", group="g", weak=True)
        return {item["key"]: item["value"] for item in listed}.items() >= self.written.items()

    def leader_and_others(self) -> tuple[Node, list[Node]]:
        """Who leads, and who does not."""
        leader = leader_of(self.nodes)
        return leader, [node for node in self.nodes if node is not leader]


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Lab(3, tmp_path_factory.mktemp("lab")) as lab:
        yield Cluster(lab)


@pytest.fixture
def cluster(standing: Cluster) -> Iterator[Cluster]:
    standing.lab.heal()
    standing.lab.path()
    wait_voters(standing.nodes)
    yield standing
    for node in standing.nodes:
        assert node.process.poll() is None, f"the node on host {node.host} ended"


def test_everybody_commits_over_a_tenth_of_a_second_with_loss_and_reordering(cluster: Cluster) -> None:
    cluster.lab.path(delay=0.1, loss=0.05, reorder=0.1)
    for node in [*cluster.nodes, *cluster.nodes]:
        cluster.write(node)
    for node in cluster.nodes:
        assert node.get("key-0") == 0
    cluster.agree()


def test_a_value_that_takes_longer_than_an_election_timeout_deposes_nobody(cluster: Cluster) -> None:
    """The heartbeats behind it wait, and so do the answers."""
    leader, _ = cluster.leader_and_others()
    cluster.lab.path(delay=0.1, loss=0.05, reorder=0.1)
    value = "x" * 40_000
    leader.set("large", value, timeout=60)
    until(lambda: all(node.get("large", weak=True) == value for node in cluster.nodes), "all have it")
    cluster.agree()


def test_a_leader_whose_host_vanishes_without_a_word_is_replaced_and_later_follows(cluster: Cluster) -> None:
    leader, others = cluster.leader_and_others()
    cluster.lab.isolate(leader.host)
    for node in others:
        cluster.write(node)
    assert leader_of(others) is not leader
    until(lambda: not leader.group()["online"], "the old leader has noticed")
    cluster.lab.heal()
    cluster.agree()


@pytest.mark.parametrize("deaf", [True, False], ids=["that hears nobody", "that nobody hears"])
def test_a_leader_is_replaced(cluster: Cluster, deaf: bool) -> None:
    leader, others = cluster.leader_and_others()
    cluster.lab.cut(*((node.host, leader.host) if deaf else (leader.host, node.host) for node in others))
    for node in others:
        cluster.write(node)
    assert leader_of(others) is not leader
    with pytest.raises(CommandError):
        leader.set("outcome-unknown", 0, timeout=0.5)  # what was sent into the cut may yet arrive
    cluster.lab.heal()
    cluster.agree()


def test_nobody_commits_in_a_minority_and_after_the_cut_all_have_what_the_majority_did(cluster: Cluster) -> None:
    leader, others = cluster.leader_and_others()
    cluster.lab.part([leader.host], [node.host for node in others])
    cluster.write(others[0])
    with pytest.raises(CommandError) as refused:
        leader.set("outcome-unknown", 0, timeout=1)
    assert refused.value.kind in ("Offline", "OutcomeUnknown")
    cluster.lab.heal()
    cluster.agree()


def test_when_all_have_lost_each_other_they_meet_again_without_a_seed_and_go_on(cluster: Cluster) -> None:
    cluster.lab.isolate(*cluster.lab.hosts)
    until(lambda: all(alone(node) for node in cluster.nodes), "everybody has lost everybody")
    cluster.lab.heal()
    for node in cluster.nodes:
        cluster.write(node)
    cluster.agree()


def alone(node: Node) -> bool:
    """Whether a node is bonded with nobody, and counts on nobody."""
    group = node.group()
    return not group["online"] and not group["bonds"] and all(peer["status"] == "lost" for peer in node.ask("peers"))


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Hosts that have to meet over a bad network of small datagrams, the third of them behind a NAT."""
    with Lab(3, tmp_path_factory.mktemp("lab"), mtu=dict.fromkeys(range(1, 4), 1280)) as lab:
        lab.path(delay=0.1, loss=0.05, reorder=0.1)
        lab.nat(3)
        cluster = Cluster(lab)
        lab.path()
        yield cluster


def test_large_values_pass_in_small_datagrams(awkward: Cluster) -> None:
    value = "x" * 200_000
    for node in awkward.nodes:
        node.set("large", value, timeout=40)
    until(lambda: all(node.get("large", weak=True) == value for node in awkward.nodes), "all have it")
    awkward.agree()


def test_a_member_behind_a_nat_stays_one_when_the_nat_forgets(awkward: Cluster) -> None:
    """Its packets then come from elsewhere, and what is sent to where it was is lost."""
    hidden = awkward.nodes[2]
    for port in (NAT_PORT + 1, NAT_PORT + 2):
        awkward.lab.nat(3, port)
        awkward.write(awkward.nodes[0])
        awkward.write(hidden)
        until(lambda: awkward.holds_all(hidden), "the hidden host has all writes")
    awkward.agree()
    assert len(hidden.group()["bonds"]) == 2
