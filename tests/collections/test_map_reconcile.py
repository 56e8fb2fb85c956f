"""Two maps come together: what only one changed is there, what both changed stays as it is here and is told."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings, strategies as st

from p2praft.collections import MapMachine
from p2praft.groups.machine import pack
from tests.collections.support import context, travel


class Side:
    """A map with a log of its own."""

    def __init__(self, before: MapMachine | None = None) -> None:
        self.machine = copy_of(before) if before else MapMachine()
        self.index = 0
        self.time = 1000.0

    def do(self, command: list[Any]) -> Any:
        self.index += 1
        machine = self.machine
        return travel(machine, machine.apply(travel(machine, command), context(self.index, self.time)))

    def set(self, ttl: float | None = None, **values: Any) -> None:
        self.do(["write", [(key, pack(value)) for key, value in values.items()], [], None, ttl])

    def delete(self, *keys: str) -> None:
        self.do(["write", [], list(keys), None, None])

    def values(self) -> dict[str, bytes]:
        return {key: stored[0] for key, stored in self.machine.state.items()}

    def take(self, sealed: Side, base: MapMachine | None) -> list[str]:
        """What another map brings; the keys in conflict."""
        machine = self.machine
        commands = machine.reconcile(state_of(sealed.machine), state_of(base) if base else None)
        conflicts = (machine.conflict(self.do(command)) for command in commands)
        return [key for key in conflicts if key is not None]


def state_of(machine: MapMachine) -> Any:
    return machine.join(list(machine.chunks(machine.snapshot())))


def copy_of(machine: MapMachine) -> MapMachine:
    copy = MapMachine()
    copy.restore(state_of(machine))
    return copy


def packed(**values: Any) -> dict[str, bytes]:
    return {key: pack(value) for key, value in values.items()}


def related(**values: Any) -> tuple[MapMachine, Side, Side]:
    """A map, and two that go on from it."""
    base = Side()
    base.set(**values)
    return base.machine, Side(base.machine), Side(base.machine)


def test_what_is_not_here_is_set() -> None:
    here, there = Side(), Side()
    here.set(a=1)
    there.set(b=2)
    assert here.take(there, None) == []
    assert here.values() == packed(a=1, b=2)


def test_what_both_have_stays_as_it_is_here_and_is_told() -> None:
    here, there = Side(), Side()
    here.set(a=1, c=3)
    there.set(a=2, c=3)
    assert here.take(there, None) == ["a"], "of equal values there is nothing to tell"
    assert here.values() == packed(a=1, c=3)


def test_what_only_the_other_changed_is_changed_here() -> None:
    base, here, there = related(a=1, b=1, c=1)
    there.set(a=2)
    there.delete("b")
    assert here.take(there, base) == []
    assert here.values() == packed(a=2, c=1)


def test_what_only_we_changed_stays() -> None:
    base, here, there = related(a=1, b=1)
    here.set(a=2)
    here.delete("b")
    there.set(c=1)
    assert here.take(there, base) == []
    assert here.values() == packed(a=2, c=1)


def test_what_both_changed_stays_as_it_is_here_and_is_told() -> None:
    base, here, there = related(a=1, b=1, c=1)
    here.set(a=2, b=2)
    there.set(a=3)
    there.delete("b")
    assert here.take(there, base) == ["a", "b"]
    assert here.values() == packed(a=2, b=2, c=1)


def test_what_was_deleted_here_and_changed_there_is_there() -> None:
    base, here, there = related(a=1)
    here.delete("a")
    there.set(a=2)
    assert here.take(there, base) == []
    assert here.values() == packed(a=2)


def test_a_time_to_live_ends_when_it_would_have_ended() -> None:
    here, there = Side(), Side()
    there.set(ttl=50, a=1)
    there.set(ttl=5, b=1)
    here.time = 1020.0
    assert here.take(there, None) == []
    assert {key: stored[2] for key, stored in here.machine.state.items()} == {"a": 1050.0}
    here.time = 1050.0
    here.do(["tick"])
    assert here.values() == {}


def test_what_ran_out_there_is_not_deleted_here() -> None:
    start = Side()
    start.set(ttl=10, a=1)
    here, there = Side(start.machine), Side(start.machine)
    here.set(a=2)
    there.time = 1020.0
    there.set(b=1)
    assert here.take(there, start.machine) == []
    assert here.values() == packed(a=2, b=1)


def test_versions_jump_above_the_other_s() -> None:
    here, there = Side(), Side()
    here.set(a=1)
    for value in range(9):
        there.set(b=value)
    here.take(there, None)
    stored = here.machine.state.get("b")
    assert stored is not None
    assert stored[1] == here.machine.version == 10
    assert here.machine.state.get("a") == (pack(1), 1, None)


def test_a_watcher_from_before_the_jump_gets_a_reset() -> None:
    here, there = Side(), Side()
    here.set(a=1)
    there.set(b=1, c=2, d=3)
    here.take(there, None)
    assert here.machine.history.after(1, 10) is None
    assert here.machine.history.after(3, 10) is not None


def test_where_nothing_changed_there_is_nothing_to_do() -> None:
    base, here, there = related(a=1)
    here.set(b=1)
    version = here.machine.version
    assert list(here.machine.reconcile(state_of(there.machine), state_of(base))) == []
    assert here.take(there, base) == []
    assert here.machine.version == version


def test_results_that_are_no_conflicts_are_not_taken_for_some() -> None:
    side = Side()
    commands: list[list[Any]] = [
        ["write", [("a", b"\xc0")], [], None, None],
        ["write", [], [], {"a": 9}, None],
        ["tick"],
    ]
    for command in commands:
        assert side.machine.conflict(side.do(command)) is None
    assert side.machine.conflict("conflict") is None


CHANGES = st.lists(
    st.tuples(st.sampled_from("abcd"), st.one_of(st.none(), st.integers(0, 3))), max_size=8
)  # a key and its value; None deletes


def change(side: Side, changes: list[tuple[str, int | None]]) -> None:
    for key, value in changes:
        if value is None:
            side.delete(key)
        else:
            side.set(**{key: value})


@settings(max_examples=200, deadline=None)
@given(before=CHANGES, ours=CHANGES, theirs=CHANGES, common=st.booleans())
def test_three_way_merge(
    before: list[tuple[str, int | None]],
    ours: list[tuple[str, int | None]],
    theirs: list[tuple[str, int | None]],
    common: bool,
) -> None:
    base, here, there = related()
    if common:
        change(start := Side(), before)
        base, here, there = start.machine, Side(start.machine), Side(start.machine)
    change(here, ours)
    change(there, theirs)
    was, mine, other = (values_of(machine) for machine in (base, here.machine, there.machine))
    conflicts = here.take(there, base if common else None)
    now = here.values()
    touched_there = {key for key, _ in theirs}
    touched_here = {key for key, _ in ours}
    for key in "abcd":
        if key not in touched_there:
            assert now.get(key) == mine.get(key), "they did not touch it"
        elif key not in touched_here and key not in conflicts and (common or key in other):
            assert now.get(key) == other.get(key) or (key not in other and key not in was)
        elif key in conflicts:
            assert now.get(key) == mine[key] != other.get(key)
    again = here.take(there, base if common else None)
    assert again == conflicts, "carrying it twice does no more"
    assert here.values() == now


def values_of(machine: MapMachine) -> dict[str, bytes]:
    return {key: stored[0] for key, stored in machine.state.items()}
