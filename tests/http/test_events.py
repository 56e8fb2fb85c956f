"""Server-sent events: first where the node stands, then what happens; nothing missed without a word."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from p2praft import GroupEvent, HostPort
from p2praft.http import ApiConfig, feed, guard, live, serve_api
from tests.http.conftest import Served, serving

pytestmark = pytest.mark.anyio


class Stream:
    """Reads one stream."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def next(self, *names: str) -> tuple[str, Any, str | None]:
        """The next event with one of these names: name, data, id."""
        fields: dict[str, str] = {}
        async for line in self._lines:
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields.get("event") in names:
                return fields["event"], json.loads(fields["data"]), fields.get("id")
            else:
                fields = {}
        raise AssertionError(f"the stream ended before one of {names}")


@asynccontextmanager
async def reading(served: Served, query: str = "", headers: dict[str, str] | None = None) -> AsyncIterator[Stream]:
    async with served.client.stream("GET", f"/v1/events{query}", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield Stream(aiter(answer.aiter_lines()))


def happen(served: Served, text: str) -> None:
    """Something happens in the group."""
    served.group._worker.tell(GroupEvent(kind="voters", term=1, text=text))


async def test_where_the_node_stands_comes_first_and_whenever_it_changes(served: Served) -> None:
    async with reading(served) as stream:
        _, state, _ = await stream.next("state")
        assert state["peer_id"] == str(served.network.peer_id)
        assert state["groups"][0]["members"][0]["self"] is True
        assert (await stream.next("peers"))[1] == []
        before = state["groups"][0]["committed"]
        await served.put("/v1/map/line/a", 1)
        while (await stream.next("state"))[1]["groups"][0]["committed"] <= before:
            pass


async def test_a_reader_that_comes_back_is_told_what_it_missed(served: Served) -> None:
    async with reading(served, "?types=group") as stream:
        happen(served, "one")
        _, first, last = await stream.next("group")
        assert (first["text"], first["group"], first["kind"]) == ("one", "line", "voters")
    happen(served, "two")
    happen(served, "three")
    await anyio.sleep(0.05)
    assert last is not None
    for query, headers in (("?types=group", {"last-event-id": last}), (f"?types=group&last_event_id={last}", None)):
        async with reading(served, query, headers) as stream:
            assert [(await stream.next("group", "reset"))[1]["text"] for _ in range(2)] == ["two", "three"]


async def test_what_can_no_longer_be_told_is_a_reset(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    happen(served, "one")
    for last in ("beef-1", "nonsense", f"{'x' * 40}"):
        async with reading(served, "?types=group", {"last-event-id": last}) as stream:
            assert (await stream.next("group", "reset"))[0] == "reset"


async def test_a_new_reader_may_ask_for_the_recent_past(served: Served) -> None:
    for number in range(5):
        happen(served, str(number))
    await anyio.sleep(0.05)
    async with reading(served, "?types=group&recent=2") as stream:
        assert [(await stream.next("group"))[1]["text"] for _ in range(2)] == ["3", "4"]


async def test_silence_is_broken_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STILL_HERE", 0.1)
    async with serving() as served, served.client.stream("GET", "/v1/events?types=group") as answer:
        with anyio.fail_after(10):
            async for line in answer.aiter_lines():
                if line == ": still here":
                    return
    raise AssertionError("no comment came")


async def test_readers_are_bounded_and_counted(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_READERS", 1)
    async with reading(served) as stream:
        await stream.next("state")
        status, body = await served.get("/v1/events")
        assert (status, body["error"]) == (503, "Busy")
    with anyio.fail_after(10):
        status = 503
        while status != 200:  # until the node has noticed that the first one went
            async with served.client.stream("GET", "/v1/events") as answer:
                status = answer.status_code


async def test_a_reader_that_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "SEND_TIME", 0.3)
    monkeypatch.setattr(feed, "KEPT", 64)
    async with serving() as served:
        async with await anyio.connect_tcp("127.0.0.1", served.bound.port) as stream:
            await stream.send(b"GET /v1/events?types=group HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await stream.receive()
            with anyio.fail_after(20):
                # More than the kernel's buffers take; what is queued for it here stays bounded all the while.
                for _ in range(600):
                    happen(served, "x" * 60_000)
                    await anyio.sleep(0.001)
                left = b""
                with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    while True:
                        left = await stream.receive()
                del left
        assert (await served.get("/healthz"))[0] == 200


async def test_stopping_ends_open_streams_and_leaves_nothing_behind(served: Served) -> None:
    before = {task.id for task in anyio.get_running_tasks()}
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            bound: HostPort = await tasks.start(serve_api, served.network, ApiConfig(listen=HostPort("127.0.0.1", 0)))
            async with await anyio.connect_tcp("127.0.0.1", bound.port) as stream:
                await stream.send(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert (await stream.receive()).startswith(b"HTTP/1.1 200")
                tasks.cancel_scope.cancel()
                with anyio.CancelScope(shield=True), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    while True:
                        await stream.receive()
        await anyio.lowlevel.checkpoint()
    assert {task.id for task in anyio.get_running_tasks()} <= before
    with pytest.raises(OSError):  # noqa: PT011
        await anyio.connect_tcp("127.0.0.1", bound.port)
