"""Archives as people read them, and one that is damaged among others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from p2praft import StorageError
from p2praft.groups.archives import commands_to_replay, export, list_archives, show
from p2praft.groups.lineage import Loaded, load
from p2praft.groups.machine import pack
from p2praft.raft.effects import Archive, Restored, Write
from p2praft.raft.histories.messages import End
from p2praft.storage import MemoryStorage
from p2praft.storage.base import Archived
from tests.groups.lines import Journal, Line

PRISTINE = pack([])


class Shelf(MemoryStorage):
    """Archives as they were made; those that are damaged are named."""

    def __init__(self, *loaded: Loaded, damaged: tuple[int, ...] = ()) -> None:
        super().__init__()
        self._loaded = loaded
        self._damaged = damaged

    def archives(self) -> tuple[Archived, ...]:
        return tuple(each.archived for each in self._loaded)

    def load_archive(self, number: int) -> tuple[Restored, Iterator[bytes]]:
        if number in self._damaged or not 0 < number <= len(self._loaded):
            raise StorageError(f"archive {number} is damaged")
        return self._loaded[number - 1].restored, iter(self._loaded[number - 1].chunks)


def shelf(**options: Any) -> Shelf:
    line, other = Line("first", Journal()), Line("other", Journal())
    line.write("a", "bad")
    line.snapshot()
    line.write("b", "c")
    other.write("z")
    return Shelf(line.archive(into=other), other.archive(End.LEFT, whole=False, number=2), **options)


def test_each_archive_is_listed_in_a_line() -> None:
    first, second = list_archives(shelf())
    assert (first.number, first.history, first.ended, first.whole) == (1, b"firs".hex(), "sealed", True)
    assert (first.into, first.term, first.index, first.entries, first.commands) == (b"othe".hex(), 1, 5, 2, 2)
    assert (second.ended, second.into, second.entries, second.commands) == ("left", "", 3, 1)


def test_a_damaged_archive_says_so_and_hides_no_other() -> None:
    first, second = list_archives(shelf(damaged=(1,)))
    assert (first.problem, first.history) == ("archive 1 is damaged", b"firs".hex())
    assert (second.problem, second.commands) == ("", 1)


def test_what_0_1_put_aside_is_listed_as_it_is() -> None:
    (mute,) = shelf()._loaded[1:]
    (info,) = list_archives(Shelf(replace(mute, archived=Archived(number=1, ended=None, whole=False))))
    assert (info.ended, info.history, info.index, info.commands) == ("unknown", "", 3, 1)


def test_its_last_entries_are_shown_decoded() -> None:
    *_, last = show(load(shelf(), 1), Journal())
    assert (last.index, last.kind, last.commands) == (5, "Commands", ("b", "c"))
    assert [entry.index for entry in show(load(shelf(), 1), Journal(), last=1)] == [5]


def test_it_is_exported_as_lines_of_json() -> None:
    machine = Journal()
    machine.lines = ["in use"]
    lines = [json.loads(json.dumps(line)) for line in export(load(shelf(), 1), machine, PRISTINE)]
    head, state, *commands = lines
    assert (head["archive"], head["history"]) == (1, b"firs".hex())
    assert state == {"state": ["a", "b", "c"]}
    assert [line["command"] for line in commands] == ["b", "c"]
    assert machine.lines == ["in use"]


def test_its_commands_are_those_that_took_effect() -> None:
    line = Line("first", Journal())
    line.write("a", "bad", "b")
    line.do(2, 1, "a", "bad", "b")
    assert commands_to_replay(line.archive(), Journal(), PRISTINE) == ["a", "b"]


@pytest.mark.parametrize("read", [export, commands_to_replay])
def test_one_that_the_machine_does_not_take_is_an_error_that_says_so(read: Any) -> None:
    (first, _) = shelf()._loaded
    with pytest.raises(StorageError, match="another version"):
        read(replace(first, chunks=(b"\x00\x00\x00\x01\xc1",)), Journal(), PRISTINE)


def test_one_that_there_is_not_is_an_error() -> None:
    with pytest.raises(StorageError, match="archive"):
        load(shelf(), 9)


def test_a_storage_keeps_what_is_read_here() -> None:
    line = Line("first", Journal())
    line.write("a", "b")
    kept = line.archive()
    assert kept.archived.ended is not None
    storage = MemoryStorage()
    storage.write(
        [Write(serial=1, archives=(Archive(ended=kept.archived.ended, whole=True, entries=tuple(line.entries)),))]
    )
    (info,) = list_archives(storage)
    assert (info.number, info.ended, info.commands) == (1, "sealed", 2)
    assert commands_to_replay(load(storage, 1), Journal(), PRISTINE) == ["a", "b"]
