"""What was carried over is taken once: in order, without gaps, on whatever ways it comes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from p2praft.groups import carrying, snapshots
from p2praft.groups.absorbed import Taken
from p2praft.groups.applier import Applied, Applier, Tables
from p2praft.groups.machine import pack
from p2praft.raft.entries import Carried, Origin
from p2praft.raft.histories.entries import Branch, source_of
from p2praft.raft.histories.messages import End
from p2praft.raft.sessions import Verdict
from p2praft.raft.types import NO_DIGEST, Cursor, Index, Term
from tests.groups.lines import Counter, Journal, Line, Words, parts

END = Branch(history=b"e" * 16, at=Cursor(Term(3), Index(9)), digest=b"d" * 16)


def part(first: int, *commands: str, total: int = 4, end: Branch = END, digest: bytes = b"l" * 32) -> Carried:
    """A part of a list that ``reconcile`` made."""
    origins = tuple(Origin(history=source_of(end), session=0, number=first + at) for at in range(len(commands)))
    return Carried(
        end=end, digest=digest, first=first, total=total, origins=origins, commands=tuple(map(pack, commands))
    )


def told(line: Line, *given: Carried) -> list[Taken]:
    return [over.taken for over in line.take(*given)]


# --- lists


def test_an_end_is_named_by_all_that_makes_it_one() -> None:
    others = [
        Branch(history=b"f" * 16, at=END.at, digest=END.digest),
        Branch(history=END.history, at=Cursor(Term(2), Index(9)), digest=END.digest),
        Branch(history=END.history, at=Cursor(Term(3), Index(8)), digest=END.digest),
        Branch(history=END.history, at=END.at, digest=NO_DIGEST),
    ]
    assert len({source_of(end) for end in (END, *others)}) == 5


def test_parts_are_applied_in_their_order() -> None:
    line = Line("x", Journal())
    first, second = line.take(part(1, "a", "b"), part(3, "c", "d"))
    assert line.machine.lines == ["a", "b", "c", "d"]
    assert (first.complete, second.complete) == (False, True)
    assert [place for place, _, _ in second.outcomes] == [3, 4]


def test_a_part_behind_a_gap_is_not_applied() -> None:
    line = Line("x", Journal())
    assert told(line, part(3, "c"), part(1, "a"), part(3, "c")) == [Taken.GAP, Taken.APPLY, Taken.GAP]
    assert line.machine.lines == ["a"]


def test_of_a_part_that_was_taken_in_part_only_the_rest_is_applied() -> None:
    line = Line("x", Journal())
    assert told(line, part(1, "a", "b"), part(1, "a", "b"), part(2, "b", "c")) == [
        Taken.APPLY,
        Taken.REPEAT,
        Taken.APPLY,
    ]
    assert line.machine.lines == ["a", "b", "c"]


def test_another_list_never_continues_one_that_was_begun() -> None:
    line = Line("x", Journal())
    other = part(2, "z", digest=b"m" * 32)
    longer = part(2, "z", total=5)
    assert told(line, part(1, "a"), other, longer) == [Taken.APPLY, Taken.OTHER, Taken.OTHER]
    assert line.machine.lines == ["a"]


def test_a_made_list_of_another_end_of_the_history_is_not_begun() -> None:
    later = Branch(history=END.history, at=Cursor(Term(3), Index(12)), digest=b"x" * 16)
    line = Line("x", Journal())
    assert told(line, part(1, "a"), part(1, "a", end=later)) == [Taken.APPLY, Taken.OTHER]


def test_an_empty_list_is_complete_at_once() -> None:
    line = Line("x", Journal())
    (over,) = line.take(part(1, total=0))
    assert over.complete
    assert told(line, part(1, total=0)) == [Taken.REPEAT]


def test_what_the_machine_refuses_is_counted_and_what_follows_is_applied() -> None:
    line = Line("x", Journal())
    (over,) = line.take(part(1, "a", "bad", "b", "bad"))
    assert over.failed == 2
    assert line.machine.lines == ["a", "b"]


# --- snapshots


def test_the_table_outlives_a_snapshot() -> None:
    line = Line("x", Journal())
    line.write("own")
    line.take(part(1, "a", "b"))
    line.applier.absorbed.note(Origin(history=b"h" * 16, session=4, number=7))
    data = b"".join(snapshots.encode(line.applier))
    tables, state = snapshots.decode(line.machine, [data[at : at + 7] for at in range(0, len(data), 7)])
    copy = Applier(Journal())
    copy.restore(line.applier.index, tables, state)
    assert b"".join(snapshots.encode(copy)) == data
    assert tables.absorbed.judge(part(1, "a", "b")) is Taken.REPEAT
    assert tables.absorbed.judge(part(3, "c", digest=b"m" * 32)) is Taken.OTHER
    assert tables.absorbed.has(Origin(history=b"h" * 16, session=4, number=7))


def test_a_snapshot_that_release_0_1_wrote_is_still_read() -> None:
    """Four bytes of length, the list of sessions, then the machine's own: one session with two results, and ["a", "b"]."""
    old = bytes.fromhex("0000001a919406cb405960000000000002929301c3c401019302c3c4010292a161a162")
    tables, state = snapshots.decode(Journal(), [old[:3], old[3:9], old[9:]])
    assert state == ["a", "b"]
    assert tables.sessions.outcomes(6) == ((1, True, pack(1)), (2, True, pack(2)))
    assert list(tables.absorbed.lists()) == []


