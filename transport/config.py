"""Settings of QUIC links."""

from __future__ import annotations

from dataclasses import dataclass

from transport import routes
from transport.engine import EngineName, quic_engine
from transport.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class QuicConfig:
    """Settings of QUIC links.

    Attributes:
        idle_timeout: Seconds of silence after which a connection is broken.
        keepalive: Seconds between signs of life on a quiet connection; they also measure the round trip.
        handshake_timeout: Seconds that a handshake may take.
        unused_timeout: Seconds after which a connection without a link is closed; whoever wants one dials again.
        datagram_size: Payload bytes of a datagram at most, 1200 to 16000; None follows the route's MTU.
        engine: ``aioquic``, ``qh3`` (faster, experimental, the extra ``fast``), or ``auto``: what the environment variable
            ``P2PRAFT_QUIC`` says, else aioquic.
        qlog: A folder for traces of what each connection does (see :mod:`transport.qlog`); None for none.
    """

    idle_timeout: float = 8.0
    keepalive: float = 2.0
    handshake_timeout: float = 5.0
    unused_timeout: float = 60.0
    datagram_size: int | None = None
    engine: EngineName = "auto"
    qlog: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.keepalive < self.idle_timeout <= 600:
            raise ConfigError("keepalive must be above 0 and below idle_timeout, which is at most 600 seconds")
        if not 0.1 <= self.handshake_timeout <= 60:
            raise ConfigError("handshake_timeout must be 0.1 to 60 seconds")
        if not 1 <= self.unused_timeout <= 86_400:
            raise ConfigError("unused_timeout must be 1 to 86400 seconds")
        if self.datagram_size is not None and not routes.SMALLEST <= self.datagram_size <= routes.LARGEST:
            raise ConfigError(f"datagram_size must be {routes.SMALLEST} to {routes.LARGEST} bytes")
        quic_engine(self.engine)
