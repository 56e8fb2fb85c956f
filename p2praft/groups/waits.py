"""What a group waits for, in one sentence: everybody that shows it takes it from here.

A group that has no history waits for what :mod:`p2praft.groups.gate` says, or for members. One that has a history and no leader
waits for what its engine says.
"""

from __future__ import annotations

from collections.abc import Sequence

from p2praft.groups.gate import MAX_NAMED, Waits, expected_in_words, in_words
from p2praft.raft.histories.states import State, Wait
from p2praft.raft.status import Status
from p2praft.raft.types import Member

LOSABLE = (Wait.VOTERS, Wait.FOUNDER, Wait.HISTORY)
"""What a group may wait for in vain, so that an operator can declare it lost."""


def waits_in_words(status: Status, gate: Waits | None, *, expect: int, here: int) -> str | None:
    """What the group waits for, as one member sees it: a clause that begins with a verb; None if for nothing.

    Args:
        status: Of the member's engine.
        gate: What its node waits for before it may found; None if for nothing.
        expect: Members that may vote, which the group is founded with.
        here: How many of them are here.
    """
    if status.waits is None:
        if status.state is not State.NONE:
            return None
        return in_words(gate) if gate is not None else expected_in_words(expect, here)
    code, members = status.waits
    match code:
        case Wait.SHELL:
            return in_words(gate) if gate is not None else expected_in_words(expect, here)
        case Wait.MEMBERS:
            if status.state is State.NONE:
                return expected_in_words(expect, here)
            return (
                "waits for a member that may vote: its history has lost its majority, and nobody here can go on with it"
            )
        case Wait.HISTORY if status.state is State.SEALED:
            return (
                f"waits for the other part of the group, which it ended in favour of{_of(members)}; if that is lost for ever, "
                "`recover` says so"
            )
        case Wait.HISTORY:
            if gate is not None and not members:
                return in_words(gate)
            return "waits for a member that has the group's history"
        case Wait.FOUNDER:
            return f"waits for {_names(members)}, which is founding it; if that is lost for ever, `recover` says so"
        case Wait.VOTERS:
            return (
                f"waits for {_names(members)}: without {'them' if len(members) > 1 else 'it'} there is no majority; if they are "
                "lost for ever, `recover` lets the others go on, and `abandon` gives up what this member holds"
            )
        case Wait.REBIRTH:
            return "waits a moment for others that hold its history, which has lost its majority, before it goes on without them"
        case Wait.OPERATOR:
            return (
                "waits for a word: it has met a part of itself that was founded apart and counts more; `merge` ends this one in "
                "favour of that"
            )


def _of(members: Sequence[Member]) -> str:
    return f" ({_names(members)})" if members else ""


def _names(members: Sequence[Member]) -> str:
    more = len(members) - MAX_NAMED
    return ", ".join(m.peer_id.short for m in members[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
