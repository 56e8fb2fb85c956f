"""What neighbours say fits into frames, and nothing else is taken."""

from __future__ import annotations

import msgpack
import pytest

from discovery.entry import MAX_GROUPS, MAX_TAGS, Version
from discovery.messages import (
    BUCKETS,
    DISCOVERY,
    MAX_ENTRIES,
    MAX_IDS,
    MAX_REFERRED,
    MAX_SUSPECTS,
    MAX_WANTED,
    Accusation,
    Digest,
    Have,
    Hello,
    Lost,
    Message,
    News,
    Ping,
    Pong,
    Referral,
    Summary,
    Suspicion,
    Want,
    batches,
)
from tests.discovery.support import entry, peer
from transport import WireError

ACCUSATION = Accusation(peer_id=peer(1), version=Version(2**62, 2**62), accuser=peer(2))
NAME = b"12345678"
LARGEST = entry(1, tags=["\N{SNOWMAN}" * 64] * MAX_TAGS, groups=[b"g" * 16] * MAX_GROUPS)


@pytest.mark.parametrize(
    "message",
    [
        Hello(entry=LARGEST),
        News(entries=(entry(1), entry(2, left=True))),
        Lost(entries=(entry(1),)),
        Summary(buckets=(NAME,) * BUCKETS),
        Digest(buckets=tuple(range(BUCKETS)), low=peer(1), high=peer(2), ids=(NAME,) * MAX_IDS),
        Suspicion(suspects=(ACCUSATION,) * MAX_SUSPECTS),
        Have(ids=(NAME,) * MAX_IDS),
        Want(ids=(NAME,) * MAX_WANTED),
        Ping(number=2**63 - 1),
        Pong(number=0),
        Referral(entries=(LARGEST,) * MAX_REFERRED),
    ],
    ids=lambda message: type(message).__name__,
)
def test_messages_round_trip_at_their_largest(message: Message) -> None:
    assert DISCOVERY.decode(DISCOVERY.encode(message)[4:]) == message


@pytest.mark.parametrize("count", [1, MAX_ENTRIES, MAX_ENTRIES + 1, 100])
def test_batches_of_the_largest_entries_fit_into_frames(count: int) -> None:
    parts = list(batches([LARGEST] * count))
    assert sum(map(len, parts)) == count
    for part in parts:
        DISCOVERY.encode(News(entries=part))


def test_small_entries_travel_together() -> None:
    assert [len(part) for part in batches([entry(1)] * (MAX_ENTRIES + 3))] == [MAX_ENTRIES, 3]
    assert list(batches([])) == []


@pytest.mark.parametrize(
    "plain",
    [
        [],
        [0],
        [99],
        [2],
        [2, []],
        [2, [[1, 2]]],
        [3, [b"12345678"] * (BUCKETS - 1)],
        [3, [b"1234567"] * BUCKETS],
        [4, [BUCKETS], b"x" * 32, b"x" * 32, []],
        [4, [-1], b"x" * 32, b"x" * 32, []],
        [4, [0], b"x" * 31, b"x" * 32, []],
        [4, [0], b"x" * 32, b"x" * 32, [b"1234567"]],
        [5, []],
        [5, [[b"x" * 31, [1, 1], b"x" * 32]]],
        [5, [[b"x" * 32, [1, 2**63], b"x" * 32]]],
        [5, [[b"x" * 32, [1], b"x" * 32]]],
        [5, [[b"x" * 32, [1, 1]]]],
        [7, []],
        [7, [b"12345678"] * (MAX_IDS + 1)],
        [8, [b"12345678"] * (MAX_WANTED + 1)],
        [9, -1],
        [10, True],
        [11, [[]]],
    ],
    ids=repr,
)
def test_what_is_malformed_is_refused(plain: object) -> None:
    with pytest.raises(WireError):
        DISCOVERY.decode(msgpack.packb(plain))
