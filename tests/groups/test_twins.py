"""Two processes of one identity, told from one that restarts; and which of the two ends. Pure."""

from __future__ import annotations

import itertools

from p2praft.groups.twins import MAX_PEERS, MAX_PROCESSES, Meeting, Process, Twins, decide
from transport import PeerId

PEER = PeerId(b"p" * 32)


def process(name: str, start: int = 1, *, address: str = "", incarnation: bytes = b"i" * 8) -> Process:
    return Process(nonce=name.encode() * 16, start=start, incarnation=incarnation, address=address or f"{name}:1")


A, B, C = process("a"), process("b"), process("c")


def met(*processes: Process) -> Meeting | None:
    """What the last of these bonds shows."""
    twins = Twins()
    meetings = [twins.meet(PEER, one) for one in processes]
    return meetings[-1]


def test_a_process_that_is_met_again_and_again_is_one() -> None:
    assert met(A, A, A) is None


def test_restarts_are_no_twins_however_many() -> None:
    twins = Twins()
    for number in range(3 * MAX_PROCESSES):
        assert twins.meet(PEER, process("a", number)) is None
        assert twins.meet(PEER, process("a", number)) is None


def test_a_process_that_comes_again_behind_its_successor_shows_that_both_live() -> None:
    assert met(A, B, A) == Meeting(other=B, ends=True, first=True)
    assert met(B, A, B) == Meeting(other=A, ends=False, first=True)


def test_both_are_known_from_then_on_and_the_pair_is_new_only_once() -> None:
    assert met(A, B, A, B) == Meeting(other=A, ends=False, first=False)
    assert met(A, B, A, B, A) == Meeting(other=B, ends=True, first=False)
    assert met(A, B, A, A) == Meeting(other=B, ends=True, first=False)


def test_other_peers_have_nothing_to_do_with_it() -> None:
    twins = Twins()
    twins.meet(PEER, A)
    twins.meet(PEER, B)
    assert twins.meet(PeerId(b"q" * 32), A) is None


def test_of_three_all_but_the_last_in_order_end() -> None:
    for order in itertools.permutations((A, B, C)):
        twins = Twins()
        for one in order * 3:
            twins.meet(PEER, one)
        ends = {one.nonce: meeting.ends for one in order if (meeting := twins.meet(PEER, one)) is not None}
        assert ends == {A.nonce: True, B.nonce: True, C.nonce: False}, order


def test_the_same_process_elsewhere_is_no_other() -> None:
    moved = process("a", address="elsewhere:1")
    assert met(A, moved, A) is None
    meeting = met(A, B, moved, B)
    assert meeting is not None
    assert meeting.other == moved, "and where it is now is what is told"


def test_one_process_that_opened_its_storage_again_is_another() -> None:
    assert met(process("a", 1), B, process("a", 2)) is None


def test_one_process_that_has_become_another_member_is_still_that_process() -> None:
    renewed = process("a", incarnation=b"j" * 8)
    assert met(A, renewed, A) is None
    assert met(A, B, renewed) is not None


def test_what_is_remembered_is_bounded() -> None:
    twins = Twins()
    twins.meet(PEER, A)
    twins.meet(PEER, B)
    for number in range(MAX_PEERS - 1):
        twins.meet(PeerId(number.to_bytes(32, "big")), A)
    assert len(twins._peers) == MAX_PEERS
    assert twins.meet(PEER, B) is None
    assert twins.meet(PEER, A) is not None, "the peers that were met last are kept"
    twins.meet(PeerId(b"z" * 32), A)
    assert len(twins._peers) == MAX_PEERS
    for number in range(1000):
        twins.meet(PEER, process("d", number + 2))
        twins.meet(PEER, A)
    assert len(twins._peers[PEER]) <= MAX_PROCESSES
    assert all(len(seen.twins) <= MAX_PROCESSES for seen in twins._peers[PEER])


def test_the_lower_start_ends_and_of_two_alike_the_lower_nonce() -> None:
    assert decide(process("z", 1), process("a", 2))
    assert not decide(process("a", 2), process("z", 1))
    assert decide(A, B)
    assert not decide(B, A)


def test_exactly_one_of_two_ends() -> None:
    some = [process(name, start) for name in "abc" for start in (1, 2)]
    for one, other in itertools.permutations(some, 2):
        assert decide(one, other) != decide(other, one)
