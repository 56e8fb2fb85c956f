"""The map's machine against a dict with times: any commands, with copies by snapshot at any moment."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from p2praft.collections import MapMachine, history, map_machine
from p2praft.collections.map_machine import MapSnapshot
from tests.collections.support import context, travel

KEYS = st.sampled_from(["a", "a/1", "a/2", "b", "ü", "\U0001f600"])
VALUES = st.binary(max_size=3)
TTLS = st.one_of(st.none(), st.integers(1, 8).map(float))


class Model(RuleBasedStateMachine):
    """The machine, a copy that was made of it by a snapshot, and a dict of (value, version, end)."""

    def __init__(self) -> None:
        super().__init__()
        self.machines = [MapMachine()]
        self.now = 100.0
        self.index = 0
        self.model: dict[str, tuple[bytes, int, float | None]] = {}
        self.kept: list[tuple[MapSnapshot, bytes]] = []
        self.told: dict[str, bytes] = {}
        self.seen = 0

    @initialize(sweep=st.sampled_from([1, 2, 1000]))
    def choose_sweep(self, sweep: int) -> None:
        """However few entries a command sweeps, what readers see is the same."""
        map_machine.SWEEP = sweep

    def teardown(self) -> None:
        map_machine.SWEEP = 1000

    def apply(self, command: list[Any]) -> Any:
        self.index += 1
        results = [
            travel(machine, machine.apply(travel(machine, command), context(self.index, self.now)))
            for machine in self.machines
        ]
        assert all(result == results[0] for result in results)
        self.expire()
        return results[0]

    def expire(self) -> None:
        self.model = {key: held for key, held in self.model.items() if held[2] is None or held[2] > self.now}

    @rule(seconds=st.integers(0, 6))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        self.apply(["tick"])

    @rule(sets=st.dictionaries(KEYS, VALUES, max_size=3), deletes=st.lists(KEYS, max_size=2), ttl=TTLS)
    def write(self, sets: dict[str, bytes], deletes: list[str], ttl: float | None) -> None:
        done, version, removed = self.apply(["write", list(sets.items()), deletes, None, ttl])
        assert done
        self.follow(sets, deletes, ttl, version, removed)

    @rule(key=KEYS, expected=st.integers(0, 30), value=VALUES, ttl=TTLS)
    def compare_and_set(self, key: str, expected: int, value: bytes, ttl: float | None) -> None:
        found = self.model[key][1] if key in self.model else 0
        expected = found if expected % 2 else expected
        done, *rest = self.apply(["write", [[key, value]], [], {key: expected}, ttl])
        assert done == (found == expected)
        if done:
            self.follow({key: value}, [], ttl, *rest)
        else:
            assert rest == [key, found]

    def follow(self, sets: dict[str, bytes], deletes: list[str], ttl: float | None, version: int, removed: int) -> None:
        """What a write has made of the model."""
        gone = sum(key in {**self.model, **sets} for key in dict.fromkeys(deletes))
        assert removed == gone
        first = version - gone - len(sets) + 1
        for at, (key, value) in enumerate(sets.items()):
            self.model[key] = (value, first + at, None if ttl is None else self.now + ttl)
        for key in deletes:
            self.model.pop(key, None)

    @rule()
    def nonsense_changes_nothing_that_anybody_sees(self) -> None:
        before = dict(self.machines[0].state.items())
        for command in (["write", [[1, b""]], [], None, None], ["write", [["a", "text"]], [], None, None], ["what"]):
            for machine in self.machines:
                with pytest.raises((TypeError, KeyError)):
                    machine.apply(command, context(self.index, self.now))
        assert dict(self.machines[0].state.items()) == before

    @rule(size=st.integers(1, 50))
    def copy_by_snapshot(self, size: int) -> None:
        machine = self.machines[0]
        snapshot = machine.snapshot()
        data = b"".join(machine.chunks(snapshot))
        self.kept.append((snapshot, data))
        copy = MapMachine()
        copy.restore(copy.join(data[at : at + size] for at in range(0, len(data), size)))
        self.machines[1:] = [copy]

    @invariant()
    def all_hold_what_the_model_holds(self) -> None:
        for machine in self.machines:
            state = machine.state
            assert dict(state.items()) == self.model
            assert [key for key, _ in state.items()] == sorted(self.model)
            assert [key for key, _ in state.items("a/")] == sorted(key for key in self.model if key.startswith("a/"))
            assert [key for key, _ in state.items("", "a/1")] == sorted(key for key in self.model if key > "a/1")
            assert all(state.get(key) == held for key, held in self.model.items())
            due = machine.due()
            ends = [held[2] for held in self.model.values() if held[2] is not None]
            assert due is None or due[0] <= min(ends, default=due[0])
            assert due is not None or not ends

    @invariant()
    def copies_are_alike_byte_by_byte(self) -> None:
        states = [b"".join(machine.chunks(machine.snapshot())) for machine in self.machines]
        assert all(state == states[0] for state in states)
        assert all(b"".join(self.machines[0].chunks(snapshot)) == data for snapshot, data in self.kept)

    @invariant()
    def who_follows_the_changes_knows_the_state(self) -> None:
        machine = self.machines[-1]
        found = machine.history.after(self.seen, 1000)
        assert found is not None
        for version, (kind, key, *rest) in found:
            assert version == self.seen + 1
            self.seen = version
            if kind == "set":
                self.told[key] = rest[0]
            else:
                assert kind in ("delete", "expire")
                del self.told[key]
        assert self.seen == machine.version
        assert {key: self.told[key] for key in self.model} == {key: held[0] for key, held in self.model.items()}


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_snapshot_that_ends_too_early_is_refused() -> None:
    machine = MapMachine()
    machine.apply(["write", [["k", b"v"]], [], None, None], context())
    data = b"".join(machine.chunks(machine.snapshot()))
    for end in range(len(data)):
        with pytest.raises(ValueError, match="end too early"):
            machine.join([data[:end]])


def test_a_write_larger_than_the_history_leaves_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_CHANGES", 3)
    machine = MapMachine()
    machine.apply(["write", [[str(at), b""] for at in range(10)], [], None, None], context())
    assert (machine.version, machine.history.start, len(machine.history)) == (10, 7, 3)
    assert len(machine.state.entries) == 10
