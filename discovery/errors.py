"""What can go wrong in finding peers, as one tree.

::

    DiscoveryError
    └── EntryError      an entry that its owner did not sign, or that makes no sense
"""

from __future__ import annotations


class DiscoveryError(Exception):
    """Root of this package's errors."""


class EntryError(DiscoveryError):
    """An entry is not what its owner signed."""
