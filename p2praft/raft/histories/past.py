"""How each entry of a log changes what the log says of its history."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from p2praft.raft.entries import Configuration, LogEntry
from p2praft.raft.histories.entries import Absorb, Absorbed, Genesis, Past, Share
from p2praft.raft.types import Member


def fold(past: Past | None, marks: Iterable[LogEntry], commands: int) -> Past | None:
    """What a log says of its history behind some more entries.

    Args:
        past: What it said before them; None at the log's beginning.
        marks: Those of the entries that say anything of the history, in their order.
        commands: How many of the entries have commands.
    """
    for mark in marks:
        past = _after(past, mark)
    return replace(past, commands=past.commands + commands) if past is not None and commands else past


def _after(past: Past | None, mark: LogEntry) -> Past | None:
    payload = mark.payload
    if isinstance(payload, Genesis):
        return _begin(past, payload, mark)
    if past is None:
        return None
    if isinstance(payload, Configuration):
        return _grown(past, payload.voters)
    if isinstance(payload, Absorb):
        return replace(past, promised=True)
    if isinstance(payload, Absorbed):
        if payload.branch in past.absorbed:
            return past
        known = dict.fromkeys((*past.known, payload.branch.history, *payload.also))
        return replace(past, absorbed=(*past.absorbed, payload.branch), known=tuple(known))
    if isinstance(payload, Share):
        return replace(past, settings=payload.settings)
    return past


def _begin(past: Past | None, genesis: Genesis, mark: LogEntry) -> Past:
    """A reborn history keeps its parent's data, and begins with its own founders' breadth."""
    known = dict.fromkeys((*(past.known if past else ()), *(branch.history for branch in genesis.ancestors)))
    begun = Past(
        genesis=genesis,
        begins=mark.index,
        commands=past.commands if past else 0,
        absorbed=past.absorbed if past else (),
        known=tuple(known),
        settings=genesis.settings or (past.settings if past else None),
    )
    return _grown(begun, genesis.founders)


def _grown(past: Past, voters: tuple[Member, ...]) -> Past:
    durable = sum(not voter.volatile for voter in voters)
    return replace(past, durable=max(past.durable, durable), breadth=max(past.breadth, len(voters)))
