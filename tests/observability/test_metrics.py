"""What Prometheus gets: complete, well named, true; and a Grafana dashboard that asks for nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from p2praft import ConsensusConfig, Group, GroupKey, Network
from p2praft.collections import Map, MapMachine
from p2praft.groups.stats import GroupStats, Histogram
from p2praft.observability import METRICS, registry
from p2praft.observability.collector import MAX_LABELS
from transport import MemoryNetwork

ROOT = Path(__file__).resolve().parents[2]
KEY = GroupKey(b"k" * 32)
FOREIGN = ("process_", "python_")
"""What prometheus_client adds itself."""
UNITS = ("seconds", "bytes", "entries", "ratio")
NOT_BASE = ("milliseconds", "ms", "minutes", "kilobytes", "kb", "mb", "percent", "micros")


@asynccontextmanager
async def members(count: int, data_dir: Path | None = None) -> AsyncIterator[list[tuple[Network, Group]]]:
    """A group over the in-memory network."""
    memory = MemoryNetwork(seed=1)
    made: list[tuple[Network, Group]] = []
    async with AsyncExitStack() as stack:
        for number in range(count):
            network = Network(
                "shop",
                listen=f"h{number}:0",
                seeds=[made[0][0].address] if made else [],
                transport=memory.transport(f"h{number}"),
                data_dir=data_dir / str(number) if data_dir else None,
            )
            await stack.enter_async_context(network)
            consensus = ConsensusConfig(expect=count)
            handle = network.group("line", secret=KEY, machine=MapMachine(), consensus=consensus)
            made.append((network, await stack.enter_async_context(handle)))
        for _, group in made:
            await group.when.online()
        yield made


def scrape(network: Network) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by name and labels, as Prometheus parses it."""
    text = generate_latest(registry(network)).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def line(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return name, tuple(sorted({"group": "line", **labels}.items()))


@pytest.mark.anyio
async def test_a_leader_tells_of_its_group() -> None:
    async with members(3) as made:
        leader, group = next((network, group) for network, group in made if group.is_leader)
        for number in range(10):
            await Map[int](group).set("a", number)
        with anyio.fail_after(60):
            while min(other.applied for _, other in made) < group.committed:
                await anyio.sleep(0.1)
        found = scrape(leader)
        assert found[line("p2praft_group_leader")] == found[line("p2praft_group_online")] == 1
        assert found[line("p2praft_group_role", role="leader")] == 1
        assert (
            sum(found[line("p2praft_group_role", role=r)] for r in ("leader", "candidate", "follower", "observer")) == 1
        )
        assert found[line("p2praft_group_term")] == group.term
        assert found[line("p2praft_group_voters")] == 3
        assert found[line("p2praft_group_bonds")] == 2
        assert found[line("p2praft_group_commit_index")] == group.committed >= 11
        assert found[line("p2praft_group_applied_index")] == group.applied
        assert found[line("p2praft_group_terms_led_total")] == 1
        assert found[line("p2praft_group_pending_commands")] == 0
        assert found[line("p2praft_group_commit_seconds_count")] == 10
        assert found[line("p2praft_group_commit_seconds_bucket", le="+Inf")] == 10
        assert 0 < found[line("p2praft_group_commit_seconds_sum")] < 10
        lags = [value for (name, _), value in found.items() if name == "p2praft_group_member_lag_entries"]
        assert lags == [0, 0]
        assert found["p2praft_discovery_peers", (("status", "alive"),)] == 2
        assert found["p2praft_transport_connections", ()] == 2
        follower = scrape(next(network for network, other in made if not other.is_leader))
        assert follower[line("p2praft_group_leader")] == 0
        assert not any(name == "p2praft_group_member_lag_entries" for name, _ in follower)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])  # the disk knows no virtual time
async def test_durable_writes_are_timed(tmp_path: Path) -> None:
    async with members(1, tmp_path) as [(network, group)]:
        await Map[int](group).set("a", 1)
        found = scrape(network)
        assert found[line("p2praft_group_storage_write_seconds_count")] >= 2
        assert found[line("p2praft_group_storage_write_seconds_sum")] > 0


