"""What every role can be asked; a role overrides what concerns it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from p2praft.raft.answers import Answer
from p2praft.raft.entries import Proposal
from p2praft.raft.messages import Message
from p2praft.raft.types import Index, Member
from transport import PeerId

if TYPE_CHECKING:
    from p2praft.raft.context import Context


class Role:
    """One way to behave within a term.

    Attributes:
        name: For people.
        deadline: When :meth:`tick` has something to do, on the engine's clock.
    """

    name: ClassVar[str]
    deadline: float

    def tick(self, ctx: Context) -> Answer:
        """Let time pass."""
        raise NotImplementedError

    def on_message(self, message: Message, sender: Member, ctx: Context) -> Answer:
        """Take what concerns the role."""
        raise NotImplementedError

    def flush(self, ctx: Context) -> Answer:
        """Do what a batch of inputs has made possible: called once for every batch."""
        return None

    def on_bond_up(self, member: Member, ctx: Context) -> None:
        """A member can be sent to."""
        return

    def on_bond_lost(self, member: Member, ctx: Context) -> None:
        """A member cannot be sent to any more."""
        return

    def on_sign_of_life(self, member: Member, ctx: Context, *, receiving: bool) -> None:
        """Packets come from a member whose messages are held up; ``receiving`` if a part of one has come."""
        return

    def propose(self, payload: Proposal, proposer: PeerId, ctx: Context) -> Index:
        """Append a proposal; 0 if this member does not lead, or takes none now."""
        return Index(0)

    def read(self, origin: Member, request: int, ctx: Context) -> bool:
        """Take a strong read; False if this member does not lead, or takes none now."""
        return False
