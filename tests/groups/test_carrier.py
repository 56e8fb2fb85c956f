"""What a member proposes of its lists, when, and what it tells of them."""

from __future__ import annotations

import random
from typing import Any

import pytest

from p2praft.groups import carrying
from p2praft.groups.carrier import RESEND, Carrier, Told
from p2praft.groups.carrying import Code
from p2praft.groups.lineage import Loaded
from p2praft.raft.entries import Carried
from p2praft.raft.histories.entries import Absorbed
from p2praft.raft.histories.messages import End
from tests.groups.lines import Counter, Journal, Line, Words, outcome


class Member:
    """A carrier beside a living history."""

    def __init__(self, living: Line, kind: type[Any] = Words, seed: int = 1) -> None:
        self.living = living
        self.kind = kind
        self.now = 0.0
        self.carrier = Carrier(kind(), random.Random(seed))

    def give(self, archive: Loaded) -> None:
        self.carrier.add(outcome(archive, self.living, self.kind()))

    def next(self, **options: Any) -> Carried | None:
        return self.carrier.next(self.now, self.living.past, self.living.applier.tables, **options)

    def wait(self) -> None:
        """Until the carrier has something to say."""
        self.next()
        self.now = max(self.now, self.carrier.deadline)

    def commit(self, part: Carried, *, mine: bool = True) -> None:
        (over,) = self.living.take(part)
        self.carrier.on_applied(over, self.now, mine=mine)

    def run(self) -> list[Told]:
        for _ in range(1000):
            if self.carrier.is_done:
                break
            self.wait()
            if (part := self.next()) is not None:
                self.commit(part)
        return self.carrier.take_told()


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "PART_PLACES", 2)


def ended(*words: str, name: str = "ended") -> Line:
    line = Line(name, Words())
    line.write(*words)
    return line


def test_all_of_a_list_is_proposed_part_by_part_and_told_once() -> None:
    member = Member(Line("living", Words()))
    member.give(ended("a", "b", "c", "d", "e").archive(into=member.living, number=4))
    (told,) = member.run()
    assert member.living.machine.words == ["a", "b", "c", "d", "e"]
    assert (told.code, told.commands, told.number, told.loses) == (Code.CARRIED, 5, 4, False)
    assert "5 commands" in told.text
    assert member.carrier.deadline == float("inf")


def test_nothing_is_proposed_at_once_and_the_first_in_rank_is_the_first() -> None:
    living = Line("living", Words())
    members = [Member(living, seed=seed) for seed in (1, 2, 3)]
    for member in members:
        member.give(ended("a").archive(into=living))
    assert [member.next(rank=rank) for rank, member in enumerate(members)] == [None] * 3
    deadlines = [member.carrier.deadline for member in members]
    assert deadlines == sorted(deadlines)
    assert deadlines[1] >= RESEND


def test_a_part_that_was_lost_is_proposed_again_later() -> None:
    member = Member(Line("living", Words()))
    member.give(ended("a").archive(into=member.living))
    member.wait()
    first = member.next()
    assert first is not None
    assert member.next() is None
    member.now += RESEND / 2
    assert member.next() is None
    member.wait()
    assert member.next() == first


def test_who_sees_its_own_part_applied_goes_on_and_who_sees_another_s_waits() -> None:
    living = Line("living", Words())
    one, other = Member(living), Member(living)
    for member in (one, other):
        member.give(ended("a", "b", "c").archive(into=living))
        member.wait()
    part = one.next()
    assert part is not None
    (over,) = living.take(part)
    one.carrier.on_applied(over, one.now, mine=True)
    other.carrier.on_applied(over, other.now, mine=False)
    following = one.next()
    assert following is not None
    assert following.first == 3
    assert other.next() is None
    assert other.carrier.deadline >= other.now + RESEND


def test_who_comes_late_goes_on_where_another_stopped() -> None:
    living = Line("living", Words())
    archive = ended("a", "b", "c").archive(into=living)
    one = Member(living)
    one.give(archive)
    one.wait()
    part = one.next()
    assert part is not None
    one.commit(part)
    other = Member(living, seed=2)
    other.give(archive)
    other.run()
    assert living.machine.words == ["a", "b", "c"]


