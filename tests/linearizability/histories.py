"""Makes histories: by hand in a short notation, and at random from a register that really is linearizable."""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Sequence
from dataclasses import replace
from itertools import combinations, permutations

from tests.linearizability.checker import Model, Operation, State, register


def op(
    client: str, kind: str, argument: Hashable, result: Hashable, call: float, returned: float = math.inf
) -> Operation:
    """One operation on the key ``x``."""
    return Operation(client=client, key="x", kind=kind, argument=argument, result=result, call=call, returned=returned)


def write(client: str, value: Hashable, call: float, returned: float = math.inf) -> Operation:
    """A write."""
    return op(client, "write", value, None, call, returned)


def read(client: str, value: Hashable, call: float, returned: float) -> Operation:
    """A read that saw ``value``."""
    return op(client, "read", None, value, call, returned)


def cas(
    client: str, expected: Hashable, new: Hashable, done: bool | None, call: float, returned: float = math.inf
) -> Operation:
    """A compare-and-set that answered ``done``."""
    return op(client, "cas", (expected, new), done, call, returned)


def append(client: str, value: Hashable, length: int | None, call: float, returned: float = math.inf) -> Operation:
    """An append that was told the list's new length."""
    return op(client, "append", value, length, call, returned)


def random_history(
    rng: random.Random, *, operations: int, clients: int = 3, keys: int = 1, values: int = 2**32, unknown: float = 0.0
) -> list[Operation]:
    """Of a real register: each operation takes effect at one moment between its call and its return.

    Args:
        rng: The dice.
        operations: How many, of all clients.
        clients: Who work at the same time, each one operation after the other.
        keys: How many registers.
        values: How many different ones are written.
        unknown: Share of the operations that never return; half of those never take effect, the others at any time.
    """
    clocks = [rng.uniform(0, 1) for _ in range(clients)]
    planned: list[tuple[float, Operation]] = []
    for number in range(operations):
        client = rng.randrange(clients)
        call = clocks[client]
        returned = clocks[client] = call + rng.uniform(0.1, 2)
        moment = rng.uniform(call, returned)
        kind = rng.choice(["read", "write", "cas"])
        operation = Operation(
            client=f"c{client}",
            key=f"k{rng.randrange(keys)}",
            kind=kind,
            argument={"read": None, "write": number % values, "cas": (None, number % values)}[kind],
            call=call,
            returned=returned,
        )
        clocks[client] += rng.uniform(0, 1)
        if rng.random() < unknown:
            operation = replace(operation, returned=math.inf)
            moment = rng.choice([math.inf, call + rng.expovariate(0.2)])
        planned.append((moment, operation))
    states: dict[str, State] = {}
    history = []
    for moment, operation in sorted(planned, key=lambda item: item[0]):
        argument = operation.argument
        if operation.kind == "cas" and rng.random() < 0.7:
            argument = (states.get(operation.key), operation.argument[1])  # type: ignore[index]
        operation = replace(operation, argument=argument)
        if moment < math.inf:
            state, result = register(states.get(operation.key), operation.kind, argument)
            states[operation.key] = state
            operation = replace(operation, result=None if operation.unknown else result)
        history.append(operation)
    return sorted(history, key=lambda operation: operation.call)


def by_brute_force(operations: Sequence[Operation], model: Model) -> bool:
    """The definition, word for word: some order of the known and some of the unknown explains all answers."""
    known = [operation for operation in operations if not operation.unknown]
    unknown = [operation for operation in operations if operation.unknown]
    return any(
        _explains(order, model)
        for count in range(len(unknown) + 1)
        for some in combinations(unknown, count)
        for order in permutations([*known, *some])
    )


def _explains(order: Sequence[Operation], model: Model) -> bool:
    state: State = None
    latest_call = -math.inf
    for operation in order:
        latest_call = max(latest_call, operation.call)
        if operation.returned < latest_call:
            return False  # it had returned before one that stands in front of it was called
        state, result = model(state, operation.kind, operation.argument)
        if not operation.unknown and result != operation.result:
            return False
    return True
