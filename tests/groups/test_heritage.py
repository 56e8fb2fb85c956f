"""When a member looks at what its archives hold."""

from __future__ import annotations

import random
from typing import Any

import pytest

from p2praft.groups.heritage import Heritage
from p2praft.storage import MemoryStorage
from p2praft.storage.base import Archived
from tests.groups.lines import Journal, Line

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


class Late(MemoryStorage):
    """Has an archive once it is written."""

    def __init__(self, line: Line, into: Line) -> None:
        super().__init__()
        self.kept = line.archive(into=into)
        self.written = False

    def archives(self) -> tuple[Archived, ...]:
        return (self.kept.archived,) if self.written else ()

    def load_archive(self, number: int) -> Any:
        return self.kept.restored, iter(self.kept.chunks)


async def test_an_archive_that_is_still_on_its_way_to_the_disk_is_waited_for() -> None:
    ended, living = Line("ended", Journal()), Line("living", Journal())
    ended.write("a")
    storage = Late(ended, living)

    async def written() -> None:
        storage.written = True

    heritage = Heritage(
        applier=living.applier,
        storage=storage,
        rng=random.Random(1),
        told=lambda told: None,
        wake=lambda: None,
        written=written,
    )
    await heritage._prepare()
    (outcome,) = heritage._carrier.pending
    assert outcome.carries is not None
    assert len(outcome.carries.commands) == 1
