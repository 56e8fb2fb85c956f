"""What a role may answer instead of handling a message itself; ``role.py`` acts on it."""

from __future__ import annotations

from dataclasses import dataclass

from p2praft.raft.messages import AppendEntries, InstallSnapshot
from p2praft.raft.types import Member


@dataclass(frozen=True, slots=True)
class Unexpected:
    """The message means nothing to this role: log it, drop it."""


@dataclass(frozen=True, slots=True)
class StepDown:
    """A candidate met its term's leader: follow it, then handle the same message."""

    request: AppendEntries | InstallSnapshot


@dataclass(frozen=True, slots=True)
class RivalLeader:
    """Two leaders in one term: warn, campaign in the next."""

    request: AppendEntries | InstallSnapshot


@dataclass(frozen=True, slots=True)
class Campaign:
    """Become a candidate.

    Attributes:
        pre: Ask first whether it would succeed. Not needed after a pre-vote that did, nor if the leader hands over.
    """

    pre: bool = True


@dataclass(frozen=True, slots=True)
class Elected:
    """The candidate won.

    Attributes:
        in_sync: Who granted, and so is known to hold exactly the candidate's log.
    """

    in_sync: frozenset[Member] = frozenset()


@dataclass(frozen=True, slots=True)
class Resign:
    """Become a follower of nobody: a leader without a quorum, or out of the voter set."""

    why: str = ""


Answer = Unexpected | StepDown | RivalLeader | Campaign | Elected | Resign | None
