"""``top``: what one picture shows, and how it lives in a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections import deque
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from rich.console import Console

from p2praft.cli.top import Rates, duration, frame, members_of, sparkline
from tests.cli.conftest import FakeNode

Run = Callable[..., Result]
ME, LEADER, VOTER, WATCHER, STRANGER = (letter * 51 + "q" for letter in "abcde")
GROUP: dict[str, Any] = {
    "name": "tills",
    "id": "g",
    "role": "follower",
    "term": 3,
    "leader": LEADER,
    "is_leader": False,
    "committed": 41_000_000,
    "log_position": {"term": 3, "index": 41_000_042},
    "voters": [ME, LEADER, VOTER],
    "bonds": [{"peer_id": LEADER, "rtt": 0.0123}],
    "online": True,
}
PEERS: list[dict[str, Any]] = [
    {"peer_id": LEADER, "addresses": ["10.0.0.5:7"], "tags": [], "groups": ["g"], "rtt": 0.01, "status": "alive"},
    {"peer_id": WATCHER, "addresses": ["10.0.0.6:7"], "tags": [], "groups": ["g"], "rtt": None, "status": "suspect"},
    {"peer_id": STRANGER, "addresses": ["10.0.0.7:7"], "tags": [], "groups": [], "rtt": None, "status": "alive"},
]
STATUS: dict[str, Any] = {
    "peer_id": ME,
    "address": f"{ME}@192.168.100.200:65535",
    "network": "[shop]",
    "uptime": 100_000.0,
    "peers": 3,
    "groups": [GROUP],
}
REPLY = {"result": {**STATUS, "known": PEERS}}


def drawn(status: dict[str, Any], peers: list[dict[str, Any]], rates: Rates, *, live: bool = False) -> list[str]:
    out = Console(file=StringIO(), width=80, force_terminal=False)
    out.print(frame(status, peers, rates, live=live))
    assert isinstance(out.file, StringIO)
    return out.file.getvalue().splitlines()


def test_a_picture_has_everything_and_fits_80_columns() -> None:
    rates = Rates()
    for at in range(40):
        rates.note(float(at), [{**GROUP, "committed": 1000 * at * at}])
    lines = drawn(STATUS, PEERS, rates, live=True)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= 80
    assert "[shop]" in text
    assert "up 1d3h" in text
    assert "peers 2 alive, 1 in doubt   q or Ctrl-C ends" in text
    assert "term 3  committed 41000000/41000042  77000/s" in text
    rows = [line.split() for line in lines]
    assert ["bbbbbbbb", "leader", "yes", "12.3", "ms", "-", "alive"] in rows
    assert ["aaaaaaaa", "*", "voter", "-", "-", "41000042", "here"] in rows
    assert ["cccccccc", "voter", "NO", "-", "-", "gone"] in rows
    assert ["dddddddd", "member", "NO", "-", "-", "suspect"] in rows
    assert ["eeeeeeee", "alive", "-", "10.0.0.7:7"] in rows


def test_a_node_without_groups_and_a_group_without_a_leader() -> None:
    text = "\n".join(drawn({**STATUS, "groups": []}, [], Rates()))
    assert "this node serves no group" in text
    offline = {**GROUP, "online": False, "leader": None, "role": "candidate"}
    text = "\n".join(drawn({**STATUS, "groups": [offline]}, PEERS, Rates()))
    assert "NO LEADER" in text
    assert "candidate" in text
    assert "-/s" in text
    assert "not founded" not in text
    stranded = {**offline, "waits_for": "waits for bbbbbbbb"}
    assert "it waits for bbbbbbbb" in drawn({**STATUS, "groups": [stranded]}, PEERS, Rates())
    waiting = {**offline, "voters": [], "waits_for": "waits to bond with [bold]"}
    assert "not founded yet: it waits to bond with [bold]" in drawn({**STATUS, "groups": [waiting]}, PEERS, Rates())


def test_what_the_leader_knows_of_the_others_is_shown() -> None:
    known = [{"peer_id": WATCHER, "observer": True, "match": 7}, {"peer_id": VOTER, "observer": False, "match": 9}]
    rows = {row["peer_id"]: row for row in members_of({**GROUP, "members": known}, ME, PEERS)}
    assert (rows[WATCHER]["role"], rows[WATCHER]["log"]) == ("observer", 7)
    assert rows[VOTER]["log"] == 9
    assert next(iter(rows)) == LEADER


def test_rates_are_of_the_time_between_two_looks() -> None:
    rates = Rates()
    rates.note(10.0, [GROUP])
    assert rates.now == {"g": None}
    rates.note(12.0, [{**GROUP, "committed": GROUP["committed"] + 500}])
    assert rates.now == {"g": 250.0}
    rates.note(13.0, [{**GROUP, "committed": 5}])  # another history: never a negative rate
    assert rates.now == {"g": 0.0}
    assert sparkline(deque([0.0, 125.0, 250.0])) == " ▄█"
    assert sparkline(deque([0.0])) == " "


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (61, "1m1s"), (3_700, "1h1m"), (90_000, "1d1h"), (864_000, "10d0h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_one_picture_for_a_pipe_and_for_scripts(p2praft: Run, fake: FakeNode) -> None:
    fake.reply = REPLY
    result = p2praft("top", "--once")
    assert result.exit_code == 0
    assert "group tills  online" in result.stdout
    (seen,) = map(json.loads, p2praft("top", "--once", "--json").stdout.splitlines())
    assert seen["rates"] == {"tills": 0.0}
    assert [peer["peer_id"] for peer in seen["peers"]] == [LEADER, WATCHER, STRANGER]


def start(runtime: Path, *arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
    env = {**os.environ, "XDG_RUNTIME_DIR": str(runtime.parent), "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    return subprocess.Popen([sys.executable, "-m", "p2praft", "top", *arguments], env=env, **streams)


def test_without_a_terminal_pictures_follow_each_other_until_it_is_stopped(runtime: Path, fake: FakeNode) -> None:
    fake.reply = REPLY
    with start(runtime, "--interval", "0.1", stdout=subprocess.PIPE) as top:
        assert top.stdout is not None
        seen = 0
        for line in top.stdout:
            seen += b"group tills" in line
            if seen == 3:
                break
        top.send_signal(signal.SIGTERM)
        top.stdout.read()
        assert top.wait(30) == 0


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_in_a_terminal_it_draws_until_q_or_ctrl_c_and_leaves_the_terminal_as_it_was(
    runtime: Path, fake: FakeNode, key: bytes
) -> None:
    fake.reply = REPLY
    master, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    try:
        top = start(
            runtime, "--interval", "0.1", stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
        )
        drawn = read_until(master, b"committed")
        if key == b"\x03":
            top.send_signal(signal.SIGINT)  # what the terminal makes of it
        else:
            os.write(master, key)
        drawn += read_until(master, b"\x1b[?1049l")  # back from the alternate screen
        assert top.wait(30) == 0
        assert b"tills" in drawn
        assert b"Traceback" not in drawn
        assert termios.tcgetattr(terminal)[3] == before[3]
    finally:
        os.close(master)
        os.close(terminal)


def read_until(master: int, wanted: bytes) -> bytes:
    data = b""
    deadline = time.monotonic() + 30
    while wanted not in data:
        ready, _, _ = select.select([master], [], [], max(0, deadline - time.monotonic()))
        assert ready, data
        data += os.read(master, 65536)
    return data


def test_a_node_that_stops_ends_it_with_a_word(runtime: Path, start_fake: Callable[[str], FakeNode]) -> None:
    node = start_fake("aaaabbbbccccddddeeee")
    node.reply = REPLY
    with start(runtime, "--interval", "0.1", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as top:
        assert top.stdout is not None
        assert top.stderr is not None
        top.stdout.readline()
        node.close()
        assert b"the node stopped before it answered" in top.stderr.read()
        assert top.wait(30) == 1
