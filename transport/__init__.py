"""Authenticated, framed, multiplexed links between two peers."""

from transport.address import HostPort, PeerAddr
from transport.config import QuicConfig
from transport.endpoint import QuicTransport
from transport.errors import (
    AddressError,
    BindError,
    ConfigError,
    DialError,
    KeyFileError,
    LinkClosed,
    LinkFull,
    P2PRaftError,
    ProofFailed,
    TransportError,
    Unreachable,
    VersionMismatch,
    WireError,
    WrongIdentity,
)
from transport.identity import PeerId, SecretKey
from transport.link import Connection, ConnectionEvent, Endpoint, Handler, Link, Transport
from transport.memory import MemoryNetwork
from transport.wire import Protocol

P2PRAFT_PACKAGE = True

__all__ = [
    "AddressError",
    "BindError",
    "ConfigError",
    "Connection",
    "ConnectionEvent",
    "DialError",
    "Endpoint",
    "Handler",
    "HostPort",
    "KeyFileError",
    "Link",
    "LinkClosed",
    "LinkFull",
    "MemoryNetwork",
    "P2PRaftError",
    "PeerAddr",
    "PeerId",
    "ProofFailed",
    "Protocol",
    "QuicConfig",
    "QuicTransport",
    "SecretKey",
    "Transport",
    "TransportError",
    "Unreachable",
    "VersionMismatch",
    "WireError",
    "WrongIdentity",
]
