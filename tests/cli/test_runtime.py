"""Where running nodes are found."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from p2praft import SecretKey
from p2praft.cli.output import CommandError
from p2praft.cli.runtime import find_node, runtime_directory, socket_path
from tests.cli.conftest import FakeNode

Start = Callable[[str], FakeNode]


def test_the_folder_is_closed_to_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    base = tmp_path / "r"
    base.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base) if len(str(base)) <= 60 else os.fspath(tmp_path))
    path = runtime_directory()
    assert path.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_open_to_others_is_refused(runtime: Path) -> None:
    runtime.chmod(0o755)
    with pytest.raises(CommandError, match="is open to other users") as error:
        runtime_directory()
    assert str(runtime) in str(error.value)


def test_a_link_in_the_folders_place_is_refused(runtime: Path, tmp_path: Path) -> None:
    runtime.rmdir()
    runtime.symlink_to(tmp_path)
    with pytest.raises(CommandError, match="not a folder of ours"):
        runtime_directory()


@pytest.mark.parametrize("base", ["", "/nowhere", "/" + "x" * 80])
def test_paths_of_sockets_are_short_whatever_the_environment_says(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", base)
    path = socket_path(SecretKey.generate().peer_id)
    assert len(os.fspath(path)) < 100
    assert path.parent.name == f"p2praft-{os.getuid()}"


def test_the_only_node_needs_no_name(fake: FakeNode, runtime: Path) -> None:
    assert find_node(None) == runtime / "aaaabbbbccccddddeeee.sock"


def test_no_node(runtime: Path) -> None:
    with pytest.raises(CommandError, match="no node runs here; start one with `p2praft up"):
        find_node(None)


def test_of_several_nodes_one_must_be_named(start_fake: Start, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start_fake("aaaabbbbcccc")
    start_fake("aaaaddddeeee")
    with pytest.raises(CommandError, match=r"several nodes run here \(aaaabbbb, aaaadddd\); choose one with --node"):
        find_node(None)
    with pytest.raises(CommandError, match="several"):
        find_node("aaaa")
    assert find_node("aaaad").stem == "aaaaddddeeee"
    with pytest.raises(CommandError, match="no running node's id begins with 'zz'"):
        find_node("zz")
    monkeypatch.setenv("P2PRAFT_NODE", "aaaab")
    assert find_node(None).stem == "aaaabbbbcccc"
    assert find_node("aaaad").stem == "aaaaddddeeee", "what is said is stronger than the environment"


def test_a_whole_peer_id_names_a_node(runtime: Path) -> None:
    peer_id = SecretKey.generate().peer_id
    node = FakeNode(socket_path(peer_id))
    try:
        assert find_node(str(peer_id)) == socket_path(peer_id)
    finally:
        node.close()


def test_what_a_killed_node_left_behind_is_removed(start_fake: Start, runtime: Path) -> None:
    start_fake("aaaabbbb").close()
    start_fake("ccccdddd")
    assert find_node(None).stem == "ccccdddd"
    assert [path.stem for path in runtime.iterdir()] == ["ccccdddd"]


def test_a_data_directory_names_a_node(start_fake: Start, runtime: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no node has run with data directory"):
        find_node(str(tmp_path))
    node = start_fake("aaaabbbb")
    start_fake("ccccdddd")
    (tmp_path / "control").write_text(f"{runtime / 'aaaabbbb.sock'}\n")
    assert find_node(str(tmp_path)).stem == "aaaabbbb"
    node.close()
    with pytest.raises(CommandError, match="no node runs with data directory"):
        find_node(str(tmp_path))
