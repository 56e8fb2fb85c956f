"""What QUIC connections do, in qlog's format (draft-ietf-quic-qlog-main-schema), for tools such as qvis.

The QUIC engine tells a logger of its own what happens; here each connection's trace becomes a file when it ends, and all
that is kept is bounded.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import deque
from pathlib import Path
from typing import Any

from aioquic.quic.logger import QLOG_VERSION, QuicLogger, QuicLoggerTrace
from aioquic.quic.packet import QuicPacketType

from transport.errors import ConfigError

logger = logging.getLogger("transport")

MAX_EVENTS = 20_000
"""Events kept of one connection; of a longer one the oldest are dropped. Some 10 MB as a file."""
MAX_FILES = 200
"""Files that one node writes and keeps; the oldest of its own make room."""


class BoundedTrace(QuicLoggerTrace):
    """One connection's newest events."""

    def __init__(self, *, is_client: bool, odcid: bytes) -> None:
        super().__init__(is_client=is_client, odcid=odcid)
        self._newest: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)

    def packet_type(self, packet_type: Any) -> str:
        """Its name in the format; qh3's types are not aioquic's, but named alike."""
        return super().packet_type(QuicPacketType[packet_type.name])

    def log_event(self, *, category: str, event: str, data: dict[str, Any]) -> None:
        """Something happened."""
        self._newest.append({"data": data, "name": f"{category}:{event}", "time": self.encode_time(time.time())})

    def to_dict(self) -> dict[str, Any]:
        """As the format has it."""
        return {**super().to_dict(), "events": list(self._newest)}


class QlogDirectory(QuicLogger):
    """Writes a ``.qlog`` file for each connection that ends.

    Args:
        path: The folder; made if it does not exist.

    Raises:
        ConfigError: It cannot be made or written to.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self._path = Path(path)
        self._written: deque[Path] = deque()
        self._open: dict[QuicLoggerTrace, None] = {}
        try:
            self._path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"qlog={str(path)!r} cannot be used as a folder: {error.strerror}") from None
        if not os.access(self._path, os.W_OK):
            raise ConfigError(f"qlog={str(path)!r} cannot be written to; choose another folder")

    def start_trace(self, is_client: bool, odcid: bytes) -> QuicLoggerTrace:
        """A connection begins."""
        trace = BoundedTrace(is_client=is_client, odcid=odcid)
        self._open[trace] = None
        return trace

    def end_trace(self, trace: QuicLoggerTrace) -> None:
        """It has ended: write what it did."""
        if trace not in self._open:
            return
        del self._open[trace]
        described: dict[str, Any] = trace.to_dict()
        side = described["vantage_point"]["type"]
        path = self._path / f"{described['common_fields']['ODCID']}-{side}.qlog"
        try:
            with path.open("w") as file:
                json.dump({"qlog_format": "JSON", "qlog_version": QLOG_VERSION, "traces": [described]}, file)
        except OSError as error:
            logger.warning("cannot write %s: %s", path, error.strerror)
            return
        self._written.append(path)
        while len(self._written) > MAX_FILES:
            self._written.popleft().unlink(missing_ok=True)

    def close(self) -> None:
        """Write what the connections did that have not ended."""
        for trace in list(self._open):
            self.end_trace(trace)