def test_a_list_that_is_complete_is_not_proposed() -> None:
    living = Line("living", Words())
    archive = ended("a").archive(into=living)
    one, other = Member(living), Member(living)
    one.give(archive)
    one.run()
    other.give(archive)
    assert other.next() is None
    assert other.carrier.is_done
    assert other.carrier.take_told() == []


def test_a_history_that_ended_for_another_waits_until_that_one_was_taken_over() -> None:
    """Both lists in the wrong order would count the first one twice."""
    first, second, living = (Line(name, Counter()) for name in ("first", "second", "living"))
    first.write(1)
    early = first.archive(into=second)
    middle = Member(second, Counter)
    middle.give(early)
    middle.run()
    second.write(10)
    member = Member(living, Counter)
    member.give(early)
    for _ in range(5):
        member.wait()
        assert member.next() is None
        assert member.carrier.deadline > member.now, "it asks again, but not without end"
    member.give(second.archive(into=living))
    member.run()
    assert living.machine.value == 11
    assert member.carrier.is_done


def test_a_member_that_left_before_it_heard_of_the_seal_leaves_it_to_others() -> None:
    line = ended("a", "b")
    member = Member(Line("living", Words()))
    member.give(line.archive(End.LEFT, member.living, whole=False, upto=2))
    member.living.add(Absorbed(branch=line.here))
    assert member.next() is None
    assert member.carrier.is_done


def test_another_end_of_the_same_history_is_told_if_it_has_more() -> None:
    line = ended("a")
    short = line.archive(End.LEFT)
    line.write("b")
    long = line.archive(End.LEFT, number=7)
    member, late, later = (Member(Line("living", Words())) for _ in range(3))
    late.living = later.living = member.living
    member.give(short)
    member.run()
    late.give(long)
    assert late.next() is None
    (told,) = late.carrier.take_told()
    assert (told.code, told.number, told.loses) == (Code.OTHER_LIST, 7, True)
    other = Member(Line("other", Words()))
    other.give(long)
    other.run()
    later.living = other.living
    later.give(short)
    assert later.next() is None
    assert later.carrier.is_done
    assert later.carrier.take_told() == [], "the longer one has all that the shorter one has"


def test_a_branch_that_the_living_log_does_not_have_is_no_base() -> None:
    living = Line("living", Counter())
    living.write(5)
    child = living.child("child", Counter())
    child.write(10)
    member = Member(living, Counter)
    member.give(child.archive(into=living))
    assert member.next(holds=lambda branch: False) is None
    (told,) = member.carrier.take_told()
    assert (told.code, told.left_out) == (Code.BASE_MISSING, 1)


def test_what_cannot_be_carried_is_told_with_what_it_costs() -> None:
    member = Member(Line("living", Words()))
    member.give(ended("a", "b").archive(whole=False, number=3))
    (told,) = member.carrier.take_told()
    assert (told.code, told.left_out) == (Code.NOT_WHOLE, 1)
    assert "archive 3" in told.text
    assert member.carrier.is_done


def test_what_the_machine_refused_is_told() -> None:
    line = Line("ended", Journal())
    line.write("a", "b")
    living = Line("living", Journal())

    class Strict(Journal):
        def apply(self, command: Any, ctx: Any) -> Any:
            if command == "b":
                raise ValueError("not here")
            return super().apply(command, ctx)

    living.applier.machine = Strict()
    member = Member(living, Journal)
    member.give(line.archive(into=living))
    (told,) = member.run()
    assert (told.commands, told.failed, told.loses) == (2, 1, True)
    assert "1 of them failed" in told.text


def test_another_list_that_was_begun_is_given_up_to() -> None:
    living = Line("living", Words())
    archive = ended("a").archive(into=living)
    member = Member(living)
    member.give(archive)
    (waiting,) = member.carrier.pending
    assert waiting.carries is not None
    part = waiting.carries.part(1)
    living.take(Carried(end=part.end, digest=b"?" * 32, first=1, total=9, origins=part.origins, commands=part.commands))
    assert member.next() is None
    (told,) = member.carrier.take_told()
    assert told.code is Code.OTHER_LIST
