"""What is to be carried of an archive, from which state on, and what comes of a ``reconcile`` that is no good."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from p2praft import StateMachine
from p2praft.groups import carrying
from p2praft.groups.carrying import Code, Outcome, finish, plan, prepare
from p2praft.groups.lineage import Loaded
from p2praft.groups.machine import pack
from p2praft.raft.entries import MAX_COMMAND
from p2praft.raft.histories.messages import End
from p2praft.raft.types import Cursor, Index, Term
from tests.groups.lines import Counter, Journal, Line, Words, outcome, parts


def family(kind: type[Any] = Counter, *before: Any) -> tuple[Line, Line]:
    """Two histories that were born of one, which held ``before``."""
    parent = Line("parent", kind())
    parent.write(*(before or (5,)))
    return parent.child("living", kind()), parent.child("ended", kind())


def carried(source: Loaded, living: Line, machine: StateMachine) -> Any:
    """The living state behind what an archive brings."""
    living.take(*parts(source, living, machine))
    return living.machine.query(None)


# --- unrelated histories


def test_all_of_an_unrelated_history_is_carried() -> None:
    living, ended = Line("living", Counter()), Line("ended", Counter())
    living.write(1)
    ended.write(10, 20)
    assert carried(ended.archive(into=living), living, Counter()) == 31


def test_a_compacted_state_is_as_good_as_a_log() -> None:
    living, ended = Line("living", Counter()), Line("ended", Counter())
    ended.write(10)
    ended.snapshot()
    ended.write(20)
    assert carried(ended.archive(into=living), living, Counter()) == 30


def test_the_list_is_the_same_from_a_log_and_from_a_snapshot() -> None:
    living, ended = Line("living", Words()), Line("ended", Words())
    ended.write("b", "a")
    whole = parts(ended.archive(into=living), living, Words())
    ended.snapshot()
    assert parts(ended.archive(into=living), living, Words()) == whole


def test_of_an_unrelated_history_that_is_replayed_the_log_brings_what_it_has() -> None:
    living, ended = Line("living", Journal()), Line("ended", Journal())
    ended.write("a")
    ended.snapshot()
    ended.write("b", "bad")
    got = outcome(ended.archive(into=living), living, Journal())
    assert (got.code, got.left_out) == (Code.CARRIED, 1)
    assert carried(ended.archive(into=living), living, Journal()) == ["b"], "and what failed is left out"


# --- histories with something in common


def test_what_both_have_is_counted_once() -> None:
    living, ended = family()
    living.write(1)
    ended.write(10)
    assert carried(ended.archive(into=living), living, Counter()) == 16


def test_the_living_one_may_descend_from_the_other() -> None:
    parent = Line("parent", Counter())
    parent.write(5)
    living = parent.child("living", Counter())
    parent.write(10)
    late = parent.archive(End.LEFT, living, whole=False)
    assert carried(late, living, Counter()) == 15


def test_the_other_may_descend_from_the_living_one() -> None:
    living = Line("living", Counter())
    living.write(5)
    ended = living.child("ended", Counter())
    living.write(1)
    ended.write(10)
    assert carried(ended.archive(into=living), living, Counter()) == 16


def test_replayed_are_the_commands_behind_the_branch() -> None:
    living, ended = family(Journal, "both")
    living.write("ours")
    ended.write("theirs")
    assert carried(ended.archive(into=living), living, Journal()) == ["both", "ours", "theirs"]


def test_a_member_that_left_at_the_branch_has_nothing() -> None:
    parent = Line("parent", Counter())
    parent.write(5)
    living = parent.child("living", Counter())
    for archive in (
        parent.archive(End.LEFT, living, whole=False),
        parent.archive(End.SEALED),
        parent.archive(End.LEFT, living, upto=2),
    ):
        got = outcome(archive, living, Counter())
        assert (got.code, got.left_out) == (Code.NOTHING, 0)


def test_a_member_that_abandoned_the_living_history_has_nothing() -> None:
    living = Line("living", Counter())
    living.write(5)
    assert outcome(living.archive(End.LEFT), living, Counter()).code is Code.NOTHING


def test_what_was_born_again_goes_on_by_itself() -> None:
    parent = Line("parent", Counter())
    parent.write(5)
    archive = parent.archive(End.REBORN)
    assert outcome(archive, parent.child("living", Counter()), Counter()).code is Code.NOTHING


@pytest.mark.parametrize("kind", [Counter, Journal])
def test_without_the_state_at_the_branch_nothing_is_carried(kind: type[Any]) -> None:
    living, ended = family(kind, *([5] if kind is Counter else ["a"]))
    ended.write(*([10, 20] if kind is Counter else ["b", "c"]))
    ended.snapshot()
    got = outcome(ended.archive(into=living), living, kind())
    assert got.code is Code.BASE_MISSING
    assert "compacted" in got.detail


def test_the_state_at_the_branch_may_be_in_the_parent_s_archive() -> None:
    parent = Line("parent", Counter())
    parent.write(5)
    kept = parent.archive(End.REBORN, number=2)
    living, ended = parent.child("living", Counter()), parent.child("ended", Counter())
    ended.write(10)
    ended.snapshot()
    ended.write(20)
    got = outcome(ended.archive(into=living), living, Counter(), [kept])
    assert got.carries is not None
    living.take(*got.carries.parts())
    assert living.machine.value == 35


def test_where_the_branches_cannot_be_compared_nothing_is_carried() -> None:
    """One branched off behind an entry of a later term: whether that overwrote what the other took along, nobody knows."""
    parent = Line("parent", Counter())
    parent.write(5)
    ended = parent.child("ended", Counter())
    ended.write(10)
    (branch,) = ended.genesis.ancestors
    overwritten = Cursor(Term(branch.at.term + 1), Index(branch.at.index - 1))
    living = Line("living", Counter())
    living.begin((replace(branch, at=overwritten, digest=b"?" * 16),))
    got = outcome(ended.archive(into=living), living, Counter())
    assert (got.code, got.left_out) == (Code.BASE_MISSING, 2)


# --- who carries


def test_only_a_holder_of_all_of_it_carries_a_sealed_history() -> None:
    living, ended = Line("living", Counter()), Line("ended", Counter())
    ended.write(10)
    got = outcome(ended.archive(whole=False), living, Counter())
    assert (got.code, got.left_out) == (Code.NOT_WHOLE, 1)
    assert outcome(ended.archive(End.LEFT, whole=False), living, Counter()).code is Code.CARRIED


def test_an_archive_that_does_not_say_what_it_is_is_not_carried() -> None:
    living, ended = Line("living", Counter()), Line("ended", Counter())
    ended.write(10)
    whole = ended.archive()
    mute = replace(whole, archived=replace(whole.archived, ended=None))
    assert outcome(mute, living, Counter()).code is Code.NOT_WHOLE


class Silent(Counter):
    """Does not say what to carry over."""

    reconcile = None  # type: ignore[assignment]


def test_without_reconcile_nothing_is_carried_and_it_says_how_much() -> None:
    living, ended = Line("living", Silent()), Line("ended", Silent())
    ended.write(10)
    ended.write(20)
    got = outcome(ended.archive(into=living), living, Silent())
    assert (got.code, got.left_out) == (Code.NO_RECONCILE, 2)


# --- a reconcile that is no good


def raises(self: Any, sealed: Any, base: Any) -> Any:
    raise RuntimeError("no idea")


def raises_late(self: Any, sealed: Any, base: Any) -> Iterator[Any]:
    yield 1
    raise RuntimeError("no idea")


def never_ends(self: Any, sealed: Any, base: Any) -> Any:
    return count(1)


def gives(value: Any) -> Any:
    return lambda self, sealed, base: value


@pytest.mark.parametrize(
    ("reconcile", "why"),
    [
        (raises, "RuntimeError: no idea"),
        (raises_late, "RuntimeError: no idea"),
        (never_ends, "more than 100 commands"),
        (gives(7), "TypeError"),
        (gives(None), "TypeError"),
        (gives("text"), "not a list of commands"),
        (gives({"a": 1}), "not a list of commands"),
        (gives([object()]), "TypeError"),
        (gives([2**70]), "beyond 64 bits"),
        (gives([b"x" * (MAX_COMMAND + 1)]), "bytes; at most"),
        (gives([b"x" * 1000] * 5), "more than"),
        (7, "TypeError"),
    ],
)
def test_nonsense_ends_in_a_clear_failure(reconcile: Any, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "MAX_COMMANDS", 100)
    monkeypatch.setattr(carrying, "MAX_BYTES", 4096 if why == "more than" else 1 << 30)
    machine = type("Bad", (Counter,), {"reconcile": reconcile})()
    machine.value = 3
    living, ended = Line("living", Counter()), Line("ended", Counter())
    ended.write(10)
    planned = plan(ended.archive(into=living), living.genesis, machine)
    assert not isinstance(planned, Outcome)
    got = finish(prepare(machine, pack(0), planned))
    assert (got.code, got.left_out, got.carries) == (Code.FAILED, 1, None)
    assert why in got.detail
    assert machine.value == 3, "the machine is as it was"


def test_a_state_that_the_machine_does_not_take_is_a_failure() -> None:
    living, ended = Line("living", Counter()), Line("ended", Counter())
    ended.write(10)
    ended.snapshot()
    broken = replace(ended.archive(into=living), chunks=(b"\x00\x00\x00\x01\xc1",))
    assert outcome(broken, living, Counter()).code is Code.FAILED


def test_a_long_list_is_made_in_slices() -> None:
    machine = type("Many", (Counter,), {"reconcile": gives([1] * 10_000)})()
    living, ended = Line("living", Counter()), Line("ended", Counter())
    planned = plan(ended.archive(into=living), living.genesis, machine)
    assert not isinstance(planned, Outcome)
    assert sum(1 for _ in prepare(machine, pack(0), planned)) >= 10_000 // carrying.SLICE


# --- parts


def test_parts_are_bounded_and_leave_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "PART_BYTES", 3000)
    monkeypatch.setattr(carrying, "PART_PLACES", 5)
    values = [b"x" * size for size in (2000, 2000, 4000, 1, 1, 1, 1, 1, 1)]
    machine = type("Many", (Counter,), {"reconcile": gives(values)})()
    living, ended = Line("living", Counter()), Line("ended", Counter())
    got = parts(ended.archive(into=living), living, machine)
    assert [len(part.commands) for part in got] == [1, 1, 1, 5, 1]
    assert [part.first for part in got] == [1, 2, 3, 4, 9]
    assert {(part.total, part.digest) for part in got} == {(9, got[0].digest)}


def test_an_empty_list_has_one_part() -> None:
    living, ended = Line("living", Counter()), Line("ended", Counter())
    (part,) = parts(ended.archive(into=living), living, Counter())
    assert (part.first, part.total, part.commands) == (1, 0, ())


def test_another_state_makes_another_digest() -> None:
    living, ended = Line("living", Counter()), Line("ended", Counter())
    ended.write(10)
    one = parts(ended.archive(into=living), living, Counter())[0]
    ended.write(1)
    assert parts(ended.archive(into=living), living, Counter())[0].digest != one.digest
