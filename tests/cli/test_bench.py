"""``bench``: what is measured in a node, and the table; the processes are e2e's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import Result

from p2praft import ConsensusConfig, GroupKey, Network
from p2praft.cli.bench import Bench, _print
from p2praft.cli.measure import KEY, measure
from p2praft.collections import Map, MapMachine
from transport import MemoryNetwork

pytestmark = pytest.mark.anyio


async def test_what_is_measured_happens() -> None:
    with anyio.fail_after(30):
        async with (
            Network("n", listen="host:0", transport=MemoryNetwork(seed=1).transport("host")) as network,
            network.group(
                "g",
                secret=GroupKey(b"k" * 32),
                machine=MapMachine(),
                consensus=ConsensusConfig(bootstrap_delay=0),
            ) as group,
        ):
            await group.when.online()
            found = await measure(group, "writes", 40, 8)
            assert set(found) == {"per_second", "p50", "p99"}
            assert 0 < found["p50"] <= found["p99"]
            entry = await Map(group).get(KEY)
            assert entry is not None
            assert entry.version == 40
            assert (await measure(group, "reads", 3, 1))["per_second"] > 0
            assert (await measure(group, "first write", 1, 1))["at"] > 0
            with pytest.raises(KeyError):
                await measure(group, "dreams", 1, 1)


async def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    results: list[dict[str, Any]] = [
        {"measure": "writes", "through": "leader", "at_once": 256, "per_second": 30123.4, "p50": 0.001, "p99": 0.0045},
        {"measure": "failover", "count": 3, "median": 0.25, "worst": 0.3},
    ]
    _print(Bench(nodes=3, data_dir=Path("/disk"), scale=1, failovers=3), results)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 processes on this machine, durable, on the disk of /disk"
    assert lines[2].split() == ["writes", "leader", "256", "30,123", "1.00", "ms", "4.50", "ms"]
    assert lines[3].startswith("fail-over: 250 ms in the median of 3, 300 ms at worst")


async def test_a_folder_that_is_none(p2praft: Callable[..., Result], tmp_path: Path) -> None:
    result = p2praft("bench", "--data-dir", str(tmp_path / "none"))
    assert result.exit_code == 2
    assert "is no directory; make it first" in result.stderr
