"""What a group tells the application."""

from __future__ import annotations

from dataclasses import dataclass

from transport import PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEvent:
    """Something changed in the group, as this member sees it.

    Attributes:
        kind: ``role``, ``leader``, ``voters``, ``founded``, ``taken back``, ``yielded``, ``rival leader``,
            ``bond formed``, ``bond lost``, ``refused`` or ``closed``.
        term: In which term.
        peer: Whom it concerns, or None.
        text: For people.
    """

    kind: str
    term: int
    peer: PeerId | None = None
    text: str = ""
