"""The script that makes three hosts prints what its page shows, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.docs.expected import missing
from tests.docs.pages import ROOT, blocks

SCRIPT = "examples/three_hosts.sh"


def _namespaces() -> set[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout
    return {line.split()[0] for line in listed.splitlines()}


def _cannot() -> str | None:
    """Why hosts cannot be made here, if so."""
    if os.name != "posix" or os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "ip is missing (iproute2)"
    probe = f"p2p-probe-{os.getpid()}"
    for command in (["netns", "add", probe], ["link", "add", f"pp{os.getpid()}", "type", "bridge"]):
        if (result := subprocess.run(["ip", *command], capture_output=True, text=True, check=False)).returncode != 0:
            subprocess.run(["ip", "netns", "del", probe], capture_output=True, check=False)
            return f"this machine allows no network namespaces: {result.stderr.strip()}"
    subprocess.run(["ip", "link", "del", f"pp{os.getpid()}"], check=True)
    subprocess.run(["ip", "netns", "del", probe], check=True)
    return None


def test_three_hosts_lose_a_cable_and_nothing_else() -> None:
    if (why := _cannot()) is not None:
        pytest.skip(why)
    (block,) = (b for b in blocks(ROOT / "docs" / "guide" / "three-hosts.md") if SCRIPT in b.text)
    shown = block.text.splitlines()[1:]
    env = {name: value for name, value in os.environ.items() if not name.startswith("P2PRAFT_")}
    env |= {"PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    result = subprocess.run(
        [ROOT / SCRIPT], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    lacks = missing(shown, result.stdout)
    assert lacks is None, f"{lacks!r} is missing from:\n{result.stdout}"
    assert not {name for name in _namespaces() if name.startswith("p2p-") and "probe" not in name}
