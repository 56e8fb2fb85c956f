"""Spans: one for each call on a group that is traced, and nothing for any other."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from p2praft import Consistency
from p2praft.collections import Map
from p2praft.observability.tracing import trace_group
from tests.observability.test_metrics import members

pytestmark = pytest.mark.anyio


def exporting() -> tuple[Any, Any]:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


async def test_each_call_is_a_span() -> None:
    provider, exporter = exporting()
    async with members(1) as [(_, group)]:
        await Map[int](group).set("before", 1)
        trace_group(group, provider)
        await Map[int](group).set("a", 1)
        await group.query(None, Consistency.WEAK)
        with pytest.raises(Exception, match="at version 2"):
            await Map[int](group).set("a", 1, expected=7)  # refused by the map, not by the group: the span is sound
        group.trace(None)
        await Map[int](group).set("after", 1)
    spans = exporter.get_finished_spans()
    assert [span.name for span in spans] == ["p2praft.execute", "p2praft.query", "p2praft.execute"]
    assert dict(spans[0].attributes) == {
        "p2praft.group": "line",
        "p2praft.term": 1,
        "p2praft.leader": True,
        "p2praft.commands": 1,
    }
    assert spans[1].attributes["p2praft.consistency"] == "weak"
    assert all(span.status.is_ok or span.status.is_unset for span in spans)


async def test_an_error_is_in_its_span() -> None:
    provider, exporter = exporting()
    async with members(1) as [(_, group)]:
        trace_group(group, provider)
    with pytest.raises(Exception, match="closed"):
        await group.execute(["write", [], [], None, None])
    (span,) = exporter.get_finished_spans()
    assert not span.status.is_ok
    assert span.events[0].name == "exception"


def test_nothing_is_loaded_unasked() -> None:
    code = (
        "import sys, p2praft; sys.exit(any(name.startswith(('opentelemetry', 'prometheus')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
