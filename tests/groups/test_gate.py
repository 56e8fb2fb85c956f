"""Who may found a group: the decision as a table, and the sentences that it becomes."""

from __future__ import annotations

import math
from typing import Any

import pytest

from p2praft.groups.gate import Surroundings, Wait, Waits, expected_in_words, in_words, waits_for
from tests.discovery.support import address, peer

SEEDS = (address(1), address(2))
NOW = 100.0
DELAY = 2.0
MET: dict[str, Any] = {"told": SEEDS, "linked": True, "compared": True}


def decide(*, found: bool | None = None, now: float = NOW, **known: Any) -> Waits | None:
    """What a node that knows this waits for."""
    around = Surroundings(**{"failing": {}, **known})
    return waits_for(around, found=found, bootstrap_delay=DELAY, now=now)


def members(*numbers: int, until: float = math.inf) -> Waits:
    """It waits for these members."""
    return Waits(code=Wait.MEMBERS, peers=tuple(sorted(map(peer, numbers))), until=until)


@pytest.mark.parametrize(
    ("known", "answer"),
    [
        pytest.param({}, None, id="told of nobody"),
        pytest.param({"linked": True}, None, id="told of nobody, found by somebody"),
        pytest.param({"told": SEEDS}, Waits(code=Wait.NO_LINK, addresses=SEEDS), id="no seed answers"),
        pytest.param(
            {"told": SEEDS, "compared": True}, Waits(code=Wait.NO_LINK, addresses=SEEDS), id="cut off after it had met"
        ),
        pytest.param({"told": SEEDS, "linked": True}, Waits(code=Wait.NO_CATALOG), id="a link that was just made"),
        pytest.param(MET, None, id="a network without members of the group"),
        pytest.param({**MET, "members": [peer(3)]}, members(3), id="a member that was not tried yet"),
        pytest.param({"members": [peer(3)]}, members(3), id="told of nobody, but a member has come"),
        pytest.param({**MET, "members": [peer(3)], "bonded": [peer(3)]}, None, id="a bonded member"),
        pytest.param(
            {**MET, "members": [peer(3), peer(4), peer(5)], "bonded": [peer(4)]}, members(3, 5), id="some are bonded"
        ),
        pytest.param({**MET, "bonded": [peer(3)]}, None, id="bonded, and not in the catalog yet"),
    ],
)
def test_what_a_node_waits_for(known: dict[str, Any], answer: Waits | None) -> None:
    assert decide(**known) == answer


@pytest.mark.parametrize(
    ("since", "answer"),
    [
        (NOW, members(3, until=NOW + 6)),
        (NOW - 5.9, members(3, until=NOW + 0.1)),
        (NOW - 6, None),
        (NOW - 60, None),
    ],
)
def test_bonding_that_fails_for_three_bootstrap_delays_is_given_up(since: float, answer: Waits | None) -> None:
    found = decide(**MET, members=[peer(3)], failing={peer(3): since})
    assert (found is None) == (answer is None)
    if found is not None and answer is not None:
        assert (found.code, found.peers) == (answer.code, answer.peers)
        assert found.until == pytest.approx(answer.until)


def test_each_member_has_its_own_time() -> None:
    failing = {peer(3): NOW - 60, peer(4): NOW - 2, peer(5): NOW - 4}
    found = decide(**MET, members=[peer(3), peer(4), peer(5), peer(6)], failing=failing)
    assert found == members(4, 5, 6, until=NOW + 2)


@pytest.mark.parametrize("known", [{}, {"told": SEEDS}, {**MET, "members": [peer(3)]}])
def test_an_operators_word_stands_above_the_rule(known: dict[str, Any]) -> None:
    assert decide(found=True, **known) is None
    assert decide(found=False, **known) == Waits(code=Wait.FORBIDDEN)


def test_sentences_name_what_is_waited_for() -> None:
    nobody = Waits(code=Wait.NO_LINK, addresses=SEEDS)
    assert in_words(nobody).startswith("waits for a link with its network: nobody answers at host1:7001, host2:7001;")
    assert "--found" in in_words(nobody)
    assert in_words(members(3)) == f"waits to bond with {peer(3).short}, which is in this group"
    assert in_words(members(3, 4)).endswith(", which are in this group")
    assert "--join" in in_words(Waits(code=Wait.FORBIDDEN))
    for code in Wait:
        assert in_words(Waits(code=code)).startswith("waits ")


def test_a_sentence_names_a_few_and_counts_the_others() -> None:
    text = in_words(members(*range(1, 8)))
    assert sum(peer(number).short in text for number in range(1, 8)) == 4
    assert "and 3 more" in text


def test_a_sentence_counts_the_members_that_may_vote() -> None:
    assert expected_in_words(3, 2) == "waits for 3 members that may vote; so far, 2 of them here"
    assert expected_in_words(2, 3).startswith("waits a moment for others")
