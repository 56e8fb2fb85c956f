"""Attacks on the proof of identity, over real sockets."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest

from tests.attacks.attacker import ACCEPTOR, DIALLER, RawPeer, insider, lured, node, raw, serves_others
from tests.transport.support import ECHO, PATIENCE, until
from transport import DialError, ProofFailed, QuicConfig, SecretKey, Unreachable, WrongIdentity, loop
from transport.handshake import PROOF
from transport.quic import CODE_PROTOCOL, CODE_REFUSED, CODE_WRONG_IDENTITY

pytestmark = pytest.mark.anyio


# --- a dialled peer that is not whom it should be


async def test_a_dialled_peer_that_proves_another_identity_is_left() -> None:
    honest = SecretKey.generate().peer_id
    with anyio.fail_after(PATIENCE):
        async with node() as a, raw() as evil:

            async def answer() -> None:
                await evil.prove(a.peer_id, role=ACCEPTOR)  # properly, as itself

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(answer)
                with pytest.raises(WrongIdentity, match=str(evil.key.peer_id)):
                    await a.connect(lured(honest, evil))
            reason, code = await evil.end()
            assert str(evil.key.peer_id) in reason
            assert code == CODE_WRONG_IDENTITY
            assert a.counters["refused: wrong identity"] == 1
            assert not a.connections
            assert await serves_others(a)


async def test_a_dialled_peer_that_claims_an_identity_without_its_key_is_left() -> None:
    honest = SecretKey.generate().peer_id
    with anyio.fail_after(PATIENCE):
        async with node() as a, raw() as evil:

            async def answer() -> None:
                await evil.prove(a.peer_id, role=ACCEPTOR, peer_id=honest)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(answer)
                with pytest.raises(ProofFailed, match="does not hold"):
                    await a.connect(lured(honest, evil))
            assert (await evil.end())[1] == CODE_REFUSED
            assert a.counters["refused: bad proof"] == 1
            assert not a.connections
            assert await serves_others(a)


async def test_a_dialled_peer_that_proves_nothing_is_left_in_time() -> None:
    with anyio.fail_after(PATIENCE):
        async with node(QuicConfig(handshake_timeout=0.5)) as a, raw() as evil:
            with pytest.raises(Unreachable, match=r"no answer within 0\.5 s"):
                await a.connect(lured(SecretKey.generate().peer_id, evil))
            await evil.end()
            assert not a.connections
            assert await serves_others(a)


async def test_an_accepted_peer_that_proves_nothing_is_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "PROOF_TIMEOUT", 0.3)
    with anyio.fail_after(PATIENCE):
        async with node() as b, raw() as evil:
            evil.dial(b.address.endpoints[0])
            await evil.connected()
            assert await evil.end() == ("no proof of identity in time", CODE_REFUSED)
            assert b.counters["refused: no proof"] == 1
            assert await serves_others(b)


async def test_links_without_a_proof_are_not_served() -> None:
    with anyio.fail_after(PATIENCE):
        async with node() as b, raw() as evil:
            evil.dial(b.address.endpoints[0])
            await evil.connected()
            evil.open(ECHO)
            reason, code = await evil.end()
            assert "before the proof" in reason
            assert code == CODE_PROTOCOL
            assert b.counters["refused: no proof"] == 1
            assert await serves_others(b)


# --- proofs that are not for this connection


async def test_a_proof_replayed_on_another_connection_is_refused() -> None:
    """What an honest peer once sent to B is worth nothing: A's proof to B, recorded, is sent again."""
    with anyio.fail_after(PATIENCE):
        async with node() as b, insider(b) as seen, raw() as thief:
            recorded = PROOF.encode(seen.proof(b.peer_id))
            thief.dial(b.address.endpoints[0])
            await thief.connected()
            assert thief.binding != seen.binding
            thief.send(0, recorded)
            assert await thief.end() == ("the identity proof does not hold", CODE_REFUSED)
            assert b.counters["refused: bad proof"] == 1
            assert set(b.connections) == {seen.key.peer_id}
            assert await serves_others(b)


Forgery = Callable[[RawPeer, Any], dict[str, Any]]


