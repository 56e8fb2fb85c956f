"""The guide to the API does as it says: its table, its requests with their answers, its program."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from p2praft import GroupEvent
from p2praft.http import operations
from tests.http.conftest import serving

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "guide" / "http.md").read_text()
PLACE = "localhost:8600"


def test_the_guide_names_every_operation() -> None:
    text = re.sub(r"\b(GROUP|KEY|NUMBER|PEER)\b", "{}", GUIDE)
    for entry in operations():
        assert re.sub(r"\{\w+\}", "{}", entry.path) in text, entry.path


def requests() -> list[tuple[str, str]]:
    """What is typed, and what is answered, of the blocks that ask the node of the guide."""
    blocks = re.findall(r"```console\n(.*?)```", GUIDE, re.DOTALL)
    asked = [block for block in blocks if PLACE in block and "ready" not in block]
    lines = [part for block in asked for part in re.split(r"^\$ ", block, flags=re.MULTILINE) if part]
    return [(typed, answered) for typed, _, answered in (line.partition("\n") for line in lines)]


@pytest.mark.anyio
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
async def test_the_guides_requests_are_answered_as_shown() -> None:
    shown = requests()
    assert len(shown) == 6
    async with serving(group="tills") as served:
        served.group._worker.tell(GroupEvent(kind="leader", term=2, text="something to tell"))
        for typed, answered in shown:
            bound = f"127.0.0.1:{served.bound.port}"
            # A stream has no end: curl gives up after a second, with what has come by then.
            command = ["sh", "-c", typed.replace(PLACE, bound).replace("curl ", "curl --noproxy '*' --max-time 2 ", 1)]
            run = partial(subprocess.run, command, capture_output=True, text=True, timeout=30, check=False)
            said = (await anyio.to_thread.run_sync(run)).stdout
            if "events" in typed:
                assert said.startswith("retry: 1000\n\nid: ")
                assert "event: group\ndata: " in said
                continue
            wanted = re.escape(answered.strip()).replace("…", ".*")
            assert re.fullmatch(wanted, said), (typed, said)


def test_the_guides_program_runs() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\n", done.stdout), done
    assert done.stderr == ""
