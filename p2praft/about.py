"""What a node tells its peers of itself when they ask: which release it runs, what its clock says, which groups it serves.

For diagnosis only: nothing that nodes agree on depends on the answer. Only who names the same network gets one; what it learns
stands in the node's signed entry as well, but for the release and the clock. To ask makes nobody a member. Release 0.1 speaks it
too, so that nodes of both tell each other which they are.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated

import anyio

from transport import Connection, Link, LinkClosed, Protocol
from transport.wire import Size

TIMEOUT = 5.0
"""Seconds that either side waits for the other."""
ELSEWHERE = "this node is in another network"


@dataclass(frozen=True, slots=True, kw_only=True)
class AboutRequest:
    """Asks. ``network`` is the id of the network that the asking peer is in."""

    network: Annotated[bytes, Size(32, 32)]


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """The answer.

    Attributes:
        release: The version of p2praft.
        time: The node's wall clock, seconds since the Unix epoch.
        groups: The node's tags of the groups that it serves: who holds a group's key recognises them. Release 0.1 gave ids.
    """

    release: Annotated[str, Size(1, 64)]
    time: float
    groups: Annotated[tuple[Annotated[bytes, Size(16, 16)], ...], Size(0, 64)]


ABOUT = Protocol(name="about/1", messages={1: AboutRequest, 2: About}, max_frame=4096)


async def ask_about(connection: Connection, network: bytes) -> tuple[About, float]:
    """Ask a peer; its answer, and by how many seconds its clock is ahead of ours, give or take half the round trip.

    Raises:
        LinkClosed: It does not answer such questions, or is in another network; the reason is then :data:`ELSEWHERE`.
        TimeoutError: It did not answer in time.
    """
    with anyio.fail_after(TIMEOUT):
        link = await connection.open(ABOUT)
        try:
            asked = time.time()
            await link.send(AboutRequest(network=network))
            answer = await link.receive()
            if not isinstance(answer, About):
                raise LinkClosed("the peer did not answer the question")
            return answer, answer.time - (asked + time.time()) / 2
        finally:
            link.close("answered")


async def tell_about(link: Link, network: bytes, release: str, groups: Collection[bytes]) -> None:
    """Answer one peer: ``groups`` are this node's tags.

    Raises:
        LinkClosed: It went away.
    """
    with anyio.move_on_after(TIMEOUT):
        request = await link.receive()
        if not isinstance(request, AboutRequest) or request.network != network:
            link.close(ELSEWHERE)
            return
        await link.send(About(release=release, time=time.time(), groups=tuple(groups)[:64]))
        with anyio.move_on_after(TIMEOUT):
            await link.receive()  # until the asker has it and closes
