"""Whom the doctor looks at; what it finds is made for real in tests/e2e."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from click.testing import Result

from p2praft import Network
from p2praft.cli.doctor.findings import Finding
from p2praft.cli.doctor.node import examine_node
from tests.cli.conftest import FakeNode
from transport import HostPort, PeerAddr, SecretKey

pytestmark = pytest.mark.anyio
Run = Callable[..., Result]


def test_where_the_environment_configures_the_node_that_runs_that_node_is_meant(
    p2praft: Run, fake: FakeNode, tmp_path: Path
) -> None:
    fake.reply = {"result": [Finding(check="node", ok=True, message="it runs").as_json()]}
    env = {"P2PRAFT_NETWORK": "shop", "P2PRAFT_DATA_DIR": str(tmp_path / "data")}
    assert "ok   node: it runs" in p2praft("doctor", env=env).stdout
    assert "ok   node: it runs" in p2praft("doctor", "--node", "aaaa", env=env).stdout
    fake.close()
    assert "data does not exist yet; it can be made" in p2praft("doctor", env=env).stdout


async def test_a_seed_that_moved_and_is_here_is_no_fault() -> None:
    key = SecretKey.generate()
    gone = PeerAddr(key.peer_id, (await free_place(),))
    with anyio.fail_after(60):
        async with (
            Network("shop", listen="127.0.0.1:0", seeds=[gone]) as network,
            Network("shop", listen="127.0.0.1:0", identity=key, seeds=[network.address]) as moved,
        ):
            await network.peers.when.known(1)
            findings = await examine_node(network, None)
            assert all(finding.ok for finding in findings), findings
            (said,) = [finding.message for finding in findings if finding.check == "seed"]
            assert said == (
                f"{key.peer_id.short} is not at {gone.endpoints[0]} any more; it lives at {moved.endpoint.bound} now"
            )
            asked = await examine_node(network, gone)
            assert not all(finding.ok for finding in asked), "who asks for that address hears what is there"


async def test_a_seed_that_is_nowhere_stays_a_fault() -> None:
    gone = PeerAddr(SecretKey.generate().peer_id, (await free_place(),))
    with anyio.fail_after(60):
        async with Network("shop", listen="127.0.0.1:0", seeds=[gone]) as network:
            findings = await examine_node(network, None)
    assert [finding.fault for finding in findings if not finding.ok] == ["nothing-listens"]


async def free_place() -> HostPort:
    """An address that nobody has any more."""
    async with Network("shop", listen="127.0.0.1:0") as network:
        return network.endpoint.bound
