"""Why a peer is or is not there, in words for people: what was tried, and what came of it."""

from __future__ import annotations

from collections import deque
from typing import TypeVar

from discovery.catalog import Status
from discovery.gossip import Gossip
from transport import PeerId

_T = TypeVar("_T")

MAX_NOTED = 1024
"""Peers of which something is noted, at most; beyond, the oldest notes are dropped."""
NOTES = 8
"""Of each."""


class Notes:
    """What happened with each peer, in order; what happens again and again counts, so that it does not push out how it began."""

    def __init__(self) -> None:
        self._notes: dict[PeerId, deque[tuple[str, int, float]]] = {}
        self._changes: dict[PeerId, tuple[str, str, float]] = {}

    def note(self, peer: PeerId, text: str, now: float) -> None:
        """Something was tried, or happened."""
        notes = _room(self._notes, peer).setdefault(peer, deque(maxlen=NOTES))
        times = notes.pop()[1] + 1 if notes and notes[-1][0] == text else 1
        notes.append((text, times, now))

    def changed(self, peer: PeerId, kind: str, reason: str, now: float) -> None:
        """The application was told that a peer is now otherwise."""
        _room(self._changes, peer)[peer] = (kind, reason, now)

    def told(self, peer: PeerId, now: float) -> list[str]:
        """All that is noted of a peer."""
        lines = []
        if peer in self._changes:
            kind, reason, at = self._changes[peer]
            lines.append(f"last change {_ago(now - at)}: {kind}, because {reason}")
        for text, times, at in self._notes.get(peer, ()):
            lines.append(f"it {text}, {f'{times} times, last ' if times > 1 else ''}{_ago(now - at)}")
        return lines


def explain(gossip: Gossip, notes: Notes, peer: PeerId, now: float, *, network: str, connected: bool) -> str:
    """What is known of a peer, whether it is linked, and why it is as it is."""
    record = gossip.catalog.get(peer)
    if peer == gossip.me:
        return f"{peer.short} is this node itself"
    if record is None:
        lines = [f"{peer.short} is not in the catalog of network {network!r}"]
    else:
        entry = record.signed.entry
        where = ", ".join(map(str, entry.endpoints))
        lines = [f"{peer.short} is {record.status.value}, version {entry.version}, at {where}"]
        if record.source not in (gossip.me, peer):
            lines.append(f"{record.source.short} told us of it first")
    lines += _standing(gossip, peer, now)
    if connected:
        lines.append("it is connected")
    measured = gossip.view.round_trips.get(peer)
    if measured is not None and measured.srtt is not None:
        lines.append(f"its round trip is {measured.srtt * 1000:.1f} ms, give or take {measured.rttvar * 1000:.1f}")
    return "\n".join(lines + notes.told(peer, now))


def _standing(gossip: Gossip, peer: PeerId, now: float) -> list[str]:
    """Whether it is a neighbour; if not, why not."""
    record = gossip.catalog.get(peer)
    next_try = gossip.next_try(peer)
    linked = len(gossip.neighbours)
    lines = []
    if peer in gossip.neighbours:
        lines.append("it is a neighbour for gossip")
    elif gossip.is_dialling(peer):
        lines.append("it is being dialled")
    elif next_try is not None and next_try > now:
        lines.append(f"it is left alone for another {next_try - now:.1f} s after dials that came to nothing")
    elif record is not None and record.status is Status.ALIVE and linked >= gossip.view_size:
        lines.append(f"no link for gossip is needed: {linked} others are neighbours")
    elif record is not None and record.status is Status.LOST:
        lines.append("it is dialled now and then, in case it comes back")
    if (suspicion := gossip.suspicion_of(peer)) is not None:
        accusers, deadline = suspicion
        who = "one peer" if accusers == 1 else f"{accusers} peers"
        lines.append(f"{who} cannot reach it; unless it answers it is lost in {max(0.0, deadline - now):.1f} s")
    return lines


def _room(kept: dict[PeerId, _T], peer: PeerId) -> dict[PeerId, _T]:
    if peer not in kept and len(kept) >= MAX_NOTED:
        del kept[next(iter(kept))]
    return kept


def _ago(seconds: float) -> str:
    if seconds < 1:
        return "just now"
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago"
