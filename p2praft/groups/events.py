"""What a group tells the application."""

from __future__ import annotations

from dataclasses import dataclass

from transport import PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEvent:
    """Something changed in the group, as this member sees it.

    Attributes:
        kind: ``role``, ``leader``, ``voters``, ``founded``, ``taken back``, ``yielded``, ``sealed``, ``reborn``, ``renewed``,
            ``stranded``, ``differs``, ``declared lost``, ``snapshot``, ``catching up``, ``rival leader``,
            ``bond formed``, ``bond lost``, ``refused``, ``no members``, ``twin`` (two processes of one identity were met),
            ``twin suspected`` or ``closed``.
        term: In which term.
        peer: Whom it concerns, or None.
        text: For people.
    """

    kind: str
    term: int
    peer: PeerId | None = None
    text: str = ""
