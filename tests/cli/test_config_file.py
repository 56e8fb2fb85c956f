"""Options from files and the environment: which of them holds, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result

from p2praft.cli import up_command as words
from p2praft.cli.config_file import key_of, options_of
from p2praft.cli.up import UpOptions
from p2praft.cli.up_command import up_command

Run = Callable[..., Result]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[UpOptions]:
    """What ``up`` would have run."""
    seen: list[UpOptions] = []

    def execute(main: Any, options: UpOptions, *, as_json: bool) -> None:
        seen.append(options)

    monkeypatch.setattr(words, "execute", execute)
    return seen


def write(folder: Path, text: str) -> str:
    path = folder / "node.toml"
    path.write_text(text)
    return str(path)


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    p2praft: Run, tmp_path: Path, started: list[UpOptions]
) -> None:
    file = write(tmp_path, 'network = "filed"\nlisten = "127.0.0.1:1"\ntag = ["a", "b"]\n')
    for arguments, env, network in [
        (["--network", "typed"], {"P2PRAFT_NETWORK": "set"}, "typed"),
        ([], {"P2PRAFT_NETWORK": "set"}, "set"),
        ([], {}, "filed"),
    ]:
        result = p2praft("up", "--config", file, *arguments, env=env)
        assert result.exit_code == 0, result.output
        assert started.pop().network == network
    p2praft("up", env={"P2PRAFT_CONFIG": file, "P2PRAFT_TAG": "c d", "P2PRAFT_LISTEN": ""})
    (options,) = started
    assert (options.network, options.listen, options.tags) == ("filed", "127.0.0.1:1", ("c", "d"))


def test_paths_in_a_file_start_where_the_file_is(p2praft: Run, tmp_path: Path, started: list[UpOptions]) -> None:
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "secret").write_text("s")
    text = 'network = "n"\ngroup = "g"\nsecret-file = "secret"\ndata_dir = "data"\nidentity = "/k"\nexpect = 3\nobserver = true'
    result = p2praft("up", "--config", write(tmp_path, text))
    assert result.exit_code == 0, result.output
    (options,) = started
    assert (options.data_dir, options.identity) == (str(tmp_path / "data"), "/k")
    assert (options.secret, options.expect, options.preference.is_observer) == ("s", 3, True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('netwrok = "n"', "unknown key 'netwrok'; did you mean 'network'?"),
        ("zzzz = 1", "unknown key 'zzzz'; known are: advertise,"),
        ("[up]\nnetwork = 'n'", "unknown key 'up'"),
        ("network = 3", "network is a text, not a number"),
        ("observer = 'yes'", "observer is true or false, not a text"),
        ("seed = [1]", "seed is a list of texts, not a list"),
        ("expect = 'three'", "expect is a number, not a text"),
        ("expect = true", "expect is a number, not true or false"),
        ("network = ", "is not TOML"),
        ("network = 'n'\nlisten = 'here'", "'here' is not host:port"),
        ("network = 'n'\nlog-level = 'loud'", "'loud' is not one of"),
    ],
)
def test_what_is_refused_in_a_file(p2praft: Run, tmp_path: Path, text: str, says: str) -> None:
    result = p2praft("up", "--config", write(tmp_path, text))
    assert result.exit_code == 2
    assert says in result.stderr


def test_a_file_that_cannot_be_read(p2praft: Run, tmp_path: Path) -> None:
    assert "none.toml does not exist" in p2praft("up", "--config", str(tmp_path / "none.toml")).stderr
    assert "cannot read" in p2praft("up", "--config", str(tmp_path)).stderr
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    assert "is not TOML" in p2praft("up", "--config", str(tmp_path / "bytes.toml")).stderr


def test_every_option_of_up_can_stand_in_the_file_and_in_the_environment() -> None:
    keys = {key_of(option): option.envvar for option in options_of(up_command)}
    assert {"network", "identity", "listen", "advertise", "seed", "group", "secret-file", "observer"} <= keys.keys()
    assert {"reluctant", "expect", "tag", "data-dir", "qlog", "log-level", "log-json", "json"} <= keys.keys()
    assert all(variable == "P2PRAFT_" + key.upper().replace("-", "_") for key, variable in keys.items())
    visible = [p for p in up_command.params if isinstance(p, click.Option) and not p.hidden and p.name != "config"]
    assert len(visible) == len(keys)


def test_without_a_network_up_says_where_one_can_be_given(p2praft: Run) -> None:
    result = p2praft("up")
    assert result.exit_code == 2
    assert "--network NAME" in result.stderr
    assert "P2PRAFT_NETWORK" in result.stderr
