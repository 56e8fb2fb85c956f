"""Targets: what members replicate, what they give each other as snapshots, and what a local client may ask."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import msgpack

from p2praft.cli.control import ControlServer
from p2praft.collections import MapMachine
from p2praft.errors import P2PRaftError
from p2praft.groups import snapshots
from p2praft.groups.applier import Applier
from p2praft.groups.group import QueryResult
from p2praft.groups.machine import unpack
from p2praft.raft.entries import Commands, LogEntry, OpenSession
from p2praft.raft.types import Cursor, Index, Term
from tests.fuzz.mutate import NASTY, mutate
from tests.fuzz.source import Source
from transport import PeerId

T = TypeVar("T")

PEER = PeerId(b"p" * 32)
KEYS = ("", "a", "b", "é" * 10, "x" * 2000, b"a", 7, None, ["a"])
VALUES = (b"", b"\xc0", b"\x01", b"\xc1", b"x" * 100, 7, None, "text")


def _command(source: Source) -> bytes:
    """A command of the map's, right or nearly."""
    command: Any
    match source.byte() % 4:
        case 0:
            command = ["delete", source.pick(KEYS)]
        case 1:
            return source.take(source.below(12))
        case _:
            items = [[source.pick(KEYS), source.pick(VALUES)] for _ in range(source.below(4))]
            command = ["set", items, source.pick((None, 0, 1, 2, -1, "x", 2**63))]
    if source.chance(3):
        command = mutate(command, source)
    packed: bytes = msgpack.packb(command)
    return packed


def _entry(index: int, payload: Commands | OpenSession) -> LogEntry:
    return LogEntry(term=Term(1), index=Index(index), time=float(index), proposer=PEER, payload=payload)


def commands(data: bytes) -> None:
    """Whatever is committed, every member applies it alike, by itself or from a snapshot, and still answers."""
    source = Source(data)
    one, other = Applier(MapMachine()), Applier(MapMachine())
    for index in range(1, 40):
        if source.exhausted:
            break
        payload: Commands | OpenSession
        if index == 1 or source.chance(8):
            payload = OpenSession(nonce=source.take(16))
        else:
            payload = Commands(
                session=1 if source.byte() % 8 else source.below(40),
                first=source.number(0, 2**63 - 1) if source.chance(8) else max(1, index - 1 - source.below(2)),
                settled=source.below(8),
                commands=tuple(_command(source) for _ in range(1 + source.below(3))),
            )
        entry = _entry(index, payload)
        assert one.apply(entry) == other.apply(entry)
        if source.chance(8):
            tables, state = snapshots.decode(other.machine, [b"".join(snapshots.encode(other))])
            other.restore(other.index, tables, state)
    assert b"".join(snapshots.encode(one)) == b"".join(snapshots.encode(other))
    state = getattr(one.machine, "state", None)
    if state is not None:  # what handles read; nothing that was committed may make it unreadable
        list(state.items(""))


def snapshot(data: bytes) -> None:
    """The chunks of a fetched snapshot: a state, or an error of ours."""
    source = Source(data)
    size = 1 + source.byte()
    stream = source.rest()
    chunks = [stream[at : at + size] for at in range(0, len(stream), size)] or [b""]
    applier = Applier(MapMachine())
    storage = SimpleNamespace(chunk=lambda number, pending: chunks[number])
    unused: Any = None
    shell = snapshots.Snapshots(
        applier=applier,
        storage=cast(Any, storage),
        every=100,
        store=unused,
        made=unused,
        taken=unused,
        send=unused,
        fail=unused,
    )
    fetched = SimpleNamespace(
        chunks=len(chunks), base=SimpleNamespace(last=Cursor(Term(1), Index(9)), past=SimpleNamespace(genesis=None))
    )
    try:
        tables, _state = shell._decode(cast(Any, fetched), True)
    except P2PRaftError:
        return
    assert len(tables.sessions) >= 0


