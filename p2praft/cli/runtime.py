"""Where running nodes can be spoken to: Unix sockets in a folder of this user's."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import tempfile
from pathlib import Path

from p2praft.cli.output import CommandError
from transport import PeerId


def runtime_directory() -> Path:
    """The folder of the control sockets: short, for socket paths are, and closed to other users.

    Raises:
        CommandError: It belongs to somebody else.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and len(base) <= 60 and os.path.isdir(base):
        path = Path(base) / "p2praft"
    else:
        path = Path("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()) / f"p2praft-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise CommandError("Runtime", f"cannot use {path} for control sockets: {error.strerror}") from None
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise CommandError(
            "Runtime", f"{path} is open to other users or not a folder of ours; remove it and start again"
        )
    return path


def socket_path(peer_id: PeerId) -> Path:
    """Of the node with this identity."""
    return runtime_directory() / f"{str(peer_id)[:20]}.sock"


def find_node(choice: str | None) -> Path:
    """The control socket of a running node.

    Args:
        choice: A data directory, the beginning of a peer id, or None for the only node that runs.

    Raises:
        CommandError: None runs, or it is not clear which is meant.
    """
    choice = choice or os.environ.get("P2PRAFT_NODE")
    if choice and choice.startswith(("http://", "https://")):
        raise CommandError(
            "NotOverHttp", f"this cannot be asked at {choice}; run it beside the node, with its data directory or id"
        )
    if choice and Path(choice).is_dir():
        try:
            path = Path((Path(choice) / "control").read_text().strip())
        except OSError:
            raise CommandError(
                "NoNode", f"no node has run with data directory {choice}; start one with `p2praft up`"
            ) from None
        if not answers(path):
            raise CommandError("NoNode", f"no node runs with data directory {choice} now; start it with `p2praft up`")
        return path
    running = [path for path in sorted(runtime_directory().glob("*.sock")) if answers(path)]
    if choice:
        running = [path for path in running if path.stem.startswith(choice[:20])]
        if not running:
            raise CommandError(
                "NoNode", f"no running node's id begins with {choice!r}, and there is no such data directory"
            )
    if not running:
        raise CommandError("NoNode", "no node runs here; start one with `p2praft up --network NAME --group NAME …`")
    if len(running) > 1:
        names = ", ".join(path.stem[:8] for path in running)
        raise CommandError(
            "NoNode", f"several nodes run here ({names}); choose one with --node, by data directory or id"
        )
    return running[0]


def answers(path: Path) -> bool:
    """Whether a node listens at a control socket; what a killed one left there is removed."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe, contextlib.suppress(OSError):
        seen = path.stat()
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            if os.path.samestat(seen, path.stat()):  # else a node has just started in its place
                path.unlink()
            return False
        return True
    return False
