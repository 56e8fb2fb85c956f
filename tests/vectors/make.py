"""Makes the vectors from the code; from fixed keys, so that they are the same at every run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from discovery import Entry, NetworkId, SignedEntry, Version, messages as gossip
from p2praft import ConsensusConfig, GroupId, GroupKey
from p2praft.groups import bond
from p2praft.groups.key import Tags, proof
from p2praft.groups.twins import Process
from p2praft.raft import messages as raft
from p2praft.raft.catchup import digest_of
from p2praft.raft.entries import (
    Carried,
    CarriedList,
    Commands,
    Configuration,
    LogEntry,
    NoOp,
    OpenSession,
    Origin,
    Payload,
    Snapshot,
)
from p2praft.raft.histories.entries import Absorb, Absorbed, Branch, Genesis, Seal, Share
from p2praft.raft.histories.messages import AskLife, End, Ended, Held, LifeProof, Met, Standing, Superseded
from p2praft.raft.histories.settings import settings_of
from p2praft.raft.log import Log
from p2praft.raft.types import NO_DIGEST, START, Cursor, Index, Member, Term, Vote
from tests.fuzz.source import Source
from tests.fuzz.values import Maker
from transport import HostPort, PeerAddr, PeerId, Protocol, SecretKey
from transport.handshake import (
    ACCEPTOR,
    DIALLER,
    PROOF,
    VERSION,
    Goodbye,
    Probe,
    ProbeAnswer,
    channel_binding,
    make_proof,
    transcript,
)
from transport.quic_link import CLOSE, CREDIT, OPEN, control

FILE = Path(__file__).resolve().parents[2] / "docs" / "vectors.json"

ALICE_SEED, BOB_SEED = b"\xa1" * 32, b"\xb0" * 32
CLIENT_SECRET, SERVER_SECRET = bytes(range(32)), bytes(range(32, 64))
PASSPHRASE = "correct horse battery staple"
Vector = dict[str, Any]
M = TypeVar("M")


def key(seed: bytes) -> SecretKey:
    """The key of a seed (RFC 8032, section 5.1.5)."""
    return SecretKey(Ed25519PrivateKey.from_private_bytes(seed))


ALICE, BOB = key(ALICE_SEED), key(BOB_SEED)
BINDING = channel_binding(CLIENT_SECRET, SERVER_SECRET)
NETWORK = NetworkId.of("factory")
GROUP_KEY = GroupKey.from_passphrase(PASSPHRASE, network=NETWORK, group="line-1")
GROUP = GroupId.of(GROUP_KEY, network=NETWORK, name="line-1", machine="counter")
TAGS = Tags(GROUP_KEY, GROUP)
ONE = Member(ALICE.peer_id, b"\x01" * 8, False)
TWO = Member(BOB.peer_id, b"\x02" * 8, True)
HISTORY = b"\x48" * 16
SETTINGS = settings_of(ConsensusConfig(expect=2), 1)
PARENT = Branch(history=b"\x50" * 16, at=Cursor(Term(1), Index(8)), digest=b"\x64" * 16)
GENESIS = Genesis(
    history=HISTORY, writer=ONE, attempt=1, founders=(ONE, TWO), reluctant=False, created=1.5e9, settings=SETTINGS
)
CHUNKS = (b"first chunk", b"second chunk")


def entry_of(owner: SecretKey, *, version: Version, left: bool = False) -> SignedEntry:
    """An owner's signed entry."""
    return SignedEntry.sign(
        owner,
        Entry(
            network=NETWORK,
            peer_id=owner.peer_id,
            version=version,
            endpoints=(HostPort("10.0.0.5", 7001), HostPort("fe80::1", 7001)),
            tags=("gateway", "hall 3"),
            groups=(TAGS.of(owner.peer_id),),
            left=left,
        ),
    )


