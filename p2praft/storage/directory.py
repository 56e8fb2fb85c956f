"""A node's data directory: one process at a time."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from p2praft.errors import StorageError

try:
    import fcntl
except ImportError:  # Windows: the exclusive open below stands in for the lock
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger("p2praft")


class DataDirectory:
    """Holds a directory for this process until it is closed. The lock dies with the process.

    Args:
        path: Made if it does not exist, readable by its owner only.

    Raises:
        StorageError: Another process holds it, or it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        lock = self.path / "lock"
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as error:
            raise StorageError(f"cannot use {self.path} as data directory: {error.strerror}") from None
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = os.read(self._file, 32).decode(errors="replace").strip() or "unknown"
                os.close(self._file)
                raise StorageError(
                    f"data directory {self.path} is in use by another process (pid {holder}); "
                    "stop that one first, or give this node a directory of its own"
                ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    @property
    def port(self) -> int | None:
        """The port that the node had last; None if that is not known."""
        try:
            port = int((self.path / "port").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None
        return port if 0 < port < 65536 else None

    def keep_port(self, port: int) -> None:
        """Remember the node's port; the old file stays until the new one is whole. A convenience: it may fail."""
        if port == self.port:
            return
        temporary = self.path / "port.new"
        try:
            with temporary.open("w", encoding="ascii") as file:
                file.write(f"{port}\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path / "port")
        except OSError as error:
            logger.warning("cannot write %s: %s", self.path / "port", error.strerror)

    def close(self) -> None:
        """Let others have it; idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