@pytest.mark.anyio
async def test_all_that_is_declared_is_exposed_and_nothing_else() -> None:
    async with members(1) as [(network, group)]:
        await Map[int](group).set("a", 1)
        text = generate_latest(registry(network)).decode()
    families = {family.name for family in text_string_to_metric_families(text)}
    declared = {metric.name if metric.kind != "info" else f"{metric.name}_info" for metric in METRICS}
    assert {name for name in families if not name.startswith(FOREIGN)} == declared
    for sample in re.findall(r"^(p2praft_\w+)", text, re.MULTILINE):
        assert sample in {name for metric in METRICS for name in metric.exposed}


@pytest.mark.anyio
async def test_a_network_that_is_not_entered_tells_nothing() -> None:
    assert not any(name.startswith("p2praft") for name, _ in scrape(Network("shop")))


@pytest.mark.anyio
async def test_what_others_cause_does_not_grow_the_metrics_without_a_bound() -> None:
    async with members(1) as [(network, _)]:
        assert network._endpoint is not None
        for number in range(10 * MAX_LABELS):
            network._endpoint.counters[f"refused: reason {number}"] += 1
        rows = {
            labels: value
            for (name, labels), value in scrape(network).items()
            if name == "p2praft_transport_refused_total"
        }
        assert len(rows) == MAX_LABELS + 1
        assert rows[("reason", "other"),] == 9 * MAX_LABELS
        assert sum(rows.values()) == 10 * MAX_LABELS


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric: Any) -> None:
    """The rules of ``promtool check metrics``, and of Prometheus' page on naming."""
    assert re.fullmatch(r"p2praft_(node|transport|discovery|group)(_[a-z]+)*", metric.name)
    words = metric.name.split("_")
    assert not {"total", "count", "sum", "bucket", "info"} & set(words), "a suffix that the kind adds"
    assert not set(NOT_BASE) & set(words), "no base unit"
    assert not {"counter", "gauge", "histogram", "metric"} & set(words), "the type is no part of the name"
    if metric.kind == "histogram":
        assert words[-1] in UNITS
    assert metric.about.endswith(".")
    for label in metric.labels:
        assert re.fullmatch(r"[a-z][a-z_]*", label)
        assert label not in {"le", "quantile", "instance", "job"}, "a name that Prometheus gives itself"


def queries(node: Any) -> Iterator[str]:
    """Every expression in a dashboard."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("expr", "query") and isinstance(value, str):
                yield value
            yield from queries(value)
    elif isinstance(node, list):
        for value in node:
            yield from queries(value)


def test_the_grafana_dashboard_asks_for_what_there_is() -> None:
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "p2praft.json").read_text())
    asked = {name for query in queries(dashboard) for name in re.findall(r"\b(?:p2praft|process)_\w+", query)}
    exposed = {name for metric in METRICS for name in metric.exposed} | {"process_cpu_seconds_total"}
    assert asked <= exposed, asked - exposed
    shown = {metric.name for metric in METRICS if asked & set(metric.exposed)}
    assert len(shown) >= 20, "most of what is exported is worth a panel"
    labels = {metric.name: set(metric.labels) for metric in METRICS}
    for query in queries(dashboard):
        for name, selector in re.findall(r"(p2praft_\w+)\{([^}]*)\}", query):
            family = next(metric.name for metric in METRICS if name in metric.exposed)
            used = set(re.findall(r"(\w+)=~?", selector))
            assert used <= labels[family] | {"instance", "le"}, query


def test_the_guide_lists_every_metric() -> None:
    guide = (ROOT / "docs" / "guide" / "observability.md").read_text()
    for metric in METRICS:
        for name in metric.exposed[:1]:
            assert f"`{name.removesuffix('_bucket')}`" in guide, name


def test_histograms_count_into_the_first_bucket_that_holds_the_value() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 3.0):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.total == 8.0


def test_a_proposal_that_is_sent_again_counts_from_the_first_time() -> None:
    stats = GroupStats()
    stats.on_proposed(3, now=1.0)
    stats.on_proposed(3, now=2.0)  # again, after a change of the leader
    stats.on_proposed(5, now=2.5)
    stats.on_settled(2, now=3.0)
    assert sum(stats.commits.counts) == 0
    stats.on_settled(5, now=4.0)
    assert sum(stats.commits.counts) == 2
    assert stats.commits.total == 3.0 + 1.5
    stats.on_proposed(9, now=5.0)
    stats.on_restart()
    stats.on_settled(9, now=6.0)
    assert sum(stats.commits.counts) == 2
