"""The state machine that a group replicates: what an application writes.

Every member applies the same commands in the same order and so reaches the same state. ``apply`` must therefore
be deterministic: no clock (use ``ctx.time``), no dice, no iteration over sets, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import msgpack

from p2praft.errors import CommandFailed
from transport import PeerId

MAX_DIGITS = 9
"""Digits that a machine's version has at most."""
SMALL = 16
"""Items up to which an inner list or dict of a snapshot is packed at once."""

_PACKER = msgpack.Packer(datetime=True)


@dataclass(frozen=True, slots=True)
class MachineName:
    """What a :attr:`StateMachine.signature` says.

    Attributes:
        name: Which machine: part of the GroupId.
        version: Which version of it, at least 1: no part of the GroupId.
    """

    name: str
    version: int = 1

    @classmethod
    def parse(cls, signature: str) -> MachineName:
        """Of ``till/2`` the name is ``till`` and the version 2; of a text that does not end so, the whole is the name."""
        name, _, digits = signature.rpartition("/")
        if name and digits.isascii() and digits.isdigit() and len(digits) <= MAX_DIGITS and int(digits) > 0:
            return cls(name, int(digits))
        return cls(signature)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyContext:
    """Facts about the command being applied; the same on every member.

    Attributes:
        index: Position of the command's entry in the log.
        term: Term in which the leader appended it.
        peer_id: Who proposed the command.
        time: The leader's clock when it appended the entry, seconds since the Unix epoch; part of the log and
            never decreasing along it.
    """

    index: int
    term: int
    peer_id: PeerId
    time: float


class StateMachine:
    """Base of replicated state machines; override :meth:`apply`, :meth:`query`, :meth:`snapshot`, :meth:`restore`.

    Commands, queries, results and snapshots are MessagePack values (None, bool, int, float, str, bytes, list, dict,
    datetime with a time zone); override :meth:`encode` and :meth:`decode` for other types. A tuple arrives as a list.

    Attributes:
        signature: Names the machine and, behind a slash, its version: ``till/2``; without one the version is 1. The name is
            part of the GroupId: members whose machines have other names never meet. The version is not: members
            of two versions share a group and its log, so the newer must do with each old command what the older
            does. A machine that cannot needs a new name.
    """

    signature: ClassVar[str] = ""

    reconcile: Any = None
    """What is carried over when another history of the group ends in favour of the living one; None: nothing is.

    Override it as a method ``reconcile(self, sealed, base)`` that gives the commands, at most 1,000,000 and 256 MiB, or write
    ``reconcile = replay``, which carries the other history's own commands. ``sealed`` is the state at the other history's end
    and ``base`` the state where the two branched, both as :meth:`restore` takes them; ``base`` is None if the two have nothing
    in common. It must be a pure function of the two: the same commands in the same order on every member and at every call. It
    is called on an instance, but must look at no state of it, least of all the living one: conditions ("only if there is none")
    belong into the commands, which the living group applies like any other. What the commands return may report a conflict,
    see :meth:`conflict`.
    """

    def conflict(self, result: Any) -> str | None:
        """What a carried command's result says was not taken, for people; None if all was. Override it beside ``reconcile``."""
        return None

    def apply(self, command: Any, ctx: ApplyContext) -> Any:
        """Change the state; the return value becomes the result of ``execute``.

        An exception becomes that command's :class:`~p2praft.CommandFailed` on every member alike, and the group
        goes on; what was changed before it was raised stays changed.
        """
        raise NotImplementedError

    def apply_batch(self, commands: Sequence[Any], ctx: ApplyContext) -> list[Any]:
        """Apply the commands of one entry, in order; override to do it in one go. One result a command."""
        return [self.apply(command, ctx) for command in commands]

    def query(self, query: Any) -> Any:
        """Answer from the current state without changing it."""
        raise NotImplementedError

    def due(self) -> tuple[float, Any] | None:
        """A time, as ``ctx.time`` tells it, and a command that the leader shall propose then; None for nothing.

        So that time passes in a group to which nobody talks. Override it if your machine does things at a time; it is
        asked often, so be quick. The command may come late, twice, or with others before it.
        """
        return None

    def snapshot(self) -> Any:
        """The whole state as a value that :meth:`restore` takes, and :meth:`chunks` makes bytes of.

        What is applied later must not show in it: copy what can change. It is encoded later, piece by piece, while
        commands go on being applied; so take a shallow copy and be quick.
        """
        raise NotImplementedError

    def restore(self, snapshot: Any) -> None:
        """Replace the whole state by a snapshot's."""
        raise NotImplementedError

    def chunks(self, snapshot: Any) -> Iterator[bytes]:
        """A snapshot's bytes in pieces, made one after the other so that a large one holds nothing up.

        Override it together with :meth:`join` if you override :meth:`encode` and snapshots are large. It must not look
        at the machine's state, and may be called on another thread.
        """
        if type(self).encode is StateMachine.encode:
            return pack_pieces(snapshot)
        return iter((self.encode(snapshot),))

    def join(self, chunks: Iterable[bytes]) -> Any:
        """The snapshot whose bytes are ``chunks``, cut anywhere; under the same rules as :meth:`chunks`."""
        if type(self).decode is not StateMachine.decode:
            return self.decode(b"".join(chunks))
        unpacker = msgpack.Unpacker(timestamp=3, strict_map_key=False, max_buffer_size=0)
        for chunk in chunks:
            unpacker.feed(chunk)
            try:
                return unpacker.unpack()
            except msgpack.OutOfData:
                continue
        raise ValueError("the snapshot's bytes end too early")

    def encode(self, value: Any) -> bytes:
        """Bytes of a command, query, result or snapshot."""
        return pack(value)

    def decode(self, data: bytes) -> Any:
        """The value of :meth:`encode`'s bytes."""
        return unpack(data)