# --- replayed commands


def test_a_replayed_command_is_applied_once_whatever_list_brings_it() -> None:
    ended = Line("e", Journal())
    ended.write("a", "b")
    some = ended.archive(End.LEFT)
    ended.do(2, 3, "c")
    all_of_it = ended.archive(End.LEFT)
    living = Line("x", Journal())
    (first,) = living.take(*parts(some, living, Journal()))
    (second,) = living.take(*parts(all_of_it, living, Journal()))
    assert living.machine.lines == ["a", "b", "c"]
    assert (first.repeated, second.repeated) == (0, 2)


def test_sessions_of_two_children_with_one_id_are_two_sessions() -> None:
    parent = Line("p", Journal())
    one, other = parent.child("one", Journal()), parent.child("other", Journal())
    ours, theirs = one.session(), other.session()
    assert ours == theirs
    one.do(ours, 1, "a")
    other.do(theirs, 1, "b")
    one.take(*parts(other.archive(into=one), one, Journal()))
    assert one.machine.lines == ["a", "b"]


def test_a_command_that_our_own_session_has_is_not_applied_again() -> None:
    """The proposer was told nothing, and proposed it again in the other child, where it was applied first."""
    parent = Line("p", Journal())
    session = parent.session()
    one, other = parent.child("one", Journal()), parent.child("other", Journal())
    one.do(session, 1, "a")
    other.do(session, 1, "a", "b")
    one.take(*parts(other.archive(into=one), one, Journal()))
    assert one.machine.lines == ["a", "b"]


def test_a_proposer_that_repeats_what_was_carried_gets_the_result() -> None:
    parent = Line("p", Journal())
    session = parent.session()
    one, other = parent.child("one", Journal()), parent.child("other", Journal())
    other.do(session, 1, "a")
    one.take(*parts(other.archive(into=one), one, Journal()))
    repeat = one.do(session, 1, "a")
    assert isinstance(repeat, Applied)
    assert repeat.verdict is Verdict.REPEAT
    assert repeat.outcomes == ((1, True, pack(1)),)


def test_replays_keep_their_origins_through_two_further_seals() -> None:
    lines = [Line(name, Journal()) for name in "abcd"]
    for line in lines:
        line.write(f"{line.name}1", f"{line.name}2")
    first = lines[0].archive(into=lines[1])
    for ended, living in pairwise(lines):
        living.take(*parts(ended.archive(into=living), living, Journal()))
    last = lines[-1]
    assert sorted(last.machine.lines) == [f"{name}{number}" for name in "abcd" for number in (1, 2)]
    late = last.take(*parts(first, last, Journal()))
    assert len(last.machine.lines) == 8
    assert all(not over.outcomes for over in late)


