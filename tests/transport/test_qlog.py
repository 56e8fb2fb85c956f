"""Traces of connections: one file each, and never more than is bounded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.transport.support import need
from transport import ConfigError, HostPort, QuicConfig, QuicTransport, SecretKey, qlog
from transport.engine import EngineName

pytestmark = pytest.mark.anyio
HERE = HostPort("127.0.0.1", 0)


async def converse(folder: Path, engine: EngineName = "aioquic") -> None:
    config = QuicConfig(engine=engine, qlog=str(folder))
    async with QuicTransport(config).bind(SecretKey.generate(), listen=HERE) as one:
        async with QuicTransport(config).bind(SecretKey.generate(), listen=HERE) as other:
            await one.connect(other.address)


@pytest.mark.parametrize("engine", ["aioquic", "qh3"])
async def test_each_end_of_a_connection_writes_what_it_did(tmp_path: Path, engine: EngineName) -> None:
    need(engine)
    await converse(tmp_path / "new" / "folder", engine)
    files = sorted((tmp_path / "new" / "folder").glob("*.qlog"))
    assert [path.stem.partition("-")[2] for path in files] == ["client", "server"]
    for path in files:
        written = json.loads(path.read_text())
        (trace,) = written["traces"]
        names = {event["name"] for event in trace["events"]}
        assert {"transport:packet_sent", "transport:packet_received"} <= names


async def test_events_and_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qlog, "MAX_EVENTS", 5)
    monkeypatch.setattr(qlog, "MAX_FILES", 3)
    folder = qlog.QlogDirectory(tmp_path)
    for number in range(10):
        trace = folder.start_trace(True, bytes([number]))
        for at in range(20):
            trace.log_event(category="test", event="happened", data={"at": at})
        folder.end_trace(trace)
        folder.end_trace(trace)  # ended twice is ended once
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"0{n}-client.qlog" for n in (7, 8, 9)]
    (last,) = json.loads((tmp_path / "09-client.qlog").read_text())["traces"]
    assert [event["data"]["at"] for event in last["events"]] == [15, 16, 17, 18, 19]


async def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file/x' cannot be used as a folder"):
        await converse(tmp_path / "file" / "x")
