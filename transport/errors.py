"""What can go wrong between two peers, as one tree.

::

    P2PRaftError                of the whole distribution; p2praft/errors.py shows the rest of the tree
    ├── ConfigError             a setting is nonsense
    └── TransportError
        ├── AddressError        text that is no address, peer id or host:port
        ├── KeyFileError        an identity file that is missing, garbage, or readable by others
        ├── BindError           the socket cannot be bound
        ├── DialError           a peer cannot be reached
        │   ├── Unreachable     nothing answers there
        │   ├── WrongIdentity   somebody else answers there
        │   ├── ProofFailed     the peer did not prove who it is
        │   └── VersionMismatch the peer speaks another version
        ├── LinkClosed          the link ended; says why
        ├── LinkFull            the peer reads too slowly; nothing was sent
        └── WireError           bytes from outside that are not what they should be
"""

from __future__ import annotations


class P2PRaftError(Exception):
    """Root of every error that the distribution raises on purpose, this package's and those above it."""


class ConfigError(P2PRaftError, ValueError):
    """A setting is outside its allowed range; the message names the field and the range."""


class TransportError(P2PRaftError):
    """Root of this package's own errors."""


class AddressError(TransportError, ValueError):
    """Text is not an address; the message shows it with an example of one."""


class KeyFileError(TransportError):
    """An identity file cannot be used; the message names it and what to do."""


class BindError(TransportError):
    """The socket cannot be bound; the message names host and port."""


class DialError(TransportError):
    """A peer cannot be reached."""


class Unreachable(DialError):
    """Nothing answers at any of the peer's endpoints."""


class WrongIdentity(DialError):
    """Another peer answers at the address."""


class ProofFailed(DialError):
    """The peer did not prove its identity."""


class VersionMismatch(DialError):
    """The peer speaks no version that we do."""


class LinkClosed(TransportError):
    """The link ended.

    Attributes:
        reason: Why, as text for people; the peer's own words if it closed.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "the link is closed")
        self.reason = reason or "the link is closed"


class LinkFull(TransportError):
    """The peer has not read what was sent before; nothing was sent now."""


class WireError(TransportError, ValueError):
    """A frame is not what its protocol declares; the message names the field."""
