"""Metrics for Prometheus (extra ``metrics``) and spans for OpenTelemetry, of a node as it runs.

::

    from p2praft.observability import registry
    prometheus_client.start_http_server(9100, registry=registry(net))   # or `p2praft up --api`, at /metrics

    from p2praft.observability.tracing import trace_group
    trace_group(group)                                                  # a span for each execute and query

Nothing is counted for their sake alone: a scrape reads the node's live state. A node that nobody scrapes or traces pays nothing.
"""

from __future__ import annotations

from p2praft.observability.collector import NodeCollector, registry
from p2praft.observability.names import METRICS

__all__ = ["METRICS", "NodeCollector", "registry"]