ALICES = entry_of(ALICE, version=Version(3, 7))
BOBS = entry_of(BOB, version=Version(1, 2), left=True)


def log_entry(index: int, payload: Payload) -> LogEntry:
    """An entry of the log, in term 2."""
    return LogEntry(term=Term(2), index=Index(index), time=1.5e9 + index, proposer=ALICE.peer_id, payload=payload)


COMMANDS = Commands(session=4, first=1, settled=0, commands=(b"\x05", b"\xa3add"))
CARRIED_LIST = CarriedList(end=PARENT, digest=b"\x6c" * 32, next=1, total=0)
CARRIED = Carried(
    end=PARENT,
    digest=b"\x6c" * 32,
    first=1,
    total=3,
    lists=(CARRIED_LIST,),
    seen=(Origin(history=HISTORY, session=4, number=2),),
    origins=(Origin(history=HISTORY, session=0, number=3),),
    commands=(b"\x05",),
)
PAYLOADS: tuple[Payload, ...] = (
    GENESIS,
    NoOp(),
    Configuration(voters=(ONE, TWO)),
    OpenSession(nonce=b"\x6e" * 16),
    COMMANDS,
    Absorb(history=PARENT.history, nonce=b"\x6f" * 16),
    Absorbed(branch=PARENT, also=(HISTORY,)),
    Share(settings=SETTINGS),
    CARRIED,
    Seal(into=PARENT.history, voters=(TWO,)),
)
ENTRIES = tuple(log_entry(index, payload) for index, payload in enumerate(PAYLOADS, start=1))
LOG = Log(ENTRIES)
BASE = LOG.base_at(4)
SNAPSHOT = Snapshot(base=BASE, chunks=2, digest=digest_of([hashlib.sha256(chunk).digest() for chunk in CHUNKS]))
LAST = LOG.last
ENDED = Ended(branch=PARENT, into=HISTORY, how=End.SEALED, incarnation=ONE.incarnation)
MEASURE = BASE.past.measure

RAFT: tuple[raft.Message, ...] = (
    raft.PreVote(term=Term(2), last=LAST),
    raft.PreVoteResponse(term=Term(2), vote=Vote.GRANTED, supports=True),
    raft.RequestVote(term=Term(3), last=LAST),
    raft.RequestVoteResponse(term=Term(3), vote=Vote.ABSTAINED, supports=True),
    raft.AppendEntries(
        term=Term(2),
        prev=START,
        digest=NO_DIGEST,
        entries=ENTRIES,
        leader_commit=Index(4),
        stable=LAST,
        safe=True,
        round=17,
    ),
    raft.AppendEntriesResponse(term=Term(2), vote=Vote.GRANTED, matched=True, last=LAST, round=17),
    raft.TimeoutNow(term=Term(2)),
    raft.Propose(request=9, payload=COMMANDS),
    raft.ProposeResponse(request=9, index=Index(5)),
    raft.ReadIndex(request=10),
    raft.ReadIndexResponse(request=10, index=Index(5)),
    raft.FetchEntries(first=Index(2), last=Index(5)),
    Standing(
        factor=1.0,
        attempt=1,
        history=HISTORY,
        genesis=GENESIS,
        founded=True,
        measure=MEASURE,
        seal=ENDED,
        held=Held(last=LAST, digest=LOG.digest_at(LAST.index), term=Term(2), voters=(ONE, TWO)),
        known=(PARENT.history,),
        over=(TWO,),
        snapshot=SNAPSHOT,
        start=3,
        began_in=HISTORY,
        began_with=LAST,
    ),
    raft.InstallSnapshot(term=Term(2), base=Cursor(Term(2), Index(4)), round=18),
    raft.FetchedEntries(first=Index(2), prev=Cursor(Term(2), Index(1)), digest=LOG.digest_at(1), entries=ENTRIES[1:2]),
    raft.FetchChunk(digest=SNAPSHOT.digest, number=1),
    raft.FetchedChunk(digest=SNAPSHOT.digest, number=1, data=CHUNKS[1]),
    Met(measure=MEASURE),
    AskLife(asker=HISTORY, of=PARENT.history, nonce=b"\x6f" * 16),
    LifeProof(asker=HISTORY, of=PARENT.history, nonce=b"\x6f" * 16, measure=MEASURE, voters=(TWO,)),
    Superseded(incarnation=TWO.incarnation, start=3),
)

