"""Whether a history of concurrent operations could have happened one at a time: linearizability, decided by search.

Wing and Gong's search ("Testing and verifying concurrent objects", 1993): of the operations that were called before any
other has returned, one must come first; try each, and so on. Lowe's improvement ("Testing for linearizability", 2017):
never search twice from the same set of linearized operations and the same state. Linearizability is local (Herlihy and
Wing, 1990), so each key is judged alone. Three rules keep the search short without changing what it finds:

- An operation that may come next, and with its answer never changes anything, comes next: later it could only do worse. (A
  write of the value that is there already is none: later it may undo another.)
- An operation whose outcome nobody knows is only tried when no known one leads on.
- Who got as far with fewer of those is at least as well off, so the other way is not searched.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

State = Hashable
Model = Callable[[State, str, Hashable], tuple[State, Hashable]]
"""What one thread would see: (state, kind, argument) gives (next state, result). Every key begins with state None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a client asked of one key, and what it was told.

    Attributes:
        client: Who asked, for people.
        key: Of what.
        kind: As the model knows it.
        argument: Likewise.
        result: What was answered.
        call: When it was asked, in seconds on one clock for all clients.
        returned: When the answer came; infinity if none did. It may then take effect at any time after its call, or never.
    """

    client: str
    key: str
    kind: str
    argument: Hashable = None
    result: Hashable = None
    call: float
    returned: float = math.inf

    @property
    def unknown(self) -> bool:
        """Whether its outcome is unknown."""
        return self.returned == math.inf

    @property
    def changes_nothing(self) -> bool:
        """Whether it had no effect, as its answer tells: a read, or a refused ``cas``."""
        return self.kind == "read" or self.result is False

    def __str__(self) -> str:
        argument = "" if self.argument is None else repr(self.argument)
        outcome = "        ?  unknown" if self.unknown else f"{self.returned:9.4f}  {self.result!r}"
        return f"{self.call:9.4f} to {outcome}  =  {self.kind}({argument}) by {self.client}"


def register(state: State, kind: str, argument: Hashable) -> tuple[State, Hashable]:
    """A value: ``read`` it, ``write`` it, or ``cas`` (expected, new), which answers whether it was as expected."""
    if kind == "read":
        return state, state
    if kind == "write":
        return argument, None
    assert kind == "cas"
    assert isinstance(argument, tuple)
    expected, new = argument
    return (new, True) if state == expected else (state, False)


def log(state: State, kind: str, argument: Hashable) -> tuple[State, Hashable]:
    """An append-only list: ``append`` answers the length it made, ``read`` the whole as a tuple."""
    values = state if isinstance(state, tuple) else ()
    if kind == "read":
        return values, values
    assert kind == "append"
    return (*values, argument), len(values) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A key whose history no order explains.

    Attributes:
        key: Which.
        culprit: The operation with whose answer the history stops to make sense.
        around: It and what matters to it, in the order of their calls.
    """

    key: str
    culprit: Operation
    around: tuple[Operation, ...]

    def __str__(self) -> str:
        lines = [f"{'->' if operation == self.culprit else '  '} {operation}" for operation in self.around]
        return "\n".join([f"not linearizable: no order explains key {self.key!r} up to the answer marked:", *lines])


def check(history: Sequence[Operation], model: Model) -> Violation | None:
    """None if the history is linearizable, else the first key that is not."""
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for operation in history:
        by_key[operation.key].append(operation)
    for key, operations in by_key.items():
        if not linearizable(operations, model):
            return _explain(key, operations, model)
    return None


def linearizable(operations: Sequence[Operation], model: Model) -> bool:
    """Whether operations of one key can be put into one order that keeps their answers and their times."""
    known = sorted((op for op in operations if not op.unknown), key=lambda op: op.call)
    unknown = sorted((op for op in operations if op.unknown), key=lambda op: op.call)
    everything = (1 << len(known)) - 1
    seen: dict[tuple[int, State], list[int]] = {}

    def moves(done: int, tried: int, state: State) -> Iterator[tuple[int, int, State]]:
        """Where one more operation can lead; ``done`` and ``tried`` are sets of known and unknown ones, as bits."""
        bound, ways, idle = math.inf, [], None
        at = ((done + 1) & ~done).bit_length() - 1  # the first that is not done
        while at < len(known) and known[at].call <= bound:
            operation = known[at]
            if not done >> at & 1:
                bound = min(bound, operation.returned)
                after, result = model(state, operation.kind, operation.argument)
                if result == operation.result:
                    ways.append((done | 1 << at, tried, after))
                    idle = ways[-1] if operation.changes_nothing else idle
            at += 1
        if idle is not None:
            yield idle
            return
        yield from ways
        for number, operation in enumerate(unknown):
            if operation.call > bound:
                break
            if not tried >> number & 1:
                after, _ = model(state, operation.kind, operation.argument)
                if after != state:
                    yield done, tried | 1 << number, after

    stack = [moves(0, 0, None)]
    while stack and everything:
        for done, tried, state in stack[-1]:
            if done == everything:
                return True
            ways_here = seen.setdefault((done, state), [])
            if any(fewer & tried == fewer for fewer in ways_here):
                continue
            ways_here.append(tried)
            stack.append(moves(done, tried, state))
            break
        else:
            stack.pop()
    return not everything


def _explain(key: str, operations: Sequence[Operation], model: Model) -> Violation:
    """Find the first answer that no order explains: what happened before it is linearizable."""
    returns = sorted(operation.returned for operation in operations if not operation.unknown)
    low, high = 0, len(returns) - 1  # linearizability is closed under prefixes, so halving finds the first bad one
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if linearizable(_until(returns[middle], operations), model) else (low, middle)
    culprit = next(operation for operation in operations if operation.returned == returns[low])
    before = _until(returns[low], operations)
    recent = sorted((op for op in before if op.returned < culprit.call), key=lambda op: op.returned)[-4:]
    telling = [operation for operation in before if not (operation.unknown and operation.kind == "read")]
    around = [
        operation
        for operation in sorted(telling, key=lambda op: op.call)
        if operation.returned >= culprit.call or operation in recent or _speaks_of(operation, _values(culprit))
    ]
    start = min(around.index(culprit), max(0, len(around) - 24))
    return Violation(key=key, culprit=culprit, around=tuple(around[start : start + 24]))


def _until(time: float, operations: Sequence[Operation]) -> list[Operation]:
    """What was known at a time: later answers are unknown then, and later calls had not happened."""
    known = [operation for operation in operations if operation.call <= time]
    return [operation if operation.returned <= time else replace(operation, returned=math.inf) for operation in known]


def _values(operation: Operation) -> set[Hashable]:
    """The values that an operation is about."""
    parts = (operation.argument, operation.result)
    return {value for part in parts for value in (part if isinstance(part, tuple) else (part,))} - {None, True, False}


def _speaks_of(operation: Operation, values: set[Hashable]) -> bool:
    return bool(_values(operation) & values)