class _Group:
    """A group that agrees with itself."""

    name, id, role, term, leader, is_leader, committed, online = "g", "id", "leader", 1, None, True, 1, True
    log_position, voters = Cursor(Term(1), Index(1)), (PEER,)
    waits_for, safe, losable = None, True, (PEER,)

    def __init__(self) -> None:
        self.bonds: dict[PeerId, Any] = {}
        self.machine = MapMachine()
        self.when = SimpleNamespace(watcher=lambda read: None)
        self._applier = Applier(self.machine)
        self._applier.apply(_entry(1, OpenSession(nonce=bytes(16))))

    async def execute(self, command: Any, *, timeout: float = 10) -> Any:
        _deadline = 0.0 + timeout
        machine = self._applier.machine
        entry = Commands(session=1, first=1, settled=0, commands=(machine.encode(command),))
        applied = self._applier.apply(_entry(2, entry))
        self._applier.tables.sessions = type(self._applier.sessions)()
        self._applier.apply(_entry(1, OpenSession(nonce=bytes(16))))
        assert applied is not None
        ((_, ok, result),) = applied.outcomes
        if not ok:
            raise P2PRaftError(result.decode())
        return unpack(result)

    async def query(self, query: Any, consistency: Any = None, *, timeout: float | None = None) -> QueryResult:
        return QueryResult(value=self._applier.query(query), index=1)

    async def leave(self) -> None:
        return None

    async def transfer_leadership(self, to: PeerId | None = None) -> PeerId:
        return PEER

    async def recover(self, lost: list[PeerId], *, timeout: float) -> list[PeerId]:
        _deadline = 0.0 + timeout
        return lost

    async def abandon(self, *, timeout: float) -> None:
        _deadline = 0.0 + timeout

    async def merge(self, *, timeout: float) -> None:
        _deadline = 0.0 + timeout


class _Network:
    name, peer_id, address = "n", PEER, "address"

    def __init__(self) -> None:
        self.groups = {"id": _Group()}
        self.peers = cast(Any, _Peers())


class _Peers(list[Any]):
    def explain(self, peer: PeerId) -> str:
        return str(peer)


def run_now(call: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that has nothing to wait for."""
    try:
        call.send(None)
    except StopIteration as done:
        return cast(T, done.value)
    call.close()
    raise AssertionError("it waits")


async def _follow(server: ControlServer, request: Any) -> Any:
    return await server._answer(request)


REQUESTS: tuple[dict[str, Any], ...] = (
    {"op": "status"},
    {"op": "peers"},
    {"op": "groups"},
    {"op": "map", "action": "get", "group": "g", "key": "a", "weak": True},
    {"op": "map", "action": "set", "group": "g", "key": "a", "value": {"x": [1]}, "expected": 0, "timeout": 1},
    {"op": "map", "action": "delete", "group": "g", "key": "a", "timeout": 1},
    {"op": "map", "action": "list", "group": "g", "prefix": "a"},
    {"op": "transfer", "group": "g", "to": "ob"},
    {"op": "leave", "group": "g"},
    {"op": "recover", "group": "g", "dry_run": True},
    {"op": "recover", "group": "g", "lost": [str(PEER)], "timeout": 1},
    {"op": "explain", "peer": str(PEER)},
)
JSON: tuple[Any, ...] = (
    *(value for value in NASTY if not isinstance(value, bytes | msgpack.ExtType | msgpack.Timestamp)),
)


def requests(data: bytes) -> None:
    """Requests that are almost right."""
    source = Source(data)
    request = dict(source.pick(REQUESTS))
    for _ in range(source.below(4)):
        key = source.pick((*request, "timeout", "lost", "expected", "extra"))
        match source.byte() % 4:
            case 0:
                request.pop(key, None)
            case _:
                request[key] = source.pick(JSON if key != "prefix" else KEYS[:5])
    control(json.dumps(request, default=str).encode())


def control(data: bytes) -> None:
    """A line that a local client sends: it gets an answer, and a bad one is told what is wrong."""
    try:
        request = json.loads(data)
    except (ValueError, RecursionError):
        return  # the connection ends
    server = ControlServer(cast(Any, _Network()), 0.0)
    if isinstance(request, dict) and request.get("op") == "status":
        return  # asks the clock
    answer = run_now(_follow(server, request))
    assert ("result" in answer) != ("error" in answer)
    assert answer.get("error") != "Internal", answer
    json.dumps(answer, default=str)