SIMPLE = Maker(
    {
        SignedEntry: (ALICES, BOBS),
        PeerId: (ALICE.peer_id, BOB.peer_id),
        Version: (ALICES.entry.version, BOBS.entry.version),
    }
)
STEPS = bytes(at for at in range(1, 255) if at % 16)
"""What the simple values are chosen by."""
GOSSIP: tuple[gossip.Message, ...] = tuple(
    SIMPLE.message(kind, Source(STEPS[number - 1 :])) for number, kind in sorted(gossip.DISCOVERY.messages.items())
)


def bond_proof(role: bytes, prover: Member, process: tuple[bytes, int], verifier: Member) -> bytes:
    """The proof that ``prover`` gives to ``verifier``."""
    parts = (b"p2praft/1 bond", GROUP.key, BINDING, role, prover.peer_id.key, verifier.peer_id.key)
    return proof(GROUP_KEY.derive(b"bond"), *parts, prover.incarnation, bytes([prover.volatile]), *_packed(process))


def _packed(process: tuple[bytes, int]) -> tuple[bytes, bytes]:
    nonce, start = process
    return nonce, start.to_bytes(8, "big")


def _made(kind: type[M], **values: Any) -> M:
    """A message with those of the values that it has fields for."""
    return kind(**{item.name: values[item.name] for item in dataclasses.fields(kind)})  # type: ignore[arg-type]


BONDING = (
    _made(
        bond.BondRequest,
        features=("example",),
        group=GROUP.key,
        incarnation=ONE.incarnation,
        volatile=ONE.volatile,
        process=b"\x0a" * 16,
        start=3,
        proof=bond_proof(b"opener", ONE, (b"\x0a" * 16, 3), TWO),
    ),
    _made(
        bond.BondResponse,
        features=(),
        incarnation=TWO.incarnation,
        volatile=TWO.volatile,
        process=b"\x0b" * 16,
        start=1,
        proof=bond_proof(b"acceptor", TWO, (b"\x0b" * 16, 1), ONE),
    ),
    bond.Departure(ended=True),
    bond.Renewed(incarnation=b"\x03" * 8),
    bond.Twin(
        one=Process(nonce=b"\x0b" * 16, start=1, incarnation=TWO.incarnation, address="10.0.0.6:7001"),
        other=Process(nonce=b"\x0c" * 16, start=1, incarnation=TWO.incarnation, address="10.0.0.7:7001"),
    ),
)
PROOFS = (
    make_proof(ALICE, role=DIALLER, binding=BINDING, remote=BOB.peer_id, instance=b"\x11" * 8),
    make_proof(BOB, role=ACCEPTOR, binding=BINDING, remote=ALICE.peer_id, instance=b"\x22" * 8),
)


LATER = (Goodbye(code=0, reason="the node stops", sent=1234), Probe(padding=bytes(16)), ProbeAnswer())
"""What stream 0 carries after the proofs."""


def plain(value: Any) -> Any:
    """A MessagePack value as JSON: bytes become ``{"hex": …}``, floats ``{"float": …}``."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, float):
        return {"float": value}
    return [plain(item) for item in value] if isinstance(value, list) else value


def framed(protocol: Protocol, message: Any, name: str = "") -> Vector:
    """A message's vector."""
    frame = protocol.encode(message)
    return {
        "name": name or f"{protocol.name} {type(message).__name__}",
        "protocol": protocol.name,
        "value": plain(msgpack.unpackb(frame[4:])),
        "hex": frame.hex(),
    }


