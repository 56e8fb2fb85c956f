"""What a person reads who asks why a peer is not there."""

from __future__ import annotations

from discovery.explain import MAX_NOTED, Notes, explain
from discovery.gossip import Gossip
from discovery.messages import News
from tests.discovery.support import entry, linked, peer


def said(gossip: Gossip, number: int, now: float = 0.0, *, notes: Notes | None = None, connected: bool = False) -> str:
    return explain(gossip, notes or Notes(), peer(number), now, network="factory", connected=connected)


def test_who_is_unknown_is_said_to_be_so() -> None:
    assert "is not in the catalog of network 'factory'" in said(linked(0, 1), 7)


def test_oneself() -> None:
    assert said(linked(0, 1), 0).endswith("is this node itself")


def test_a_neighbour() -> None:
    gossip = linked(0, 1)
    gossip.view.round_trip(peer(1)).add(0.0125)
    text = said(gossip, 1, connected=True)
    for words in ("is alive, version 1.1, at host1:7001", "a neighbour for gossip", "is connected", "12.5 ms"):
        assert words in text


def test_a_suspect_and_how_long_it_has() -> None:
    gossip = linked(0, 1, 2)
    gossip.link_down(peer(1), 0.0, reason="broken", orderly=False)
    assert "one peer cannot reach it; unless it answers it is lost in " in said(gossip, 1, 1.0)
    assert "it is being dialled" in said(gossip, 1, 1.0)


def test_whom_nobody_needs_to_link_with() -> None:
    gossip = linked(0, *range(1, 9))
    gossip.receive(peer(1), News(entries=(entry(20),)), 0.0)
    text = said(gossip, 20)
    assert "no link for gossip is needed: 8 others are neighbours" in text
    assert f"{peer(1).short} told us of it first" in text


def test_who_is_left_alone_after_failures() -> None:
    gossip = linked(0, 1)
    gossip.receive(peer(1), News(entries=(entry(20),)), 0.0)
    gossip.dial_failed(peer(20), 0.0, unreachable=True)
    assert "it is left alone for another 0." in said(gossip, 20, 0.1)


def test_notes_are_counted_dated_and_bounded() -> None:
    notes = Notes()
    for at in range(3):
        notes.note(peer(1), "could not be linked: nothing answers", float(at))
    notes.changed(peer(1), "lost", "nobody reaches it", 10.0)
    text = said(linked(0, 2), 1, 300.0, notes=notes)
    assert "it could not be linked: nothing answers, 3 times, last 5 min ago" in text
    assert "last change 5 min ago: lost, because nobody reaches it" in text
    for number in range(2, MAX_NOTED + 2):
        notes.note(peer(number), "was linked", 11.0)
    assert notes.told(peer(1), 12.0) == ["last change 2 s ago: lost, because nobody reaches it"]
