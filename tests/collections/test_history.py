"""What is kept of a structure's past."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from p2praft.collections import history
from p2praft.collections.history import History


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(0, 70), st.integers(1, 9))
def test_it_keeps_the_latest_within_its_bounds(sizes: list[int], since: int, limit: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "MAX_CHANGES", 7)
        patch.setattr(history, "MAX_BYTES", 100)
        made = History()
        for number, size in enumerate(sizes, start=1):
            assert made.add(("set", number), size) == number
        kept = made.dump()
        assert made.version == len(sizes)
        assert made.start + len(made) == made.version
        assert len(made) == len(kept) <= 7
        assert sum(size for size, _ in kept) <= 100 or len(kept) == 1
        dropped = made.start
        if dropped and sum(sizes[dropped - 1 :]) <= 100:
            assert len(made) == 7, "nothing is dropped without need"
        found = made.after(since, limit)
        if since < made.start:
            assert found is None
        else:
            assert found == [(at, ("set", at)) for at in range(since + 1, min(made.version, since + limit) + 1)]
        copy = History(made.start, kept)
        assert copy.after(made.start, 100) == made.after(made.start, 100)
        assert len(made._held) <= 2 * 7 + 1, "what is dropped is forgotten"
        for one in (made, copy):
            one.add(("more",), 50)
        assert copy.dump() == made.dump(), "a copy goes on as the original does"
