"""The persistent tree, against a dict."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, strategies as st

from p2praft.collections import sorted as tree
from p2praft.collections.sorted import SortedMap

KEYS = st.integers(0, 60)
STEPS = st.lists(st.one_of(st.tuples(st.just("set"), KEYS), st.tuples(st.just("delete"), KEYS)), max_size=200)


@pytest.fixture(autouse=True)
def narrow() -> Iterator[None]:
    """Small nodes make deep trees of few keys."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree, "WIDTH", 4)
        patch.setattr(tree, "THIN", 2)
        yield


def check(made: SortedMap[int, int], model: dict[int, int]) -> None:
    """It holds what the model holds, and is a proper tree."""
    assert list(made.items()) == sorted(model.items())
    assert len(made) == len(model)
    assert made.first() == (min(model.items()) if model else None)

    def depth(node: tree._Node, low: int, high: int) -> int:
        assert len(node.keys) == len(node.items) <= tree.WIDTH
        if node.is_leaf:
            assert all(low <= key < high for key in node.keys)
            return 0
        bounds = [low, *node.keys[1:], high]
        assert bounds == sorted(bounds)
        assert node.items, "no branch is empty"
        depths = {depth(child, bounds[at], bounds[at + 1]) for at, child in enumerate(node.items)}
        assert len(depths) == 1, "all leaves are on one level"
        return depths.pop() + 1

    depth(made._root, -1, 1_000_000)


@given(STEPS)
def test_it_does_what_a_dict_does(steps: list[tuple[str, int]]) -> None:
    made: SortedMap[int, int] = SortedMap()
    model: dict[int, int] = {}
    for number, (what, key) in enumerate(steps):
        if what == "set":
            made = made.set(key, number)
            model[key] = number
        else:
            made = made.delete(key)
            model.pop(key, None)
        assert made.get(key) == model.get(key)
        assert (key in made) == (key in model)
    check(made, model)


@given(STEPS, STEPS)
def test_what_is_kept_never_changes(before: list[tuple[str, int]], after: list[tuple[str, int]]) -> None:
    made: SortedMap[int, int] = SortedMap()
    for number, (what, key) in enumerate(before):
        made = made.set(key, number) if what == "set" else made.delete(key)
    kept, held = made, list(made.items())
    iterator = kept.items()
    for number, (what, key) in enumerate(after):
        made = made.set(key, -number) if what == "set" else made.delete(key)
    assert list(iterator) == list(kept.items()) == held


@given(st.sets(KEYS), KEYS)
def test_iteration_begins_where_it_is_told(keys: set[int], start: int) -> None:
    made = SortedMap[int, None].from_sorted((key, None) for key in sorted(keys))
    check(made.set(0, None).delete(0) if 0 not in keys else made, dict.fromkeys(keys))  # type: ignore[arg-type]
    assert [key for key, _ in made.items(start)] == sorted(key for key in keys if key >= start)


def test_keys_that_do_not_ascend_are_refused() -> None:
    for keys in ([2, 1], [1, 1], [1, 2, 3, 4, 4], [1, 2, 3, 4, 0]):
        with pytest.raises(ValueError, match="do not ascend"):
            SortedMap[int, None].from_sorted((key, None) for key in keys)


def test_a_large_one_that_shrinks_stays_shallow() -> None:
    made: SortedMap[int, int] = SortedMap()
    keys = list(range(2000))
    random.Random(1).shuffle(keys)
    for key in keys:
        made = made.set(key, key)
    for key in keys[:1990]:
        made = made.delete(key)
    check(made, {key: key for key in keys[1990:]})
    node, levels = made._root, 0
    while not node.is_leaf:
        node, levels = node.items[0], levels + 1
    assert levels <= 3
