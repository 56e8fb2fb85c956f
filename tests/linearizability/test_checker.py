"""The judge is judged: known histories, good and bad, and the definition of linearizability itself."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from tests.linearizability.checker import Operation, check, linearizable, log, register
from tests.linearizability.histories import append, by_brute_force, cas, op, random_history, read, write

GOOD = {
    "nothing at all": [],
    "a read before any write": [read("a", None, 0, 1)],
    "one after the other": [write("a", 1, 0, 1), read("b", 1, 2, 3), write("a", 2, 4, 5), read("b", 2, 6, 7)],
    "a read beside a write sees the old": [write("a", 1, 0, 9), read("b", None, 1, 2)],
    "a read beside a write sees the new": [write("a", 1, 0, 9), read("b", 1, 1, 2)],
    "two writes at once, either order": [
        write("a", 1, 0, 9),
        write("b", 2, 0, 9),
        read("c", 2, 3, 4),
        read("c", 1, 10, 11),
    ],
    "one of two compare-and-sets wins": [
        write("a", 0, 0, 1),
        cas("a", 0, 1, True, 2, 5),
        cas("b", 0, 2, False, 2, 5),
        read("c", 1, 6, 7),
    ],
    "compare-and-sets in a row": [cas("a", None, 1, True, 0, 1), cas("b", 1, 2, True, 2, 3), read("a", 2, 4, 5)],
    "an unknown write that never happens": [write("a", 1, 0, 1), write("b", 2, 2), read("c", 1, 3, 99)],
    "an unknown write that takes effect late": [
        write("a", 1, 0, 1),
        write("b", 2, 2),
        read("c", 1, 3, 4),
        write("a", 3, 5, 6),
        read("c", 3, 7, 8),
        read("c", 2, 9, 10),
    ],
    "an unknown compare-and-set that happened": [
        write("a", 1, 0, 1),
        cas("b", 1, 2, None, 2),
        cas("c", 2, 3, True, 4, 5),
        read("a", 3, 6, 7),
    ],
    "a write of what is there already undoes another": [
        write("a", 1, 0, 1),
        write("a", 1, 2, 9),
        write("b", 2, 2, 9),
        read("c", 1, 10, 11),
    ],
    "an unknown read says nothing": [write("a", 1, 0, 1), op("b", "read", None, None, 2), read("c", 1, 3, 4)],
}

BAD = {
    "a stale read": [write("a", 1, 0, 1), write("a", 2, 2, 3), read("b", 1, 4, 5)],
    "a lost write": [write("a", 1, 0, 1), read("b", None, 2, 3)],
    "a value that was never written": [write("a", 1, 0, 1), read("b", 7, 2, 3)],
    "a value from the future": [read("b", 1, 0, 1), write("a", 1, 2, 3)],
    "two readers see two writes in different orders": [
        write("a", 1, 0, 1),
        write("b", 2, 0, 9),
        read("c", 2, 2, 3),
        read("c", 1, 4, 5),
    ],
    "new, then old again": [
        write("a", 1, 0, 1),
        write("a", 2, 2, 20),
        read("b", 2, 3, 4),
        read("c", 1, 5, 6),
    ],
    "a write that takes effect twice": [
        write("a", 1, 0, 1),
        write("b", 2, 2, 3),
        read("c", 2, 4, 5),
        read("c", 1, 6, 7),
    ],
    "an unknown write that takes effect twice": [
        write("b", 2, 0),
        read("c", 2, 1, 2),
        write("a", 1, 3, 4),
        read("c", 1, 5, 6),
        read("c", 2, 7, 8),
    ],
    "two compare-and-sets that both win": [
        write("a", 0, 0, 1),
        cas("a", 0, 1, True, 2, 5),
        cas("b", 0, 2, True, 2, 5),
    ],
    "a compare-and-set that loses against nobody": [write("a", 0, 0, 1), cas("a", 0, 1, False, 2, 3)],
    "a compare-and-set that wins on an old value": [
        write("a", 0, 0, 1),
        write("a", 1, 2, 3),
        cas("b", 0, 2, True, 4, 5),
    ],
    "an unknown write that vanishes after it was read": [
        write("a", 1, 0, 1),
        write("b", 2, 2),
        read("c", 2, 3, 4),
        read("c", 1, 5, 6),
    ],
    "an unknown write before its call": [write("a", 1, 0, 1), read("c", 2, 2, 3), write("b", 2, 4)],
}

GOOD_LOGS = {
    "in order, once": [append("a", 1, 1, 0, 1), append("b", 2, 2, 2, 3), op("c", "read", None, (1, 2), 4, 5)],
    "at once, either order": [append("a", 1, 2, 0, 5), append("b", 2, 1, 0, 5), op("c", "read", None, (2, 1), 6, 7)],
    "an unknown append that happened": [append("a", 1, None, 0), append("b", 2, 2, 1, 2)],
    "an unknown append that did not happen": [append("a", 1, None, 0), append("b", 2, 1, 1, 2)],
}

BAD_LOGS = {
    "an append is lost": [append("a", 1, 1, 0, 1), op("c", "read", None, (), 2, 3)],
    "an append is applied twice": [append("a", 1, 1, 0, 1), op("c", "read", None, (1, 1), 2, 3)],
    "an unknown append is applied twice": [append("a", 1, None, 0), op("c", "read", None, (1, 1), 2, 3)],
    "appends are reordered": [append("a", 1, 2, 0, 1), append("b", 2, 1, 2, 3)],
    "two appends get one place": [append("a", 1, 1, 0, 3), append("b", 2, 1, 0, 3)],
    "the list changes behind a reader's back": [
        append("a", 1, None, 0),
        append("b", 2, None, 0),
        op("c", "read", None, (1, 2), 2, 3),
        op("c", "read", None, (2, 1), 4, 5),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_history_that_could_have_happened_one_at_a_time_is_accepted(name: str) -> None:
    assert check(GOOD[name], register) is None
    assert by_brute_force(GOOD[name], register)


@pytest.mark.parametrize("name", BAD)
def test_a_history_that_no_order_explains_is_rejected(name: str) -> None:
    assert check(BAD[name], register) is not None
    assert not by_brute_force(BAD[name], register)


@pytest.mark.parametrize("name", GOOD_LOGS)
def test_a_list_that_grew_once_a_write_is_accepted(name: str) -> None:
    assert check(GOOD_LOGS[name], log) is None


@pytest.mark.parametrize("name", BAD_LOGS)
def test_a_list_that_lost_doubled_or_moved_a_write_is_rejected(name: str) -> None:
    assert check(BAD_LOGS[name], log) is not None


def test_keys_do_not_matter_to_each_other() -> None:
    other = [replace(operation, key="y") for operation in BAD["a stale read"]]
    violation = check([*GOOD["one after the other"], *other], register)
    assert violation is not None
    assert violation.key == "y"


def test_the_explanation_marks_the_first_answer_that_makes_no_sense_and_shows_what_matters_to_it() -> None:
    """Long after and long before it, all is well: neither is shown."""
    calm = [write("a", 100 + at, -100 + 2 * at, -99 + 2 * at) for at in range(50)]
    later = [write("d", 200 + at, 50 + 2 * at, 51 + 2 * at) for at in range(50)]
    violation = check([*calm, *BAD["a stale read"], *later], register)
    assert violation is not None
    assert violation.culprit == read("b", 1, 4, 5)
    assert {*BAD["a stale read"]} <= {*violation.around}
    assert len(violation.around) < 8
    text = str(violation)
    assert "key 'x'" in text
    assert text.splitlines()[-1] == "->    4.0000 to    5.0000  1  =  read() by b"


def test_the_explanation_holds_what_was_unknown_at_the_time() -> None:
    violation = check(BAD["an unknown write that vanishes after it was read"], register)
    assert violation is not None
    assert violation.culprit == read("c", 1, 5, 6)
    assert "unknown  =  write(2) by b" in str(violation)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5), st.sampled_from([0.0, 0.1, 0.5]))
def test_what_a_linearizable_register_did_is_accepted(seed: int, clients: int, unknown: float) -> None:
    history = random_history(random.Random(seed), operations=60, clients=clients, keys=3, unknown=unknown)
    assert check(history, register) is None


def _spoiled(history: list[Operation], rng: random.Random) -> list[Operation]:
    """The same history with the results of two reads swapped, if two differ."""
    reads = [at for at, operation in enumerate(history) if operation.kind == "read" and not operation.unknown]
    pairs = [(a, b) for a in reads for b in reads if history[a].result != history[b].result]
    spoiled = list(history)
    if pairs:
        a, b = rng.choice(pairs)
        spoiled[a] = replace(history[a], result=history[b].result)
        spoiled[b] = replace(history[b], result=history[a].result)
    return spoiled


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3), st.sampled_from([2, 100]), st.sampled_from([0.0, 0.3]))
def test_the_search_agrees_with_the_definition(seed: int, clients: int, values: int, unknown: float) -> None:
    rng = random.Random(seed)
    history = random_history(rng, operations=6, clients=clients, values=values, unknown=unknown)
    spoiled = _spoiled(history, rng)
    assert linearizable(spoiled, register) == by_brute_force(spoiled, register)


def test_swapped_answers_are_mostly_rejected() -> None:
    rng = random.Random(5)
    histories = [random_history(rng, operations=60, clients=3, unknown=0.05) for _ in range(100)]
    rejected = sum(check(_spoiled(history, rng), register) is not None for history in histories)
    assert rejected > 90


@pytest.mark.parametrize("unknown", [0.0, 0.02])
def test_thousands_of_operations_take_seconds(unknown: float) -> None:
    rng = random.Random(7)
    history = random_history(rng, operations=5000, clients=8, keys=20, unknown=unknown)
    begin = time.process_time()
    assert check(history, register) is None
    assert check(_spoiled(history, rng), register) is not None
    assert time.process_time() - begin < 20
