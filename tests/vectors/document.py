"""The parts of ``docs/protocol.md`` that are generated: tables of messages from their schemas, and quoted vectors."""

from __future__ import annotations

import dataclasses
import enum
import re
import textwrap
import types
import typing
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from discovery import NetworkId
from discovery.messages import DISCOVERY
from p2praft.groups.bond import BOND
from tests.vectors.make import everything
from transport import PeerId, Protocol
from transport.handshake import PROOF
from transport.wire import DEFAULT_BYTES, DEFAULT_ITEMS, DEFAULT_TEXT, MAX_INT, Range, Size

FILE = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
PROTOCOLS = {protocol.name: protocol for protocol in (PROOF, DISCOVERY, BOND)}
MARK = re.compile(r"(<!-- (table|vector): (.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def rendered(text: str) -> str:
    """The document with its generated parts as they should be."""
    vectors = {vector["name"]: vector["hex"] for part in everything().values() for vector in part}
    used: set[str] = set()

    def part(found: re.Match[str]) -> str:
        begin, kind, name, _, end = found.groups()
        if kind == "table":
            return f"{begin}{_table(PROTOCOLS[name])}{end}"
        used.add(name)
        return f"{begin}\n```text\n{_wrapped(vectors[name])}\n```\n{end}"

    text = MARK.sub(part, text)
    # Messages of a kind that is not quoted stand in the file of vectors alone; what is derived and signed is all quoted.
    missing = {vector["name"] for vector in everything()["values"]} - used
    if missing:
        raise LookupError(f"{FILE.name} does not quote: {', '.join(sorted(missing))}")
    return text


def _wrapped(digits: str) -> str:
    return "\n".join(textwrap.wrap(digits, 96))


def _table(protocol: Protocol) -> str:
    """A protocol's limits, its messages, and the structures in them."""
    lines = [
        "",
        f"`{protocol.name}`: a frame's payload has at most {protocol.max_frame:,} bytes; the window is {protocol.window:,} bytes.",
        "",
        "| number | message | fields, in order |",
        "|---|---|---|",
    ]
    structures: dict[str, Any] = {}
    for number, kind in sorted(protocol.messages.items()):
        lines.append(f"| {number} | {kind.__name__} | {_fields(kind, structures)} |")
    if structures:
        lines += ["", "| structure | tag | fields, in order |", "|---|---|---|"]
    done: set[str] = set()
    while waiting := [name for name in structures if name not in done]:
        for name in waiting:
            done.add(name)
            kind = structures[name]
            tag = kind.wire_tag if hasattr(kind, "wire_tag") else "–"
            lines.append(f"| {name} | {tag} | {_fields(kind, structures)} |")
    return "\n".join(lines) + "\n\n"


def _fields(kind: Any, structures: dict[str, Any]) -> str:
    hints = get_type_hints(kind, include_extras=True)
    parts = [f"`{item.name}` {_type(hints[item.name], structures)}" for item in dataclasses.fields(kind)]
    return "; ".join(parts) or "none"


def _type(annotation: Any, structures: dict[str, Any], bounds: Any = None) -> str:
    if get_origin(annotation) is Annotated:
        annotation, *extras = get_args(annotation)
        bounds = next((extra for extra in extras if isinstance(extra, Range | Size)), bounds)
    if isinstance(annotation, typing.NewType):
        annotation = annotation.__supertype__
    if get_origin(annotation) in (typing.Union, types.UnionType):
        return _union(get_args(annotation), structures, bounds)
    if get_origin(annotation) is tuple:
        (item, _) = get_args(annotation)
        return f"list of {_range(bounds or DEFAULT_ITEMS)} × ({_type(item, structures)})"
    if dataclasses.is_dataclass(annotation):
        structures.setdefault(annotation.__name__, annotation)  # type: ignore[union-attr]
        return f"{annotation.__name__}"  # type: ignore[union-attr]
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return "one of " + ", ".join(f"{member.value} ({member.name.lower()})" for member in annotation)
    return _leaf(annotation, bounds)


def _leaf(annotation: Any, bounds: Any) -> str:
    if annotation is int:
        return f"int {_range(bounds)}" if bounds and bounds.high != MAX_INT else "int"
    leaves = {bool: "bool", float: "float", PeerId: "bytes[32], a PeerId", NetworkId: "bytes[32], a NetworkId"}
    if annotation in leaves:
        return leaves[annotation]
    if annotation is str:
        return f"text[{_range(bounds or DEFAULT_TEXT)}]"
    assert annotation is bytes
    return f"bytes[{_range(bounds or DEFAULT_BYTES)}]"


def _range(bounds: Range | Size) -> str:
    low, high = f"{bounds.low:,}", f"{bounds.high:,}"
    return low if low == high else f"{low} to {high}"


def _union(options: tuple[Any, ...], structures: dict[str, Any], bounds: Any) -> str:
    rest = [option for option in options if option is not type(None)]
    if len(rest) == 1:
        return f"{_type(rest[0], structures, bounds)}, or nil"
    names = ", ".join(_type(option, structures) for option in rest)
    return f"tagged: {names}"
