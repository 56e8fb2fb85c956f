"""Watches on one member: what they tell, in which order, and that nothing is missed."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from p2praft import Offline
from p2praft.collections import Map, MapChange, MapEntry, MapMachine, MapReset, StructureError, Watch, history
from tests.collections.support import OneMember

pytestmark = pytest.mark.anyio
Events = Watch[MapChange[Any] | MapReset[Any]]


@pytest.fixture
def member() -> OneMember:
    return OneMember(MapMachine())


@pytest.fixture
def shelf(member: OneMember) -> Map:
    return Map(member.group)


async def take(watch: Events, count: int) -> list[Any]:
    """The next events."""
    with anyio.fail_after(30):
        return [await anext(watch) for _ in range(count)]


def brief(events: list[Any]) -> list[tuple[Any, ...]]:
    """Events as a person would note them."""
    return [(event.version, event.kind, event.key, event.value) for event in events]


async def test_changes_come_in_order_with_their_versions(shelf: Map) -> None:
    watch = shelf.watch()
    await shelf.set("a", 1)
    await shelf.set_many({"b": 2, "c": [3]})
    await shelf.delete("b")
    await shelf.delete("not there")
    assert await take(watch, 4) == [
        MapChange(kind="set", key="a", value=1, version=1),
        MapChange(kind="set", key="b", value=2, version=2),
        MapChange(kind="set", key="c", value=[3], version=3),
        MapChange(kind="delete", key="b", version=4),
    ]
    assert watch.version == 4


async def test_a_watch_waits_for_what_comes(shelf: Map) -> None:
    await shelf.set("before", 0)
    watch = shelf.watch()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(shelf.set, "a", 1)
        assert brief(await take(watch, 1)) == [(2, "set", "a", 1)]


async def test_only_what_is_watched_is_told_and_the_rest_is_passed_over(shelf: Map) -> None:
    watch = shelf.watch("a/")
    for at in range(1000):
        await shelf.set(f"b/{at}", at)
    await shelf.set("a/1", 1)
    assert brief(await take(watch, 1)) == [(1001, "set", "a/1", 1)]


async def test_whoever_comes_back_goes_on_where_it_was(shelf: Map) -> None:
    first = shelf.watch()
    await shelf.set_many({"a": 1, "b": 2, "c": 3})
    seen = await take(first, 2)
    await shelf.delete("a")
    assert brief(await take(shelf.watch(since=seen[-1].version), 2)) == [(3, "set", "c", 3), (4, "delete", "a", None)]
    assert brief(await take(shelf.watch(since=0), 1)) == [(1, "set", "a", 1)]


async def test_an_end_by_time_is_told(shelf: Map, member: OneMember) -> None:
    watch = shelf.watch()
    await shelf.set("lease", 1, ttl=5)
    member.time += 5
    await shelf.set("other", 2)
    first, *rest = await take(watch, 3)
    assert first.expires == member.time
    assert brief(rest) == [(2, "expire", "lease", None), (3, "set", "other", 2)]


async def test_what_is_no_longer_held_is_told_as_a_reset(shelf: Map, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_CHANGES", 3)
    watch, part = shelf.watch(), shelf.watch("b")
    for at in range(5):
        await shelf.set("ab"[at % 2], at)
    (reset,) = await take(watch, 1)
    assert isinstance(reset, MapReset)
    assert reset.version == watch.version == 5
    await shelf.set("a", "later")
    assert dict(reset.entries) == {"a": MapEntry(value=4, version=5), "b": MapEntry(value=3, version=4)}
    assert brief(await take(watch, 1)) == [(6, "set", "a", "later")]
    (reset,) = await take(part, 1)
    assert list(reset.entries) == ["b"]


async def test_a_slow_reader_misses_nothing(shelf: Map, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_CHANGES", 50)
    told: dict[str, Any] = {}
    watch, resets = shelf.watch(), 0
    for at in range(300):
        await shelf.write({f"k{at % 7}": at}, [f"k{at % 5 + 1}"])
        if at % 20 == 0:
            await watch_once(watch, told)
        if at == 150:
            for more in range(100):
                await shelf.set("k0", more)
    while watch.version < await shelf.version():
        resets += await watch_once(watch, told)
    assert told == {key: entry.value for key, entry in (await shelf.items()).items()}
    assert resets, "it was too slow for the history"


async def watch_once(watch: Events, told: dict[str, Any]) -> int:
    """Take one event into ``told``; 1 if it was a reset."""
    (event,) = await take(watch, 1)
    if isinstance(event, MapReset):
        told.clear()
        told.update((key, entry.value) for key, entry in event.entries.items())
        return 1
    if event.kind == "set":
        told[event.key] = event.value
    else:
        told.pop(event.key, None)
    return 0


async def test_a_member_that_is_behind_is_waited_for(shelf: Map, member: OneMember) -> None:
    for at in range(5):
        await shelf.set("k", at)
    behind = OneMember(MapMachine())
    behind.failing = [Offline("cut off"), Offline("cut off")]
    behind.on_strong = lambda: behind.replace(member.machine, member.index)
    watch: Events = Map[Any](behind.group).watch(since=4)
    assert brief(await take(watch, 1)) == [(5, "set", "k", 4)]
    assert behind.asked == ["strong"] * 3


async def test_another_history_is_told_as_a_reset(shelf: Map, member: OneMember) -> None:
    watch = shelf.watch()
    await shelf.set("a", 1)
    await take(watch, 1)
    other = OneMember(MapMachine())
    other.time += 1
    for key in ("b", "c"):
        other.apply(["write", [[key, b"\x02"]], [], None, None])
    member.replace(other.machine, 2)
    (reset,) = await take(watch, 1)
    assert isinstance(reset, MapReset)
    assert list(reset.entries) == ["b", "c"]
    assert member.asked[-1] == "strong", "not before the leader has confirmed that this is the state"


async def test_a_version_that_is_yet_to_come_is_no_mistake_but_ends_in_a_reset(shelf: Map, member: OneMember) -> None:
    await shelf.set("a", 1)
    watch = shelf.watch(since=7)
    (reset,) = await take(watch, 1)
    assert (reset.version, list(reset.entries)) == (1, ["a"])


async def test_it_ends_when_the_group_closes(shelf: Map, member: OneMember) -> None:
    await shelf.set("a", 1)
    member.close()
    assert brief([event async for event in shelf.watch(since=0)]) == [(1, "set", "a", 1)]
    assert [event async for event in shelf.watch()] == []


async def test_cancelling_loses_nothing(shelf: Map) -> None:
    watch = shelf.watch()
    for at in range(5):
        with anyio.move_on_after(0):
            await anext(watch)
        await shelf.set("k", at)
        with anyio.fail_after(30):
            assert brief([await anext(watch)]) == [(at + 1, "set", "k", at)]


def test_nonsense_is_refused(shelf: Map) -> None:
    with pytest.raises(StructureError, match="since=-1 is not allowed"):
        shelf.watch(since=-1)