@pytest.mark.parametrize(
    ("forge", "says"),
    [
        (lambda evil, b: {"role": ACCEPTOR}, "does not hold"),
        (lambda evil, b: {"peer_id": b.peer_id}, "cannot be its own peer"),
        (lambda evil, b: {"binding": bytes(32)}, "does not hold"),
        (lambda evil, b: {"peer_id": SecretKey.generate().peer_id}, "does not hold"),
        (lambda evil, b: {"instance": b"changed!"}, "does not hold"),
        (lambda evil, b: {"signature": bytes(64)}, "does not hold"),
    ],
    ids=["swapped roles", "b's own name", "a binding of zeros", "another's name", "a changed field", "no signature"],
)
async def test_a_proof_that_is_not_exactly_right_is_refused(forge: Forgery, says: str) -> None:
    with anyio.fail_after(PATIENCE):
        async with node() as b, raw() as evil:
            evil.dial(b.address.endpoints[0])
            await evil.prove(b.peer_id, **forge(evil, b))
            reason, code = await evil.end()
            assert says in reason
            assert code == CODE_REFUSED
            assert b.counters["refused: bad proof"] == 1
            assert not b.connections
            assert len(evil.received[0]) == 0, "b proves itself only to who has proven itself"
            assert await serves_others(b)


async def test_a_proof_reflected_to_its_maker_is_refused() -> None:
    """The attacker has no key: it sends back what the dialler itself has just signed."""
    honest = SecretKey.generate().peer_id
    with anyio.fail_after(PATIENCE):
        async with node() as a, raw() as mirror:

            async def reflect() -> None:
                await mirror.proven()
                mirror.send(0, bytes(mirror.received[0]))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(reflect)
                with pytest.raises(DialError):
                    await a.connect(lured(honest, mirror))
            await mirror.end()
            assert a.counters["refused: wrong identity"] == 1
            assert not a.connections
            assert await serves_others(a)


async def test_a_live_man_in_the_middle_is_found_out_by_both() -> None:
    """He ends TLS on both sides and passes on every byte: the proofs are bound to the sessions, and there are two."""
    async with AsyncExitStack() as stack:
        stack.enter_context(anyio.fail_after(PATIENCE))
        a, b = await stack.enter_async_context(node()), await stack.enter_async_context(node())
        front, back = await stack.enter_async_context(raw()), await stack.enter_async_context(raw())

        async def relay() -> None:
            await front.proven()
            back.dial(b.address.endpoints[0])
            await back.connected()
            back.send(0, bytes(front.received[0]))
            reason, _ = await back.end()
            assert reason == "the identity proof does not hold"
            front.send(0, PROOF.encode(front.proof(a.peer_id, role=ACCEPTOR, peer_id=b.peer_id)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(relay)
            with pytest.raises(ProofFailed, match="does not hold"):
                await a.connect(lured(b.peer_id, front))
        assert a.counters["refused: bad proof"] == b.counters["refused: bad proof"] == 1
        assert not a.connections
        assert not b.connections
        assert await serves_others(a)
        assert await serves_others(b)


async def test_a_man_in_the_middle_with_his_own_identity_gets_only_what_any_stranger_gets() -> None:
    """He proves himself, in his own name, to both sides: the dialler wanted somebody else, and says so."""
    async with AsyncExitStack() as stack:
        stack.enter_context(anyio.fail_after(PATIENCE))
        a, b = await stack.enter_async_context(node()), await stack.enter_async_context(node())
        front = await stack.enter_async_context(raw())
        back = await stack.enter_async_context(insider(b))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: front.prove(a.peer_id, role=ACCEPTOR))
            with pytest.raises(WrongIdentity):
                await a.connect(lured(b.peer_id, front))
        assert set(b.connections) == {back.key.peer_id}
        assert await serves_others(a)


async def test_a_second_proof_breaks_the_connection() -> None:
    """An identity is proven once: nobody becomes somebody else on the way."""
    with anyio.fail_after(PATIENCE):
        async with node() as b, insider(b) as evil:
            evil.key = SecretKey.generate()
            evil.send(0, PROOF.encode(evil.proof(b.peer_id, role=DIALLER)))
            reason, code = await evil.end()
            assert "one proof of identity" in reason
            assert code == CODE_PROTOCOL
            assert b.counters["refused: bad frame"] == 1
            await until(lambda: not b.connections)
            assert await serves_others(b)