def values() -> Iterator[Vector]:
    """What is derived, hashed and signed."""

    def vector(name: str, value: bytes, /, **inputs: Any) -> Vector:
        return {"name": name, "inputs": inputs, "hex": value.hex()}

    for name, seed, owner in (("alice", ALICE_SEED, ALICE), ("bob", BOB_SEED, BOB)):
        yield vector(f"peer id of {name}", owner.peer_id.key, seed=seed.hex(), text=str(owner.peer_id))
    address = PeerAddr(ALICE.peer_id, ALICES.entry.endpoints)
    yield vector(
        "address",
        msgpack.packb([address.peer_id.key, [[e.host, e.port] for e in address.endpoints]]),
        text=str(address),
    )
    yield vector(
        "channel binding",
        BINDING,
        client_traffic_secret_0=CLIENT_SECRET.hex(),
        server_traffic_secret_0=SERVER_SECRET.hex(),
    )
    signed = transcript(VERSION, DIALLER, BINDING, ALICE.peer_id, BOB.peer_id, b"\x11" * 8)
    yield vector("identity transcript of the dialler", signed, instance="11" * 8)
    yield vector("identity signature of the dialler", PROOFS[0].signature)
    for name, kind, value in (("open", OPEN, "discovery/1"), ("credit", CREDIT, 131_072), ("close", CLOSE, "done")):
        yield vector(f"link {name}", control(kind, value), value=value)
    yield vector("network id", NETWORK.key, name="factory", text=str(NETWORK))
    yield vector("signed bytes of alice's entry", _signed_bytes(ALICES))
    yield vector("signature of alice's entry", ALICES.signature)
    yield vector(
        "group key of a passphrase", GROUP_KEY.secret, passphrase=PASSPHRASE, network=str(NETWORK), name="line-1"
    )
    yield vector("group id", GROUP.key, network=str(NETWORK), name="line-1", machine="counter", text=str(GROUP))
    for name, owner in (("alice", ALICE), ("bob", BOB)):
        yield vector(f"group tag of {name}", TAGS.of(owner.peer_id))
    yield vector("bond key", GROUP_KEY.derive(b"bond"))
    yield vector("bond proof of the opener", BONDING[0].proof)
    yield vector("bond proof of the acceptor", BONDING[1].proof)
    yield vector("snapshot digest", SNAPSHOT.digest, chunks=[chunk.hex() for chunk in CHUNKS])


def _signed_bytes(signed: SignedEntry) -> bytes:
    packed: bytes = msgpack.packb(msgpack.unpackb(gossip.DISCOVERY.encode(gossip.Hello(entry=signed))[4:])[1][0])
    return b"p2praft/1 entry" + packed


def messages() -> Iterator[tuple[Protocol, Any, Vector]]:
    """One message of each kind, with its protocol and its vector."""
    for role, identity in zip(("dialler", "acceptor"), PROOFS, strict=True):
        yield PROOF, identity, framed(PROOF, identity, f"identity/1 Proof of the {role}")
    for later in LATER:
        yield PROOF, later, framed(PROOF, later)
    for heard in GOSSIP:
        yield gossip.DISCOVERY, heard, framed(gossip.DISCOVERY, heard)
    for step in BONDING:
        yield bond.BOND, step, framed(bond.BOND, step)
    for message in RAFT:
        envelope = bond.Envelope(history=HISTORY, message=message)
        yield bond.BOND, envelope, framed(bond.BOND, envelope, f"{bond.BOND.name} Envelope of {type(message).__name__}")


def everything() -> dict[str, list[Vector]]:
    """The file's content."""
    return {"values": list(values()), "frames": [vector for _, _, vector in messages()]}


def dumped() -> str:
    """The file's text."""
    return json.dumps(everything(), indent=1, ensure_ascii=False) + "\n"
