"""Every target, by hypothesis: from nothing, from what the repository keeps, and from pieces of that.

``make fuzz`` drives the same targets by coverage, for as long as asked.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.fuzz.targets import CORPUS, TARGETS, corpus

DECODERS = ("bond", "control", "discovery", "identity", "known-peers", "link")
"""Targets that read their bytes as they are; the others are steered by them."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What is dropped is logged, a thousand times."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_that_was_ever_kept_is_a_finding(name: str) -> None:
    inputs = corpus(name)
    assert inputs, f"no corpus for {name}: run `python -m tests.fuzz.seeds`"
    for data in inputs:
        TARGETS[name](data)


def test_the_corpus_has_no_folder_without_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=400))
def test_arbitrary_bytes(name: str, data: bytes) -> None:
    TARGETS[name](data)


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in DECODERS])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**63))
def test_long_runs(name: str, seed: int) -> None:
    """Bytes without a pattern steer an engine deeper than the small examples that hypothesis likes."""
    TARGETS[name](random.Random(seed).randbytes(1500))


@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_what_is_kept_with_parts_changed(name: str, draw: st.DataObject) -> None:
    """One kept input with some bytes replaced, dropped or put in from another."""
    inputs = corpus(name)
    data = bytearray(draw.draw(st.sampled_from(inputs)))
    for _ in range(draw.draw(st.integers(1, 4))):
        start = draw.draw(st.integers(0, len(data)))
        end = min(len(data), start + draw.draw(st.integers(0, 8)))
        other = draw.draw(st.sampled_from(inputs))
        begin = draw.draw(st.integers(0, len(other)))
        piece = draw.draw(st.binary(max_size=8) | st.just(other[begin : begin + 16]))
        data[start:end] = piece
    TARGETS[name](bytes(data))


@pytest.mark.parametrize(
    "payload",
    [
        b"\x91" * 100_000,
        b"\x90" * 4_000_000,
        b"\xdd\x00\x3d\x09\x00" + b"\xc0" * 4_000_000,
        msgpack.packb([1] * 500_000),
    ],
    ids=["deep", "lists", "nothings", "numbers"],
)
@pytest.mark.parametrize("name", ["bond", "discovery", "identity"])
def test_the_largest_and_the_deepest_frames(name: str, payload: bytes) -> None:
    TARGETS[name](payload)
