"""Every metric there is: its name, what it is, and its labels. The Grafana dashboard and the guide are checked against it.

Names follow Prometheus' conventions: a prefix, base units, ``_total`` on counters, no unit or type in labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """One family.

    Attributes:
        name: Without the suffixes that its kind adds when exposed: ``_total``, ``_bucket``, ``_sum``, ``_count``, ``_info``.
        kind: What it is.
        about: For people.
        labels: Their names.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram", "info"]
    about: str
    labels: tuple[str, ...] = ()

    @property
    def exposed(self) -> tuple[str, ...]:
        """The names of its series."""
        if self.kind == "counter":
            return (f"{self.name}_total",)
        if self.kind == "histogram":
            return tuple(f"{self.name}_{suffix}" for suffix in ("bucket", "count", "sum"))
        return (f"{self.name}_info",) if self.kind == "info" else (self.name,)


GROUP = ("group",)
METRICS: tuple[Metric, ...] = (
    Metric("p2praft_node", "info", "Which node this is.", ("peer_id", "network", "version")),
    # --- transport
    Metric("p2praft_transport_connections", "gauge", "Live, proven connections."),
    Metric("p2praft_transport_datagrams", "counter", "UDP datagrams.", ("direction",)),
    Metric("p2praft_transport_refused", "counter", "Connections that were refused or ended, by reason.", ("reason",)),
    Metric("p2praft_transport_events", "counter", "What else the transport counts.", ("event",)),
    Metric("p2praft_transport_rtt_seconds", "gauge", "Smoothed round-trip time to a connected peer.", ("peer",)),
    # --- discovery
    Metric("p2praft_discovery_peers", "gauge", "Other nodes in the catalog, by status.", ("status",)),
    Metric("p2praft_discovery_neighbours", "gauge", "Peers that news is exchanged with directly."),
    Metric(
        "p2praft_discovery_refused", "counter", "What neighbours sent and was not believed, by reason.", ("reason",)
    ),
    # --- groups
    Metric("p2praft_group_online", "gauge", "1 if a leader is known and in reach, else 0.", GROUP),
    Metric("p2praft_group_leader", "gauge", "1 if this node leads, else 0.", GROUP),
    Metric("p2praft_group_role", "gauge", "1 for the role that this node has, 0 for the others.", ("group", "role")),
    Metric("p2praft_group_term", "gauge", "Latest term seen.", GROUP),
    Metric("p2praft_group_voters", "gauge", "Members whose majority decides.", GROUP),
    Metric("p2praft_group_bonds", "gauge", "Members bonded with this node.", GROUP),
    Metric("p2praft_group_commit_index", "gauge", "Highest log index known to be committed.", GROUP),
    Metric("p2praft_group_applied_index", "gauge", "Index of the last entry in the state machine.", GROUP),
    Metric("p2praft_group_last_index", "gauge", "Where the log ends.", GROUP),
    Metric("p2praft_group_log_entries", "gauge", "Entries held behind the newest compaction.", GROUP),
    Metric("p2praft_group_snapshot_index", "gauge", "Where the newest snapshot ends; 0 if there is none.", GROUP),
    Metric(
        "p2praft_group_member_lag_entries", "gauge", "Entries that a member lacks; known to leaders.", ("group", "peer")
    ),
    Metric("p2praft_group_elections", "counter", "How often this node became a candidate.", GROUP),
    Metric("p2praft_group_terms_led", "counter", "How often this node became the leader.", GROUP),
    Metric("p2praft_group_events", "counter", "What happened in the group, by kind.", ("group", "kind")),
    Metric("p2praft_group_pending_commands", "gauge", "Commands of this node that are not settled.", GROUP),
    Metric("p2praft_group_sessions", "gauge", "Sessions in the replicated table.", GROUP),
    Metric("p2praft_group_commit_seconds", "histogram", "From proposing on this node until it is applied here.", GROUP),
    Metric("p2praft_group_storage_write_seconds", "histogram", "Durable writes, each of all that queued up.", GROUP),
)
