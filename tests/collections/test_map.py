"""The replicated map: its machine as a plain value, and its handle on a machine without a group around it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import anyio
import pytest

from p2praft import Consistency, P2PRaftError
from p2praft.collections import Conflict, Map, MapEntry, MapMachine, MapReader, StructureError
from p2praft.collections.map import MAX_KEY, MAX_VALUE
from tests.collections.support import OneMember
from tests.groups.conftest import Counter

pytestmark = pytest.mark.anyio


@pytest.fixture
def member() -> OneMember:
    return OneMember(MapMachine())


@pytest.fixture
def shelf(member: OneMember) -> Map:
    return Map(member.group)


async def test_what_is_set_can_be_read_with_the_version_that_wrote_it(shelf: Map) -> None:
    assert await shelf.get("apple") is None
    assert await shelf.set("apple", 3) == 1
    assert await shelf.set("pear", "green") == 2
    assert await shelf.get("apple") == MapEntry(value=3, version=1)
    assert await shelf.set("apple", 4) == 3
    assert await shelf.get("apple") == MapEntry(value=4, version=3)
    assert await shelf.version() == 3


@pytest.mark.parametrize(
    "value",
    [None, True, -(2**63), 2**64 - 1, 1.5, "", "ü", b"\x00\xff", [], [[1], {"a": None}], {"a": {"b": [1]}}, {1: 2}],
)
async def test_values_come_back_as_they_were(shelf: Map, value: Any) -> None:
    await shelf.set("k", value)
    entry = await shelf.get("k")
    assert entry is not None
    assert entry.value == value
    assert type(entry.value) is type(value)


async def test_times_come_back_aware(shelf: Map) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    await shelf.set("k", moment)
    assert (await shelf.items())["k"].value == moment


async def test_who_changes_what_he_read_does_not_change_the_map(shelf: Map) -> None:
    await shelf.set("k", [1])
    entry = await shelf.get("k")
    assert entry is not None
    entry.value.append(2)
    assert await shelf.get("k") == MapEntry(value=[1], version=1)


async def test_compare_and_set_changes_only_the_expected_version(shelf: Map) -> None:
    assert await shelf.set("k", "first", expected=0) == 1
    with pytest.raises(Conflict, match="key 'k' is at version 1, not 0; read it again") as conflict:
        await shelf.set("k", "second", expected=0)
    assert conflict.value.version == 1
    assert await shelf.version() == 1, "a refused change is no change"
    assert await shelf.set("k", "second", expected=1) == 2
    with pytest.raises(Conflict, match="at version 0, not 2"):
        await shelf.set("other", "x", expected=2)


async def test_delete_says_whether_there_was_anything(shelf: Map) -> None:
    await shelf.set("k", 1)
    assert await shelf.delete("k") == 2
    assert await shelf.delete("k") is None
    assert await shelf.get("k") is None
    assert await shelf.version() == 2
    assert await shelf.set("k", 2, expected=0) == 3, "a deleted key is as one that never was"


async def test_set_many_is_one_command_and_each_key_has_its_version(shelf: Map, member: OneMember) -> None:
    assert await shelf.set_many({"a": 1, "b": 2}) == 2
    assert await shelf.items() == {"a": MapEntry(value=1, version=1), "b": MapEntry(value=2, version=2)}
    assert member.index == 1
    with pytest.raises(StructureError, match="at least one item"):
        await shelf.set_many({})


async def test_delete_many_says_how_many_there_were(shelf: Map, member: OneMember) -> None:
    await shelf.set_many({"a": 1, "b": 2, "c": 3})
    assert await shelf.delete_many(["c", "x", "a"]) == 2
    assert list(await shelf.items()) == ["b"]
    assert member.index == 2
    refused: list[Any] = [[], "b"]
    for nothing in refused:
        with pytest.raises(StructureError, match="at least one key"):
            await shelf.delete_many(nothing)


async def test_delete_may_be_conditional(shelf: Map) -> None:
    await shelf.set("a", 1)
    with pytest.raises(Conflict, match="at version 1, not 2") as conflict:
        await shelf.delete("a", expected=2)
    assert (conflict.value.key, conflict.value.version) == ("a", 1)
    assert await shelf.delete("a", expected=1) == 2
    assert await shelf.delete("a", expected=0) is None


async def test_write_happens_whole_or_not_at_all(shelf: Map) -> None:
    await shelf.set_many({"from": 10, "to": 0})
    view = await shelf.view()
    conditions = {"from": view["from"].version, "to": view["to"].version, "frozen": 0}
    assert await shelf.write({"from": 7, "to": 3}, ["old"], expected=conditions) == 4
    with pytest.raises(Conflict, match="'from' is at version 3, not 1") as conflict:
        await shelf.write({"from": 0, "to": 10}, expected=conditions)
    assert conflict.value.key == "from"
    assert {key: entry.value for key, entry in (await shelf.items()).items()} == {"from": 7, "to": 3}
    assert await shelf.write(expected={"from": 3}) == 4, "only to look whether it still holds"


async def test_items_are_sorted_and_chosen_by_prefix(shelf: Map) -> None:
    await shelf.set_many({"b/2": 2, "a": 0, "b/1": 1, "c": 3})
    assert list(await shelf.items("b/")) == ["b/1", "b/2"]
    assert list(await shelf.items()) == ["a", "b/1", "b/2", "c"]
    assert await shelf.items("nothing") == {}


async def test_long_listings_are_of_one_moment(shelf: Map) -> None:
    await shelf.set_many({f"key-{at:05}": at for at in range(3000)})
    seen = []
    async for key, entry in shelf.scan("key-", after="key-00009"):
        seen.append((key, entry.value))
        await shelf.set(key, "changed while we look")
    assert seen == [(f"key-{at:05}", at) for at in range(10, 3000)]


async def test_a_view_stays_as_it_is(shelf: Map) -> None:
    await shelf.set_many({"a/1": 1, "a/2": 2, "b": 3})
    everything, part = await shelf.view(), await shelf.view("a/")
    await shelf.write({"a/3": 4}, ["a/1"])
    assert list(everything) == ["a/1", "a/2", "b"]
    assert list(part) == ["a/1", "a/2"]
    assert (len(everything), len(part), everything.version) == (3, 2, 3)
    assert part["a/1"] == MapEntry(value=1, version=1)
    assert "b" in everything
    assert "b" not in part
    assert part.get("b") is None
    assert list(dict(everything.scan("b"))) == list(dict(everything.scan(after="a/2"))) == ["b"]
    assert list(dict(part.scan(""))) == list(dict(part.scan("a"))) == ["a/1", "a/2"]
    assert list(part.scan("b")) == []
    assert list(dict(part.scan("a/2"))) == ["a/2"]


async def test_reads_are_strong_unless_asked_otherwise(shelf: Map, member: OneMember) -> None:
    await shelf.get("k")
    await shelf.get("k", Consistency.WEAK)
    await shelf.items(consistency=Consistency.WEAK)
    assert member.asked == ["strong", "weak", "weak"]


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY + 1), 7, None, "\ud800"])
async def test_keys_that_are_not_allowed(shelf: Map, member: OneMember, key: Any) -> None:
    for call in (shelf.set(key, 1), shelf.get(key), shelf.delete(key), shelf.set_many({key: 1})):
        with pytest.raises(StructureError, match="is not allowed"):
            await call
    assert member.index == 0, "nothing was sent"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (object(), "cannot be stored"),
        ({1, 2}, "cannot be stored"),
        (2**64, "cannot be stored"),
        ("\ud800", "cannot be stored"),
        ({(1, 2): 3}, "cannot be stored"),
        (bytes(MAX_VALUE), f"at most {MAX_VALUE}"),
    ],
)
async def test_values_that_are_not_allowed(shelf: Map, member: OneMember, value: Any, why: str) -> None:
    with pytest.raises(StructureError, match=why):
        await shelf.set("k", value)
    assert member.index == 0


async def test_the_longest_key_and_the_largest_value_are_allowed(shelf: Map) -> None:
    key, value = "ü" * MAX_KEY, bytes(MAX_VALUE - 5)
    await shelf.set(key, value)
    assert await shelf.get(key) == MapEntry(value=value, version=1)


async def test_a_snapshot_restores_everything(shelf: Map, member: OneMember) -> None:
    await shelf.set_many({"a": [1, 2], "b": {"c": None}})
    await shelf.set("d", "e", ttl=60)
    await shelf.delete("a")
    other = OneMember(MapMachine())
    other.replace(member.machine)
    copy: Map[Any] = Map(other.group)
    assert await copy.items() == await shelf.items()
    assert await copy.set("x", 1) == 5, "the version goes on"
    assert await shelf.version() == 4, "the copy is one"


async def test_an_entry_with_a_time_to_live_ends_by_the_logs_time(shelf: Map, member: OneMember) -> None:
    await shelf.set("lease", "mine", ttl=10)
    assert await shelf.get("lease") == MapEntry(value="mine", version=1, expires=member.time + 10)
    member.time += 9.9
    await shelf.set("other", 1)
    assert await shelf.get("lease") is not None
    member.time += 0.1
    assert await shelf.get("lease") is not None, "no command has told the map that time has passed"
    await shelf.set("other", 2)
    assert await shelf.get("lease") is None
    assert await shelf.version() == 4, "its end is a change"
    assert await shelf.set("lease", "yours", expected=0) == 5


async def test_setting_again_sets_the_time_to_live_anew(shelf: Map, member: OneMember) -> None:
    await shelf.set_many({"a": 1, "b": 1, "c": 1}, ttl=10)
    member.time += 5
    await shelf.set("a", 2, ttl=10)
    await shelf.set("b", 2)
    member.time += 6
    await shelf.set("other", 1)
    assert list(await shelf.items()) == ["a", "b", "other"]
    member.time += 6
    await shelf.set("other", 2)
    assert list(await shelf.items()) == ["b", "other"]


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), 1e12, "60"])
async def test_times_to_live_that_are_not_allowed(shelf: Map, member: OneMember, ttl: Any) -> None:
    with pytest.raises(StructureError, match="is not allowed: it is a number of seconds"):
        await shelf.set("k", 1, ttl=ttl)
    assert member.index == 0


@pytest.mark.parametrize("value", [float("nan"), [1, {"a": (float("inf"),)}], {float("-inf"): 1}])
async def test_numbers_that_are_not_finite_are_refused(shelf: Map, member: OneMember, value: Any) -> None:
    with pytest.raises(StructureError, match="the value of 'k' cannot be stored: a number in it is not finite"):
        await shelf.set("k", value)
    assert member.index == 0


async def test_values_are_a_hundred_deep_at_most(shelf: Map, member: OneMember) -> None:
    deep: Any = {"a": 1}
    for _ in range(99):
        deep = [deep]
    assert await shelf.set("k", deep) == 1
    for value in ([deep], {"b": deep}, [[[deep]]]):
        with pytest.raises(StructureError, match="the value of 'k' cannot be stored: lists and objects stand in it"):
            await shelf.set("k", value)
    assert member.index == 1


@pytest.mark.parametrize("version", [-1, "1", 1.5, 2**63])
async def test_versions_that_are_none(shelf: Map, member: OneMember, version: Any) -> None:
    with pytest.raises(StructureError, match="is not allowed"):
        await shelf.set("k", 1, expected=version)
    with pytest.raises(StructureError, match="is not allowed"):
        shelf.watch(since=version)
    assert member.index == 0


async def test_values_of_ones_own_type(member: OneMember) -> None:
    dates = Map[date](member.group, encode=date.isoformat, decode=date.fromisoformat)
    await dates.set("k", date(2026, 1, 2))
    entry = await dates.get("k")
    assert entry is not None
    assert entry.value.year == 2026
    reader = MapReader[date](member.group, decode=date.fromisoformat)
    assert (await reader.view())["k"].value == date(2026, 1, 2)
    assert not hasattr(reader, "set")


def test_a_group_that_replicates_something_else_is_refused() -> None:
    with pytest.raises(StructureError, match=r"replicates a Counter.*machine=MapMachine\(\)"):
        Map(OneMember(Counter()).group)


async def test_waiting_for_a_version(shelf: Map) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(shelf.set_many, {"a": 1, "b": 2})
        assert await shelf.when.reaches(2) == 2
    assert await shelf.when.reaches(1) == 2


def test_errors_are_of_the_tree_and_of_the_language() -> None:
    assert issubclass(Conflict, StructureError)
    assert issubclass(StructureError, P2PRaftError)
    assert issubclass(StructureError, ValueError)
