"""Whom the doctor looks at; what it finds is made for real in tests/e2e."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from p2praft.cli.doctor.findings import Finding
from tests.cli.conftest import FakeNode

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
