"""Authenticated, framed, multiplexed links between two peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transport.lazy import lazily

if TYPE_CHECKING:
    from transport.address import HostPort as HostPort, PeerAddr as PeerAddr
    from transport.config import QuicConfig as QuicConfig
    from transport.endpoint import QuicTransport as QuicTransport
    from transport.errors import (
        AddressError as AddressError,
        BindError as BindError,
        ConfigError as ConfigError,
        DialError as DialError,
        KeyFileError as KeyFileError,
        LinkClosed as LinkClosed,
        LinkFull as LinkFull,
        P2PRaftError as P2PRaftError,
        ProofFailed as ProofFailed,
        TransportError as TransportError,
        Unreachable as Unreachable,
        VersionMismatch as VersionMismatch,
        WireError as WireError,
        WrongIdentity as WrongIdentity,
    )
    from transport.identity import PeerId as PeerId, SecretKey as SecretKey
    from transport.link import (
        Connection as Connection,
        ConnectionEvent as ConnectionEvent,
        Endpoint as Endpoint,
        Handler as Handler,
        Link as Link,
        Transport as Transport,
    )
    from transport.memory import MemoryNetwork as MemoryNetwork
    from transport.wire import Protocol as Protocol

P2PRAFT_PACKAGE = True

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "transport.address": "HostPort PeerAddr",
        "transport.config": "QuicConfig",
        "transport.endpoint": "QuicTransport",
        "transport.errors": "AddressError BindError ConfigError DialError KeyFileError LinkClosed LinkFull "
        "P2PRaftError ProofFailed TransportError Unreachable VersionMismatch WireError WrongIdentity",
        "transport.identity": "PeerId SecretKey",
        "transport.link": "Connection ConnectionEvent Endpoint Handler Link Transport",
        "transport.memory": "MemoryNetwork",
        "transport.wire": "Protocol",
    },
)
