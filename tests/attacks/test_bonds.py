"""Attacks on groups by a member of the network that does not hold the group's secret, and by one that does."""

from __future__ import annotations

import hmac
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest

from discovery import NetworkId
from p2praft import GroupKey, Network, StateMachine
from p2praft.groups import bond as bonds
from p2praft.groups.bond import BOND, REFUSED, BondRequest, BondResponse, Envelope, Membership, accept_bond
from p2praft.groups.key import GroupId, proof as group_proof
from p2praft.raft.histories.entries import HistoryId
from p2praft.raft.messages import AppendEntries, RequestVoteResponse
from p2praft.raft.types import NO_DIGEST, START, Index, Member, Term, Vote
from tests.attacks.attacker import RawPeer, insider, node, serves_others
from tests.transport.support import PATIENCE, until
from transport import Link, PeerId
from transport.endpoint import QuicEndpoint

pytestmark = pytest.mark.anyio

KEY = GroupKey(b"k" * 32)
PROCESS = b"p" * 16


def group_id(key: GroupKey = KEY, *, network: str = "factory", name: str = "line") -> GroupId:
    return GroupId.of(key, network=NetworkId.of(network), name=name, machine="counter")


def request(
    evil: RawPeer,
    to: PeerId,
    *,
    key: GroupKey = KEY,
    group: GroupId | None = None,
    role: bytes = b"opener",
    binding: bytes | None = None,
    prover: PeerId | None = None,
) -> BondRequest:
    """A bond request made with whatever the attacker has."""
    group = group or group_id()
    member = Member(prover or evil.key.peer_id, b"incarnat", True)

    class Fake:
        pass

    link: Any = Fake()
    link.binding = evil.binding if binding is None else binding
    made = bonds._proof(key.derive(b"bond"), group.key, role, member, PROCESS, 1, to, link)
    return BondRequest(
        group=group.key,
        incarnation=member.incarnation,
        volatile=True,
        process=PROCESS,
        start=1,
        features=(),
        proof=made,
    )


@asynccontextmanager
async def member_node() -> AsyncIterator[tuple[QuicEndpoint, list[bonds.Bond]]]:
    """A node with a part in the group; and the bonds that it takes."""
    taken: list[bonds.Bond] = []
    async with node() as b:
        own = Membership(group_id(), KEY, Member(b.peer_id, secrets.token_bytes(8), True))

        async def accept(link: Link) -> None:
            accepted = await accept_bond(link, b.peer_id, {own.group.key: own})
            if accepted is not None:
                taken.append(accepted[0])
                await link.receive()

        b.serve(BOND, accept)
        yield b, taken


async def ask(evil: RawPeer, message: object) -> bytes:
    """What comes back on a new bond link, every byte of it."""
    stream = evil.open(BOND)
    evil.send(stream, BOND.encode(message))
    await until(lambda: stream in evil.finished or len(evil.received[stream]) > 40)
    return bytes(evil.received[stream])


def first(answer: bytes) -> object:
    """The first message of several."""
    return BOND.decode(answer[4 : 4 + int.from_bytes(answer[:4], "big")])


async def test_who_holds_the_secret_is_let_in() -> None:
    """So that the refusals below mean something."""
    with anyio.fail_after(PATIENCE):
        async with member_node() as (b, taken), insider(b) as friend:
            answer = await ask(friend, request(friend, b.peer_id))
            assert isinstance(first(answer), BondResponse)
            assert taken[0].member.peer_id == friend.key.peer_id


WRONG: dict[str, Any] = {
    "a wrong secret": lambda evil, b: request(evil, b, key=GroupKey(b"x" * 32)),
    "an unknown group": lambda evil, b: request(evil, b, group=group_id(name="another")),
    "another group's secret": lambda evil, b: request(evil, b, key=GroupKey(b"o" * 32), group=group_id()),
    "another network's group": lambda evil, b: request(evil, b, group=group_id(network="other")),
    "swapped roles": lambda evil, b: request(evil, b, role=b"acceptor"),
    "another connection's proof": lambda evil, b: request(evil, b, binding=bytes(32)),
    "another member's proof": lambda evil, b: request(evil, b, prover=PeerId(b"p" * 32)),
    "a proof for another member": lambda evil, b: request(evil, PeerId(b"p" * 32)),
    "another process's proof": lambda evil, b: replace(request(evil, b), process=b"q" * 16),
    "a start that was not proven": lambda evil, b: replace(request(evil, b), start=2),
    "a proof of zeros": lambda evil, b: BondRequest(
        group=group_id().key,
        incarnation=b"incarnat",
        volatile=True,
        process=PROCESS,
        start=1,
        features=(),
        proof=bytes(32),
    ),
    "an answer instead of a request": lambda evil, b: BondResponse(
        incarnation=b"incarnat", volatile=True, process=PROCESS, start=1, features=(), proof=bytes(32)
    ),
}


async def test_all_refusals_look_alike_and_reveal_nothing() -> None:
    """Byte for byte one answer, which names neither the group nor what was wrong."""
    with anyio.fail_after(PATIENCE):
        async with member_node() as (b, taken), insider(b) as evil:
            answers = {name: await ask(evil, make(evil, b.peer_id)) for name, make in WRONG.items()}
            assert len(set(answers.values())) == 1, answers
            (answer,) = set(answers.values())
            assert len(answer) < 20
            assert REFUSED.encode() in answer
            assert not taken
            assert await serves_others(b)


