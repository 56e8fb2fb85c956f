"""Logs: one event a line, with the group, the term and the peer as fields; quiet unless asked."""

from __future__ import annotations

import logging

import pytest

from p2praft.collections import Map
from tests.observability.test_metrics import members

pytestmark = pytest.mark.anyio


async def test_events_carry_group_term_and_peer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "p2praft.group")
    async with members(2) as made:
        leader = made[0][1].leader
        assert leader is not None
        found = [record for record in caplog.records if getattr(record, "event", None) == "leader"]
        assert found
        for record in found:
            assert record.levelno == logging.INFO
            assert record.__dict__["group"] == "line"
            assert record.__dict__["term"] >= (record.__dict__["peer"] is not None)
        assert any(record.__dict__["peer"] == str(leader) for record in found)
        line = next(record.getMessage() for record in found if record.__dict__["peer"] == str(leader))
        assert line.startswith("group line term ")
        assert leader.short in line
        assert "\n" not in line


async def test_a_healthy_group_says_nothing_unasked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with members(3) as made:
        for number in range(20):
            await Map[int](made[0][1]).set("a", number)
    assert [record.getMessage() for record in caplog.records] == []
