"""Frames and their strict schemas: the one place where bytes from outside become values.

A message is a frozen dataclass; its annotations are its schema. On the wire a frame is a 4-byte big-endian length and
a MessagePack array: the message's number, then its fields in order. Decoding checks types, ranges, sizes and depth before
any message is built; whatever is wrong is a :class:`WireError` that names the field.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import struct
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin, get_type_hints

import msgpack

from transport.errors import WireError

T = TypeVar("T")
Dump = Callable[[Any], Any]
Load = Callable[[Any], Any]

MAX_INT = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of an int, both inclusive."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Size:
    """Bounds, both inclusive, of a text's characters, of bytes, or of a sequence's items."""

    low: int
    high: int


DEFAULT_TEXT = Size(0, 1024)
DEFAULT_BYTES = Size(0, 1024 * 1024)
DEFAULT_ITEMS = Size(0, 65536)


class Schema(Generic[T]):
    """Turns values of one annotated type into plain MessagePack values and back.

    Args:
        annotation: The type.
    """

    __slots__ = ("_identity", "dump", "load")

    def __init__(self, annotation: type[T] | Any) -> None:
        dump, load = _compile(annotation)
        self.dump: Callable[[T], Any] = dump or _same
        self.load: Callable[[Any], T] = load


@dataclass(frozen=True, slots=True, eq=False)
class Protocol:
    """The messages that two peers may exchange on one kind of link.

    Attributes:
        name: Names it, with its version, when a link is opened.
        messages: Message types by number, from 1; 0 is the link's own.
        max_frame: Bytes of one frame's payload at most.
        window: Bytes that may be under way unread, per direction; at least two frames. By default
            four frames, and at least 256 KiB.
    """

    name: str
    messages: Mapping[int, type]
    max_frame: int
    window: int = 0
    _dumps: dict[type, tuple[int, Dump]] = field(init=False, repr=False, default_factory=dict)
    _loads: dict[int, Load] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not self.window:
            object.__setattr__(self, "window", max(4 * self.max_frame, 256 * 1024))
        if self.window < 2 * (self.max_frame + 4):
            # Credit comes back by quarters of the window: with less, a longest frame could wait for ever.
            raise ValueError(
                f"the window of {self.name} must hold two frames: at least {2 * (self.max_frame + 4)} bytes"
            )
        for number, message in self.messages.items():
            if not 1 <= number <= 255:
                raise ValueError(f"message number {number} of {self.name} is not 1 to 255")
            dump, load = _compile_dataclass(message, lead=number)
            self._dumps[message] = (number, dump)
            self._loads[number] = load

    def encode(self, message: object) -> bytes:
        """The whole frame of a message.

        Raises:
            WireError: It is longer than the protocol allows.
            TypeError: The protocol has no such message: our own mistake.
        """
        try:
            _, dump = self._dumps[type(message)]
        except KeyError:
            raise TypeError(f"{self.name} has no message {type(message).__name__}") from None
        payload: bytes = msgpack.packb(dump(message))
        if len(payload) > self.max_frame:
            raise WireError(
                f"{type(message).__name__} has {len(payload)} bytes; {self.name} allows {self.max_frame} a frame"
            )
        return struct.pack(">I", len(payload)) + payload

    def decode(self, payload: bytes) -> Any:
        """The message in a frame's payload.

        Raises:
            WireError: It is not one of this protocol's.
        """
        plain = unpack(payload, self.max_frame)
        if not _is_array(plain) or not plain:
            raise WireError(f"a frame of {self.name} is a list that begins with the message's number")
        number = plain[0]
        load = self._loads.get(number) if type(number) is int else None
        if load is None:
            raise WireError(f"{self.name} has no message number {number!r:.40}")
        return load(plain)


def unpack(payload: bytes, limit: int) -> Any:
    """The one MessagePack value in ``payload``, without maps, extensions or trailing bytes.

    Raises:
        WireError: It holds anything else.
    """
    if len(payload) > limit:
        raise WireError(f"a frame of {len(payload)} bytes is longer than {limit}")
    try:
        # Tuples: an empty one takes no memory, and few of them bother the garbage collector. Of a frame of four million
        # empty lists each byte took 64, and Python two seconds.
        return msgpack.unpackb(payload, max_map_len=0, max_ext_len=0, use_list=False)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise WireError(f"not MessagePack as expected: {type(error).__name__}: {error}") from None
    except Exception as error:  # msgpack's own tree is not rooted in one class
        raise WireError(f"not MessagePack as expected: {type(error).__name__}") from None


def _same(value: Any) -> Any:
    return value


def _compile(annotation: Any) -> tuple[Dump | None, Load]:
    """Closures for an annotation; a dump of None leaves the value as it is."""
    bounds: Range | Size | None = None
    if get_origin(annotation) is Annotated:
        annotation, *extras = get_args(annotation)
        bounds = next((extra for extra in extras if isinstance(extra, Range | Size)), None)
        if get_origin(annotation) is Annotated:
            return _compile(Annotated[(*get_args(annotation), *extras)])
    if isinstance(annotation, typing.NewType):
        supertype = annotation.__supertype__
        return _compile(Annotated[supertype, bounds] if bounds else supertype)
    if annotation is bool:
        return None, _load_bool
    if annotation is int:
        return None, _int_loader(bounds if isinstance(bounds, Range) else Range(0, MAX_INT))
    if annotation is float:
        return None, _load_float
    if annotation is str:
        return None, _sized_loader(str, "text", bounds if isinstance(bounds, Size) else DEFAULT_TEXT)
    if annotation is bytes:
        return None, _sized_loader(bytes, "bytes", bounds if isinstance(bounds, Size) else DEFAULT_BYTES)
    origin = get_origin(annotation)
    if origin is tuple:
        return _compile_tuple(get_args(annotation), bounds if isinstance(bounds, Size) else DEFAULT_ITEMS)
    if origin in (typing.Union, types.UnionType):
        return _compile_union(get_args(annotation), bounds)
    if isinstance(annotation, type):
        if hasattr(annotation, "from_wire"):
            return _compile_value(annotation)
        if issubclass(annotation, enum.Enum):
            return _compile_enum(annotation)
        if dataclasses.is_dataclass(annotation):
            return _compile_dataclass(annotation)
    raise TypeError(f"no wire schema for {annotation!r}")


def _load_bool(plain: Any) -> bool:
    if type(plain) is not bool:
        raise WireError(f"expected true or false, not {_kind(plain)}")
    return plain


def _load_float(plain: Any) -> float:
    if type(plain) is int and abs(plain) < 2**53:
        return float(plain)
    if type(plain) is not float or not math.isfinite(plain):
        raise WireError(f"expected a finite number, not {_kind(plain)}")
    return plain


def _int_loader(bounds: Range) -> Load:
    low, high = bounds.low, bounds.high

    def load(plain: Any) -> int:
        if type(plain) is not int:
            raise WireError(f"expected an integer, not {_kind(plain)}")
        if not low <= plain <= high:
            raise WireError(f"{plain} is not between {low} and {high}")
        return plain

    return load


def _sized_loader(kind: type[Any], what: str, bounds: Size) -> Load:
    low, high = bounds.low, bounds.high

    def load(plain: Any) -> Any:
        if type(plain) is not kind:
            raise WireError(f"expected {what}, not {_kind(plain)}")
        length = len(plain)
        if not low <= length <= high:
            raise WireError(f"{what} of length {length}, allowed are {low} to {high}")
        return plain

    return load


def _compile_tuple(items: tuple[Any, ...], bounds: Size) -> tuple[Dump, Load]:
    if len(items) == 2 and items[1] is Ellipsis:
        dump_item, load_item = _compile(items[0])
        low, high = bounds.low, bounds.high

        def dump(value: Any) -> Any:
            return list(value) if dump_item is None else [dump_item(item) for item in value]

        def load(plain: Any) -> Any:
            if not _is_array(plain):
                raise WireError(f"expected a list, not {_kind(plain)}")
            if not low <= len(plain) <= high:
                raise WireError(f"a list of {len(plain)} items, allowed are {low} to {high}")
            return tuple([load_item(item) for item in plain])

        return dump, load
    codecs = [_compile(item) for item in items]
    dumps = [dump or _same for dump, _ in codecs]
    loads = [load for _, load in codecs]

    def dump_fixed(value: Any) -> Any:
        return [dump(item) for dump, item in zip(dumps, value, strict=True)]

    def load_fixed(plain: Any) -> Any:
        if not _is_array(plain) or len(plain) != len(loads):
            raise WireError(f"expected a list of {len(loads)} items, not {_kind(plain)}")
        return tuple([load(item) for load, item in zip(loads, plain, strict=True)])

    return dump_fixed, load_fixed


def _compile_union(options: tuple[Any, ...], bounds: Range | Size | None) -> tuple[Dump, Load]:
    if type(None) in options:
        rest = tuple(option for option in options if option is not type(None))
        inner: Any = rest[0] if len(rest) == 1 else typing.Union[rest]  # noqa: UP007
        dump_inner, load_inner = _compile(Annotated[inner, bounds] if bounds else inner)

        def dump_optional(value: Any) -> Any:
            return value if value is None or dump_inner is None else dump_inner(value)

        def load_optional(plain: Any) -> Any:
            return None if plain is None else load_inner(plain)

        return dump_optional, load_optional
    dumps: dict[type, Dump] = {}
    loads: dict[int, Load] = {}
    for option in options:
        tag = option.wire_tag
        if tag in loads:
            raise TypeError(f"{option!r} has a wire_tag that is taken")
        dumps[option], loads[tag] = _compile_dataclass(option, lead=tag)

    def dump(value: Any) -> Any:
        return dumps[type(value)](value)

    def load(plain: Any) -> Any:
        if not _is_array(plain) or not plain or type(plain[0]) is not int or plain[0] not in loads:
            raise WireError(f"expected a list that begins with one of {sorted(loads)}, not {_kind(plain)}")
        return loads[plain[0]](plain)

    return dump, load


def _compile_value(kind: Any) -> tuple[Dump, Load]:
    load: Load = kind.from_wire

    def dump(value: Any) -> Any:
        return value.to_wire()

    return dump, load


def _compile_enum(kind: type[enum.Enum]) -> tuple[Dump, Load]:
    values = {member.value: member for member in kind}

    def dump(value: Any) -> Any:
        return value.value

    def load(plain: Any) -> Any:
        if type(plain) not in (int, str) or plain not in values:
            raise WireError(f"{plain!r:.40} is none of {sorted(values)}")
        return values[plain]

    return dump, load


def _compile_dataclass(kind: Any, lead: int | None = None) -> tuple[Dump, Load]:
    """Closures for a dataclass: a list of its fields, behind ``lead`` if given."""
    hints = get_type_hints(kind, include_extras=True)
    names = [item.name for item in dataclasses.fields(kind)]
    codecs = [_compile(hints[name]) for name in names]
    loads = [(name, load) for name, (_, load) in zip(names, codecs, strict=True)]
    offset = 0 if lead is None else 1
    arity = len(names) + offset
    title = kind.__name__

    # One generated expression each reads and makes all fields at once: this is the hot path of every message.
    parts = [str(lead)] if lead is not None else []
    scope: dict[str, Any] = {}
    for at, (name, (dump_field, _)) in enumerate(zip(names, codecs, strict=True)):
        if dump_field is None:
            parts.append(f"v.{name}")
        else:
            scope[f"d{at}"] = dump_field
            parts.append(f"d{at}(v.{name})")
    dump: Dump = eval(f"lambda v: [{', '.join(parts)}]", scope)

    scope = {"kind": kind, **{f"l{at}": load_field for at, (_, load_field) in enumerate(loads)}}
    arguments = ", ".join(f"{name}=l{at}(p[{at + offset}])" for at, name in enumerate(names))
    build: Load = eval(f"lambda p: kind({arguments})", scope)

    def load(plain: Any) -> Any:
        if (type(plain) is tuple or type(plain) is list) and len(plain) == arity:
            try:
                return build(plain)
            except (WireError, ValueError):
                pass  # once more, slowly, for the field's name
        return load_slowly(plain)

    def load_slowly(plain: Any) -> Any:
        if not _is_array(plain) or len(plain) != arity:
            raise WireError(f"{title} is a list of {arity} items, not {_kind(plain)}")
        values = {}
        at = offset
        for name, load_field in loads:
            try:
                values[name] = load_field(plain[at])
            except WireError as error:
                raise WireError(f"{title}.{name}: {error}") from None
            at += 1
        try:
            return kind(**values)
        except ValueError as error:
            raise WireError(f"{title}: {error}") from None

    return dump, load


def _is_array(plain: Any) -> bool:
    """Whether it is a MessagePack array: frames have tuples, files may have lists."""
    return type(plain) is tuple or type(plain) is list


def _kind(plain: Any) -> str:
    if _is_array(plain):
        return f"a list of {len(plain)}"
    return "nothing" if plain is None else type(plain).__name__