async def test_an_unknown_group_and_a_bad_proof_cost_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work is counted, not wall time, which tells nothing on a busy machine."""
    work: Counter[str] = Counter()
    derive, prove, compare = GroupKey.derive, group_proof, hmac.compare_digest

    def counted(name: str, call: Any) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            work[f"{name} {sum(len(a) for a in args if isinstance(a, bytes))}"] += 1
            return call(*args, **kwargs)

        return wrapped

    with anyio.fail_after(PATIENCE):
        async with member_node() as (b, _), insider(b) as evil:
            wrong = request(evil, b.peer_id, key=GroupKey(b"x" * 32))
            unknown = request(evil, b.peer_id, group=group_id(name="another"))
            monkeypatch.setattr(GroupKey, "derive", counted("derive", derive))
            monkeypatch.setattr(bonds, "proof", counted("hmac", prove))
            monkeypatch.setattr(hmac, "compare_digest", counted("compare", compare))
            costs = []
            for message in (wrong, unknown):
                work.clear()
                await ask(evil, message)
                costs.append(dict(work))
            assert costs[0] == costs[1]
            assert sum(costs[0].values()) == 3


async def test_a_proof_that_a_member_made_is_worth_nothing_in_the_attackers_hands() -> None:
    """It lures a member into asking it for a bond, and hands the request on to another member, and back to its maker."""
    with anyio.fail_after(PATIENCE):
        async with member_node() as (b, taken), member_node() as (victim, taken_back), insider(b) as evil:
            own = Membership(group_id(), KEY, Member(victim.peer_id, secrets.token_bytes(8), True))
            async with insider(victim) as front:
                lured: list[str] = []

                async def opens() -> None:
                    try:
                        await bonds.open_bond(victim.connections[front.key.peer_id], own)
                    except Exception as error:
                        lured.append(str(error))

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(opens)
                    await until(lambda: len(front.received[1]) > 60)
                    data = bytes(front.received[1])
                    opening = 4 + int.from_bytes(data[:4], "big")
                    captured = BOND.decode(data[opening + 4 :])
                    assert isinstance(captured, BondRequest)
                    assert REFUSED.encode() in await ask(evil, captured)
                    assert REFUSED.encode() in await ask(front, captured), "reflected to its maker"
                    # As an answer to the very request that it stands in:
                    front.send(
                        1,
                        BOND.encode(
                            BondResponse(
                                incarnation=captured.incarnation,
                                volatile=captured.volatile,
                                process=captured.process,
                                start=captured.start,
                                features=captured.features,
                                proof=captured.proof,
                            )
                        ),
                    )
                assert lured == ["the peer does not hold the group's key"]
            assert not taken
            assert not taken_back
            assert await serves_others(b)
            assert await serves_others(victim)


# --- a member that lies


class Nothing(StateMachine):
    signature = "nothing/1"

    def apply(self, command: Any, ctx: Any) -> Any:
        return command

    def snapshot(self) -> Any:
        return None

    def restore(self, snapshot: Any) -> None:
        pass


async def test_a_bonded_member_speaks_only_for_itself() -> None:
    """Raft messages carry no sender: the engine is told whose bond they came over, so nobody can forge another's."""
    with anyio.fail_after(PATIENCE):
        async with Network("factory", listen="127.0.0.1:0") as net:
            async with net.group("line", secret=KEY, machine=Nothing()) as group:
                await group.when.online()
                worker = net._members[group.id].worker
                heard: list[tuple[PeerId, str]] = []
                receive = worker.engine.receive

                def listen(message: Any, sender: Member, *args: Any, **kwargs: Any) -> None:
                    heard.append((sender.peer_id, type(message).__name__))
                    receive(message, sender, *args, **kwargs)

                worker.engine.receive = listen  # type: ignore[method-assign]
                b: Any = net._endpoint
                async with insider(b) as evil:
                    answer = await ask(evil, request(evil, b.peer_id, group=group.id))
                    assert isinstance(first(answer), BondResponse)
                    term = Term(group.term)
                    history = HistoryId(worker.engine.ctx.history)
                    vote = RequestVoteResponse(term=term, vote=Vote.GRANTED, supports=True)
                    usurp = AppendEntries(
                        term=term,
                        prev=START,
                        digest=NO_DIGEST,
                        entries=(),
                        leader_commit=Index(0),
                        stable=START,
                        round=1,
                    )
                    for message in (vote, usurp):
                        evil.send(4, BOND.encode(Envelope(history=history, message=message)))
                    await until(lambda: len(heard) >= 2)
                    assert {peer for peer, _ in heard} == {evil.key.peer_id}
                    assert await group.execute("still here") == "still here"
                    assert group.is_leader
                assert await serves_it(net)


async def serves_it(net: Network) -> bool:
    """Whether a newcomer gets into the network."""
    async with Network("factory", listen="127.0.0.1:0", seeds=[net.address]) as newcomer:
        await newcomer.peers.when.known(1)
    return True
