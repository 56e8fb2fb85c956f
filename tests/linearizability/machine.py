"""The replicated state machine that is judged, and how one operation is done on a group of it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import anyio

from p2praft import ApplyContext, Group, OutcomeUnknown, StateMachine


class Registers(StateMachine):
    """Values and lists by key; written apart from the models in the checker, so that neither excuses the other."""

    signature = "registers/1"

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def apply(self, command: Any, ctx: ApplyContext) -> Any:
        kind, key, argument = command
        if kind == "append":
            values = self.values.setdefault(key, [])
            values.append(argument)
            return len(values)
        if kind == "cas":
            expected, argument = argument
            if self.values.get(key) != expected:
                return False
        self.values[key] = argument
        return True if kind == "cas" else None

    def query(self, query: Any) -> Any:
        return self.values.get(query)

    def snapshot(self) -> Any:
        return self.values

    def restore(self, snapshot: Any) -> None:
        self.values = snapshot


async def perform(group: Group, kind: str, key: str, argument: Hashable, *, timeout: float, linger: float = 0) -> Any:
    """Do one operation through a member; raises what the group raises.

    Args:
        group: Of the member.
        kind: As the models in the checker know it.
        key: Of what.
        argument: Likewise.
        timeout: Seconds to wait.
        linger: Seconds to wait on for the same call if its outcome is then unknown.
    """
    if kind == "read":
        return (await group.query(key, timeout=timeout)).value
    try:
        return await group.execute([kind, key, argument], timeout=timeout)
    except OutcomeUnknown as error:
        with anyio.move_on_after(linger):
            return (await error.wait())[0]
        raise
