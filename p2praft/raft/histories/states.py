"""The life of a history as one member sees it: its states, and what leads from one to another.

======== ================================================= ============================================================
state    what the member holds                             who may act
======== ================================================= ============================================================
NONE     nothing                                           it founds, or takes what a founded history's leader sends
WRITING  a genesis of its own, not committed               it commits the genesis, or takes it back; nobody else may
OFFERED  a genesis that another wrote, not known committed it waits for its writer's word
LIVING   a founded history                                 Raft
SEALED   a history whose seal is committed                 it joins the history that the seal names
======== ================================================= ============================================================

======== ============================================================================== ============ ==================
from     when                                                                           to           done by
======== ============================================================================== ============ ==================
NONE     it may found, and none that ranks before it may                                WRITING      ``write``
NONE     a founded history feeds it                                                     LIVING       ``take_up``
NONE     the writer of a genesis that names it feeds it                                 OFFERED      ``take_up``
NONE     all that its history ended in favour of is gone                                LIVING       ``revive``
WRITING  every founder holds the genesis, and it remembers so                           LIVING       ``begin``
WRITING  a founder is lost, or another genesis or a founded history comes first         NONE, LIVING ``give_back``
OFFERED  it hears of the commit                                                         LIVING       ``begin``
OFFERED  the writer took it back, or has forgotten it and nobody has more               NONE, LIVING ``give_back``
OFFERED  no leader for long, and nothing to lose                                        NONE         ``leave``
LIVING   its seal is committed                                                          SEALED       Raft
LIVING   nothing to lose, and a higher history is proven to live, or there is no quorum NONE         ``leave``
LIVING   it is dead, or somebody tells of its seal, and an heir lives                   NONE         ``leave``
LIVING   it is dead, and ours is the most advanced log of those around                  WRITING      ``write``
LIVING   it is dead, and the writer of its rebirth feeds us                             OFFERED      ``take_up``
SEALED   its heir feeds it                                                              LIVING       ``move``
SEALED   its heir is gone, and another history is proven to live                        NONE         ``leave``
SEALED   its heir is gone, and the writer of our history's rebirth feeds us             OFFERED      ``take_up``
SEALED   its heir is gone, and a majority of our voters is here                         WRITING      ``write``
======== ============================================================================== ============ ==================

What changes the state is done by :mod:`.holding`; when it is done is decided by :mod:`.life`, :mod:`.ending` and :mod:`.adoption`.
The *heir* of a history is the one that it ended in favour of, or any that descends from that one or has taken it over.
``NONE, LIVING`` means: back to the parent, if the genesis has one. A member that leaves a history without a committed seal becomes
another member first (a later incarnation), for what it promised there is forgotten.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """See the table above."""

    NONE = "none"
    WRITING = "writing"
    OFFERED = "offered"
    LIVING = "living"
    SEALED = "sealed"


class Wait(StrEnum):
    """What a group without a leader waits for."""

    SHELL = "shell"
    """The node has not met its network yet."""
    MEMBERS = "members"
    """Enough members that may vote, to found."""
    HISTORY = "history"
    """The history that this member was told of, or that its own has ended in favour of."""
    FOUNDER = "founder"
    """The writer of a genesis."""
    VOTERS = "voters"
    """Voters without which there is no majority, and whose memory is not known to be gone."""
    REBIRTH = "rebirth"
    """Other holders of a dead history, before it is born again."""
    OPERATOR = "operator"
    """A word of the operator: another history is higher, and ``on_meeting`` is ``ask``."""
