"""p2praft: nodes that find each other and become replicated, fault-tolerant state machines.

A map of the house, from the street inwards::

    network.py        Network: join, see peers, open groups
    groups/           Group handles, bonds, and the worker that drives the engine
    raft/             the engine: pure, no I/O, no clock
    storage/          where a group's log is kept
    collections/      ready-made replicated structures
    cli/              the command (extra `cli`)
    discovery         (package of its own) who is out there: gossip
    transport         (package of its own) authenticated links between two peers

Users import from here alone.
"""

from __future__ import annotations


def _check_neighbours() -> None:
    """Two of our packages have common names: say clearly if an application's module stands in their place."""
    from importlib import import_module
    from pathlib import Path

    home = Path(__file__).resolve().parent.parent
    for name in ("transport", "discovery"):
        module = import_module(name)
        if getattr(module, "P2PRAFT_PACKAGE", False) is not True:
            where = getattr(module, "__file__", None) or name
            raise ImportError(
                f"p2praft needs its own package {name!r} (beside {home / 'p2praft'}), but Python found {where}; "
                f"rename that file or folder, or move it off the front of sys.path"
            )


_check_neighbours()

from discovery import DiscoveryConfig, NetworkId, PeerEvent, PeerInfo, Peers  # noqa: E402
from p2praft.config import ConsensusConfig, LeadershipPreference, NetworkConfig  # noqa: E402
from p2praft.errors import (  # noqa: E402
    AddressError,
    BindError,
    CommandFailed,
    ConfigError,
    GroupClosed,
    KeyFileError,
    NoCommands,
    NotAuthorized,
    Offline,
    OutcomeUnknown,
    P2PRaftError,
    StorageError,
)
from p2praft.groups.binder import Validator  # noqa: E402
from p2praft.groups.events import GroupEvent  # noqa: E402
from p2praft.groups.group import BondInfo, Consistency, Group, QueryResult  # noqa: E402
from p2praft.groups.key import GroupId, GroupKey  # noqa: E402
from p2praft.groups.machine import ApplyContext, StateMachine  # noqa: E402
from p2praft.network import Network  # noqa: E402
from p2praft.raft.messages import Cursor, Vote  # noqa: E402
from p2praft.raft.role import Role  # noqa: E402
from p2praft.version import __version__ as __version__  # noqa: E402
from transport import HostPort, PeerAddr, PeerId, QuicConfig, SecretKey  # noqa: E402

__all__ = [
    "AddressError",
    "ApplyContext",
    "BindError",
    "BondInfo",
    "CommandFailed",
    "ConfigError",
    "ConsensusConfig",
    "Consistency",
    "Cursor",
    "DiscoveryConfig",
    "Group",
    "GroupClosed",
    "GroupEvent",
    "GroupId",
    "GroupKey",
    "HostPort",
    "KeyFileError",
    "LeadershipPreference",
    "Network",
    "NetworkConfig",
    "NetworkId",
    "NoCommands",
    "NotAuthorized",
    "Offline",
    "OutcomeUnknown",
    "P2PRaftError",
    "PeerAddr",
    "PeerEvent",
    "PeerId",
    "PeerInfo",
    "Peers",
    "QueryResult",
    "QuicConfig",
    "Role",
    "SecretKey",
    "StateMachine",
    "StorageError",
    "Validator",
    "Vote",
]
