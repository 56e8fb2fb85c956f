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
from p2praft.collections import Map, history
from p2praft.http import ApiConfig, feed, guard, operation, serve_api
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
async def reading(
    served: Served, query: str = "", headers: dict[str, str] | None = None, path: str = "/v1/events"
) -> AsyncIterator[Stream]:
    async with served.client.stream("GET", f"{path}{query}", headers=headers) as answer:
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


async def test_a_map_is_watched_without_a_gap_at_whatever_node(served: Served) -> None:
    for value in range(3):
        await served.put("/v1/map/line/a", value)
    await served.put("/v1/map/line/b/c", "x")
    async with reading(served, "", path="/v1/watch/line?prefix=b") as stream:
        name, data, last = await stream.next("current", "set")
        assert (name, data, last) == ("current", {"version": 4}, "4")
        await served.put("/v1/map/line/a", 9)
        await served.put("/v1/map/line/b/d", {"y": 1})
        assert await stream.next("set") == ("set", {"key": "b/d", "value": {"y": 1}, "version": 6}, "6")
        await served.ask("DELETE", "/v1/map/line/b/c")
        assert await stream.next("delete") == ("delete", {"key": "b/c", "version": 7}, "7")
    async with reading(served, "", {"last-event-id": "4"}, path="/v1/watch/line") as stream:
        assert [(await stream.next("set", "delete", "reset", "current"))[1]["version"] for _ in range(3)] == [5, 6, 7]


async def test_a_watch_behind_what_is_held_begins_with_all_that_stands(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MAX_CHANGES", 2)
    for key in "abc":
        await served.put(f"/v1/map/line/{key}", key)
    async with reading(served, "", path="/v1/watch/line?since=0") as stream:
        seen = [await stream.next("reset", "entry", "current", "set") for _ in range(5)]
        assert [(name, data.get("key"), last) for name, data, last in seen] == [
            ("reset", None, None),
            ("entry", "a", None),
            ("entry", "b", None),
            ("entry", "c", None),
            ("current", None, "3"),  # only from here may a reader go on: it might not have had all the entries
        ]


async def test_changes_of_maps_are_among_the_nodes_events(served: Served) -> None:
    async with reading(served, "?types=map") as stream:
        await served.put("/v1/map/line/a", 1)
        _, data, last = await stream.next("map")
        assert (data["group"], data["kind"], data["key"], data["value"], data["version"]) == ("line", "set", "a", 1, 1)
        assert last is None  # not kept: the map's own watch is for those who must not miss one
        await served.put("/v1/map/line/b?ttl=0.05", "x" * 2000)
        _, data, _ = await stream.next("map")
        assert (data["key"], data["value"]) == ("b", None)  # too large to be told to everybody
        assert (await stream.next("map"))[1]["kind"] == "expire"
        await Map[int](served.group).set_many({str(number): number for number in range(1000)})
        assert (await stream.next("map"))[1].items() >= {"kind": "many", "version": 1003}.items()


async def test_silence_is_broken_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation, "STILL_HERE", 0.1)
    async with serving() as served, served.client.stream("GET", "/v1/events?types=group") as answer:
        with anyio.fail_after(10):
            async for line in answer.aiter_lines():
                if line == ": still here":
                    return
    raise AssertionError("no comment came")


async def test_readers_are_bounded_and_counted(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation, "MAX_STREAMS", 1)
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
