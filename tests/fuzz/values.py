"""Well-typed values of any annotation that has a wire schema: within its declared bounds, with a taste for their edges."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Annotated, Any, cast, get_args, get_origin, get_type_hints

from discovery import NetworkId
from tests.fuzz.source import Source
from transport import PeerId
from transport.wire import DEFAULT_BYTES, DEFAULT_ITEMS, DEFAULT_TEXT, MAX_INT, Range, Size

MOST_ITEMS = 6
"""Items and bytes beyond the lower bound, as a rule; engines see more by seeing more messages."""
TEXTS = ("", "a", "é", "\N{SNOWMAN}", "x" * 64, "127.0.0.1", "\0", "\N{GRINNING FACE}" * 8)

Pools = typing.Mapping[Any, Sequence[Any]]
"""Values to choose from instead of making new ones, by type: peers that meet again, terms that collide."""


class Maker:
    """Makes values.

    Args:
        pools: What to choose from, by type.
    """

    def __init__(self, pools: Pools | None = None) -> None:
        self._pools = dict(pools or {})

    def make(self, annotation: Any, source: Source) -> Any:
        """A value that the schema of ``annotation`` lets through."""
        if annotation in self._pools and not source.chance(16):
            return source.pick(self._pools[annotation])
        bounds: Any = None
        if get_origin(annotation) is Annotated:
            annotation, *extras = get_args(annotation)
            bounds = next((extra for extra in extras if isinstance(extra, Range | Size)), None)
        if annotation in self._pools and not source.chance(16):
            return source.pick(self._pools[annotation])
        if isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        if get_origin(annotation) in (typing.Union, types.UnionType):
            return self._union(get_args(annotation), bounds, source)
        if get_origin(annotation) is tuple:
            return self._tuple(get_args(annotation), bounds or DEFAULT_ITEMS, source)
        if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
            return self.message(annotation, source)
        return _leaf(annotation, bounds, source)

    def message(self, kind: type[Any], source: Source) -> Any:
        """A message of one type; one that its own checks refuse is made again, from what comes next."""
        while True:
            fields = {name: self.make(hint, source) for name, hint in _fields(cast(Any, kind))}
            with suppress(ValueError):  # an exhausted source makes everything empty, which all of them accept
                return kind(**fields)

    def _union(self, options: tuple[Any, ...], bounds: Any, source: Source) -> Any:
        option = source.pick(options)
        if option is type(None):
            return None
        return self.make(Annotated[option, bounds] if bounds else option, source)

    def _tuple(self, items: tuple[Any, ...], bounds: Size, source: Source) -> tuple[Any, ...]:
        if len(items) == 2 and items[1] is Ellipsis:
            return tuple(self.make(items[0], source) for _ in range(_length(bounds, source)))
        return tuple(self.make(item, source) for item in items)


@cache
def _fields(kind: Any) -> tuple[tuple[str, Any], ...]:
    hints = get_type_hints(kind, include_extras=True)
    return tuple((item.name, hints[item.name]) for item in dataclasses.fields(kind))


def _length(bounds: Size, source: Source) -> int:
    return bounds.low + source.below(min(bounds.high - bounds.low, MOST_ITEMS) + 1)


def _leaf(annotation: Any, bounds: Any, source: Source) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return source.pick(tuple(annotation))
    makers: dict[Any, Callable[[], Any]] = {
        bool: lambda: bool(source.byte() & 1),
        int: lambda: source.number(*((bounds.low, bounds.high) if bounds else (0, MAX_INT))),
        float: lambda: source.pick((0.0, 1.0, -1.0, 3.5, 1e300, -1e300, 5e-324, float(source.below(1 << 48)))),
        str: lambda: _text(bounds or DEFAULT_TEXT, source),
        bytes: lambda: source.take(_length(bounds or DEFAULT_BYTES, source)),
        PeerId: lambda: PeerId(bytes([source.below(8)]) * 32),
        NetworkId: lambda: NetworkId(bytes([source.below(3)]) * 32),
    }
    return makers[annotation]()


def _text(bounds: Size, source: Source) -> str:
    text = source.pick(TEXTS)[: bounds.high]
    return text.ljust(bounds.low, "x")
