"""What the ready-made structures share: a machine that dispatches small commands, and a handle that speaks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from p2praft.errors import P2PRaftError
from p2praft.groups.machine import ApplyContext, StateMachine


class StructureError(P2PRaftError, ValueError):
    """An argument that the structure does not take; the message names it and the bound."""


class StructureMachine(StateMachine):
    """A state machine whose commands and queries are lists that begin with an operation's name.

    Attributes:
        commands: Handlers by operation; each takes the context and the rest of the list.
        queries: Handlers by operation; each takes the rest of the list.
    """

    def __init__(self) -> None:
        self.commands: dict[str, Callable[..., Any]] = {}
        self.queries: dict[str, Callable[..., Any]] = {}

    def apply(self, command: Any, ctx: ApplyContext) -> Any:
        operation, *arguments = command
        return self.commands[operation](ctx, *arguments)

    def query(self, query: Any) -> Any:
        operation, *arguments = query
        return self.queries[operation](*arguments)
