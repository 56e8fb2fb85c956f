"""Reads a node's live state when Prometheus asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric as Family,
)
from prometheus_client.registry import Collector

from p2praft import __version__
from p2praft.groups.group import Group
from p2praft.groups.stats import Histogram
from p2praft.network import Network
from p2praft.observability.names import METRICS

ROLES = ("leader", "candidate", "follower", "observer")
STATUSES = ("alive", "suspect", "lost", "left")
MAX_LABELS = 64
"""Peers or reasons that get a series of their own; what others cause must not grow our metrics without a bound."""

Rows = Iterable[tuple[tuple[str, ...], Any]]
"""Label values, and the value."""


def registry(network: Network) -> CollectorRegistry:
    """A registry with all of a node's metrics, and those of the process."""
    made = CollectorRegistry(auto_describe=False)
    made.register(NodeCollector(network))
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    GCCollector(registry=made)
    return made


class NodeCollector(Collector):
    """A node's metrics. It must be collected in the node's own thread.

    Args:
        network: The node; while it is not entered, nothing is collected.
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    def describe(self) -> Iterator[Family]:
        """The families, empty."""
        for metric in METRICS:
            yield _family(metric.name, ())

    def collect(self) -> Iterator[Family]:
        """The families as they are now."""
        rows: dict[str, Rows] = {**self._node(), **self._groups()}
        for metric in METRICS:
            yield _family(metric.name, rows.get(metric.name, ()))

    def _node(self) -> dict[str, Rows]:
        network = self._network
        endpoint, discovery = network._endpoint, network._discovery
        if endpoint is None or discovery is None:
            return {}
        counters = endpoint.counters
        refused = {name.removeprefix("refused: "): n for name, n in counters.items() if name.startswith("refused: ")}
        other = {
            name: n
            for name, n in counters.items()
            if not name.startswith(("refused: ", "datagrams in", "datagrams out"))
        }
        rtts = {peer.short: live.rtt for peer, live in sorted(endpoint.connections.items()) if live.rtt is not None}
        statuses = dict.fromkeys(STATUSES, 0)
        for record in discovery._gossip.catalog:
            statuses[record.status.value] += 1
        return {
            "p2praft_node": [((), {"peer_id": str(network.peer_id), "network": network.name, "version": __version__})],
            "p2praft_transport_connections": [((), len(endpoint.connections))],
            "p2praft_transport_datagrams": [((way,), counters[f"datagrams {way}"]) for way in ("in", "out")],
            "p2praft_transport_refused": _bounded(refused),
            "p2praft_transport_events": _bounded({_word(name): n for name, n in other.items()}),
            "p2praft_transport_rtt_seconds": [((peer,), rtt) for peer, rtt in list(rtts.items())[:MAX_LABELS]],
            "p2praft_discovery_peers": [((status,), n) for status, n in statuses.items()],
            "p2praft_discovery_refused": _bounded({_word(name): n for name, n in discovery._gossip.counters.items()}),
            "p2praft_discovery_neighbours": [((), len(discovery._links))],
        }

    def _groups(self) -> dict[str, Rows]:
        rows: dict[str, list[tuple[tuple[str, ...], Any]]] = {}
        for group in self._network.groups.values():
            for name, labels, value in _group(group):
                rows.setdefault(name, []).append(((group.name, *labels), value))
        return dict(rows)


def _group(group: Group) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    worker = group._worker
    engine, stats = worker.engine, worker.stats
    snapshot = engine.snapshot
    role = group.role
    single: dict[str, Any] = {
        "online": int(group.online),
        "leader": int(group.is_leader),
        "term": group.term,
        "voters": len(group.voters),
        "bonds": len(worker.bonds),
        "commit_index": group.committed,
        "applied_index": group.applied,
        "last_index": engine.last.index,
        "log_entries": engine.log_entries,
        "snapshot_index": snapshot.base.last.index if snapshot else 0,
        "elections": stats.campaigns,
        "terms_led": stats.terms_led,
        "pending_commands": worker.proposals.pending,
        "sessions": len(worker.applier.sessions),
        "commit_seconds": stats.commits,
        "storage_write_seconds": stats.writes,
    }
    for name, value in single.items():
        yield f"p2praft_group_{name}", (), value
    for name in ROLES:
        yield "p2praft_group_role", (name,), int(name == role)
    for kind, count in stats.events.items():
        yield "p2praft_group_events", (kind.replace(" ", "_"),), count
    if group.is_leader:
        for member in group.members[:MAX_LABELS]:
            if member.match is not None and member.peer_id != worker.me.peer_id:
                yield (
                    "p2praft_group_member_lag_entries",
                    (member.peer_id.short,),
                    max(0, engine.last.index - member.match),
                )


def _word(name: str) -> str:
    """A counter's name as a label's value."""
    return "_".join(name.replace(":", "").split())


def _bounded(counts: Mapping[str, int]) -> Rows:
    """The most frequent ones; the rest as ``other``."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    rows = [((name,), count) for name, count in ordered[:MAX_LABELS]]
    rest = sum(count for _, count in ordered[MAX_LABELS:])
    return [*rows, (("other",), rest)] if rest else rows


def _family(name: str, rows: Rows) -> Family:
    metric = _BY_NAME[name]
    if metric.kind == "info":
        info = InfoMetricFamily(name, metric.about)
        for _, labels in rows:
            info.add_metric((), labels)
        return info
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(name, metric.about, labels=metric.labels)
        for labels, value in rows:
            histogram.add_metric(labels, _buckets(value), sum_value=value.total)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(name, metric.about, labels=metric.labels)
    for labels, value in rows:
        family.add_metric(labels, value)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus wants them."""
    found: list[tuple[str, float]] = []
    count = 0
    for bound, more in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        count += more
        found.append(("+Inf" if bound == float("inf") else repr(bound), float(count)))
    return found


_BY_NAME = {metric.name: metric for metric in METRICS}
