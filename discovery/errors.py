"""What can go wrong in finding peers.

::

    P2PRaftError            of the whole distribution
    └── DiscoveryError      the network was left while somebody waited for peers
"""

from __future__ import annotations

from transport.errors import P2PRaftError


class DiscoveryError(P2PRaftError):
    """Root of this package's errors."""
