"""The replicated map: its machine as a plain value, and its handle on a machine without a group around it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from p2praft import ApplyContext, Consistency, Group, P2PRaftError, QueryResult, SecretKey
from p2praft.collections import Conflict, Map, MapEntry, MapMachine, StructureError
from p2praft.collections.map import MAX_KEY, MAX_VALUE, PAGE

pytestmark = pytest.mark.anyio
PEER = SecretKey.generate().peer_id


class OneMember:
    """A group of one that commits at once; commands and answers travel encoded, as they do in a real one."""

    def __init__(self, machine: MapMachine) -> None:
        self.machine = machine
        self.index = 0
        self.asked: list[tuple[Any, Consistency]] = []

    async def execute(self, command: Any, *, timeout: float = 10) -> Any:
        self.index += 1
        context = ApplyContext(index=self.index, term=1, peer_id=PEER, time=0.0)
        return self._travel(self.machine.apply(self._travel(command), context))

    async def query(self, query: Any, consistency: Consistency = Consistency.STRONG) -> QueryResult:
        self.asked.append((query, consistency))
        return QueryResult(self._travel(self.machine.query(query)), self.index)

    def _travel(self, value: Any) -> Any:
        return self.machine.decode(self.machine.encode(value))


@pytest.fixture
def member() -> OneMember:
    return OneMember(MapMachine())


@pytest.fixture
def shelf(member: OneMember) -> Map:
    return Map(cast(Group, member))


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


async def test_set_many_is_one_change(shelf: Map) -> None:
    assert await shelf.set_many({"a": 1, "b": 2}) == 1
    assert await shelf.items() == {"a": MapEntry(value=1, version=1), "b": MapEntry(value=2, version=1)}
    with pytest.raises(StructureError, match="at least one item"):
        await shelf.set_many({})


async def test_items_are_sorted_and_chosen_by_prefix(shelf: Map) -> None:
    await shelf.set_many({"b/2": 2, "a": 0, "b/1": 1, "c": 3})
    assert list(await shelf.items("b/")) == ["b/1", "b/2"]
    assert list(await shelf.items()) == ["a", "b/1", "b/2", "c"]
    assert await shelf.items("nothing") == {}


async def test_long_listings_are_read_in_pages(shelf: Map, member: OneMember) -> None:
    many = {f"key-{at:05}": at for at in range(2 * PAGE + 1)}
    await shelf.set_many(many)
    assert {key: entry.value for key, entry in (await shelf.items()).items()} == many
    assert len(member.asked) == 3


async def test_pages_are_bounded_in_bytes_too(shelf: Map, member: OneMember) -> None:
    for at in range(5):
        await shelf.set(f"key-{at}", bytes(MAX_VALUE - 5))
    assert len(await shelf.items()) == 5
    assert len(member.asked) == 3, "two such values fill a page"


async def test_reads_are_strong_unless_asked_otherwise(shelf: Map, member: OneMember) -> None:
    await shelf.get("k")
    await shelf.get("k", Consistency.WEAK)
    await shelf.items(consistency=Consistency.WEAK)
    assert [consistency for _, consistency in member.asked] == ["strong", "weak", "weak"]


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
    await shelf.set("d", "e")
    await shelf.delete("a")
    machine = member.machine
    copy = MapMachine()
    copy.restore(copy.decode(machine.encode(machine.snapshot())))
    other = Map(cast(Group, OneMember(copy)))
    assert await other.items() == await shelf.items()
    assert await other.set("x", 1) == 4, "the version goes on"
    assert await shelf.version() == 3, "the copy is one"


def test_errors_are_of_the_tree_and_of_the_language() -> None:
    assert issubclass(Conflict, StructureError)
    assert issubclass(StructureError, P2PRaftError)
    assert issubclass(StructureError, ValueError)