def replay(machine: StateMachine, sealed: Any, base: Any) -> Iterable[Any]:
    """Written as ``reconcile = replay``: the other history's own commands are carried over, each once and in their order.

    Those are its commands behind the position where the two histories branched, or, if they have nothing in common, behind
    the newest snapshot: what the log has. Commands that failed are left out.
    """
    raise TypeError("replay is not called: write `reconcile = replay` in the class of the machine")


class NoMachine(StateMachine):
    """For a group that only elects: it takes no commands."""

    signature = "none/1"

    def apply(self, command: Any, ctx: ApplyContext) -> Any:
        raise CommandFailed("this group has no state machine: it only elects a leader")

    def query(self, query: Any) -> Any:
        return None

    def snapshot(self) -> Any:
        return None

    def restore(self, snapshot: Any) -> None:
        return None


def pack(value: Any) -> bytes:
    """MessagePack bytes of ``value``.

    Raises:
        TypeError: The value, or a part of it, is of a type that MessagePack does not know, or an integer beyond 64 bits.
    """
    try:
        data: bytes = msgpack.packb(value, datetime=True)
    except OverflowError:
        raise TypeError("an integer beyond 64 bits, which MessagePack does not know") from None
    return data


def pack_pieces(value: Any, depth: int = 3) -> Iterator[bytes]:
    """The bytes of :func:`pack`, in pieces: lists and dicts of the outer levels are packed item by item."""
    kind = type(value)
    if depth == 0 or kind not in (list, tuple, dict) or (depth < 3 and len(value) <= SMALL):
        yield pack(value)
    elif kind is dict:
        yield _PACKER.pack_map_header(len(value))
        for key, item in value.items():
            yield pack(key)
            yield from pack_pieces(item, depth - 1)
    else:
        yield _PACKER.pack_array_header(len(value))
        for item in value:
            yield from pack_pieces(item, depth - 1)


def unpack(data: bytes) -> Any:
    """The value that ``data`` encodes; timestamps become aware :class:`~datetime.datetime` values.

    Raises:
        ValueError: The bytes are not one MessagePack value.
    """
    return msgpack.unpackb(data, timestamp=3, strict_map_key=False)