def test_what_was_taken_over_is_taken_over_with_the_history_that_had_it() -> None:
    """A late holder of the first history finds its list done in the last one, which never met it."""
    lines = [Line(name, Counter()) for name in "abc"]
    for line, value in zip(lines, (1, 10, 100), strict=True):
        line.write(value)
    first = lines[0].archive(into=lines[1])
    for ended, living in pairwise(lines):
        living.take(*parts(ended.archive(into=living), living, Counter()))
    last = lines[-1]
    assert last.machine.value == 111
    assert [over.taken for over in last.take(*parts(first, last, Counter()))] == [Taken.REPEAT]
    assert last.machine.value == 111


def test_a_list_that_was_taken_in_part_goes_on_in_the_next_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "PART_PLACES", 2)
    one, two, three = (Line(name, Words()) for name in ("one", "two", "three"))
    one.write("a", "b", "c", "d")
    begun, rest = parts(one.archive(into=two), two, Words())
    two.take(begun)
    three.take(*parts(two.archive(into=three), three, Words()))
    assert three.machine.words == ["a", "b"]
    assert [over.taken for over in three.take(begun, rest)] == [Taken.REPEAT, Taken.APPLY]
    assert three.machine.words == ["a", "b", "c", "d"]


def test_one_that_left_out_what_another_completed_takes_the_other_s_word() -> None:
    tables = Tables()
    half, other = part(1, "a"), part(1, "z", "y", total=2, digest=b"m" * 32)
    done = Line("y", Journal())
    done.take(other)
    tables.absorbed.take(half)
    (row,) = done.applier.absorbed.lists()
    bringing = Carried(
        end=Branch(history=b"y" * 16, at=END.at, digest=END.digest),
        digest=b"n" * 32,
        first=1,
        total=1,
        lists=(row,),
        origins=(),
        commands=(),
    )
    tables.absorbed.take(bringing)
    assert tables.absorbed.get(half.of) == row


# --- twice, or from two members at once, is as good as once

COMMANDS = st.lists(st.sampled_from("abcdefgh"), max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    words=COMMANDS,
    size=st.integers(1, 4),
    compacted=st.booleans(),
    data=st.data(),
    kind=st.sampled_from([Counter, Words, Journal]),
)
def test_a_list_from_several_members_in_any_mixture_comes_to_the_same(
    words: list[str], size: int, compacted: bool, data: st.DataObject, kind: type[Counter] | type[Words] | type[Journal]
) -> None:
    before, carrying.PART_PLACES = carrying.PART_PLACES, size
    try:
        ended, living, once = Line("e", kind()), Line("x", kind()), Line("x", kind())
        commands = [ord(word) for word in words] if kind is Counter else words
        if commands:
            ended.write(*commands)
        for line in (living, once):
            line.write(*([1000] if kind is Counter else ["own"]))
        given = parts(ended.archive(into=living), living, kind())
        assert given == parts(ended.archive(into=living), living, kind()), "each member makes the same list"
    finally:
        carrying.PART_PLACES = before
    once.take(*given)
    # Each member proposes the parts in order; what two propose is mixed, some of it is lost, and then proposed again.
    queues = [list(given), list(given)]
    while any(queues):
        queue = data.draw(st.sampled_from([queue for queue in queues if queue]))
        following = queue.pop(0)
        if data.draw(st.booleans()):
            living.add(following)
        if compacted:
            tables, state = snapshots.decode(living.machine, list(snapshots.encode(living.applier)))
            tables.genesis = living.genesis
            living.applier.restore(living.applier.index, tables, state)
    living.take(*given)
    assert living.machine.query(None) == once.machine.query(None)
    assert living.applier.absorbed.dump() == once.applier.absorbed.dump()
