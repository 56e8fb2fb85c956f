"""Words that no command has, and what the shell completes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import Result

from p2praft.cli.app import HOMES, SECTIONS, command
from tests.cli.conftest import FakeNode

Run = Callable[..., Result]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["statsu"], "p2praft status"),
        (["gruops"], "p2praft groups"),
        (["start"], "p2praft up"),
        (["strat"], "p2praft up"),
        (["members"], "p2praft peers"),
        (["get"], "p2praft map get"),
        (["put"], "p2praft map set"),
        (["version"], "p2praft --version"),
        (["id", "shwo"], "p2praft id show"),
    ],
)
def test_the_nearest_word_is_suggested(p2praft: Run, words: list[str], meant: str) -> None:
    result = p2praft(*words)
    assert result.exit_code == 2
    assert f"there is no command {words[-1]!r}" in result.stderr
    assert f"`{meant}`" in result.stderr


def test_a_word_like_no_other(p2praft: Run) -> None:
    assert "`p2praft --help` lists what there is" in p2praft("xyzzy").stderr


def test_help_lists_every_command_once(p2praft: Run) -> None:
    shown = p2praft("--help").stdout.splitlines()
    for name in HOMES:
        assert sum(line.startswith(f"  {name} ") for line in shown) == 1, name
    assert max(map(len, shown)) <= 80
    assert set(HOMES) - {name for names in SECTIONS.values() for name in names} == {"completion"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(p2praft: Run, shell: str) -> None:
    script = p2praft("completion", shell).stdout
    assert "_P2PRAFT_COMPLETE=" in script
    assert json.loads(p2praft("completion", shell, "--json").stdout)["script"] == script.rstrip("\n") + "\n"
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n"], input=script, text=True, capture_output=True, check=False, timeout=30)
        assert checked.returncode == 0, checked.stderr


def complete(*words: str) -> list[str]:
    """What is offered behind these words, for the last of them."""
    completer = ShellComplete(command, {}, "p2praft", "_P2PRAFT_COMPLETE")
    return [item.value for item in completer.get_completions(list(words[:-1]), words[-1])]


def test_nodes_and_their_groups_are_completed(runtime: Path, start_fake: Callable[[str], FakeNode]) -> None:
    node = start_fake("aaaabbbbccccddddeeee")
    node.reply = {"result": [{"name": "tills"}, {"name": "lines"}]}
    assert complete("sta") == ["status"]
    assert complete("status", "--node", "aa") == ["aaaabbbb"]
    assert complete("transfer", "ti") == ["tills"]
    assert complete("transfer", "--node", "aaaabbbb", "") == ["tills", "lines"]
    node.reply = b"nonsense\n"
    assert complete("transfer", "ti") == []


def test_nothing_is_completed_where_no_node_runs(runtime: Path) -> None:
    assert complete("transfer", "ti") == []
