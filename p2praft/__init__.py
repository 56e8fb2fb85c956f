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

from typing import TYPE_CHECKING


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

from p2praft.version import __version__ as __version__  # noqa: E402 -- behind the check
from transport.lazy import lazily  # noqa: E402

if TYPE_CHECKING:
    from discovery.config import DiscoveryConfig as DiscoveryConfig
    from discovery.entry import NetworkId as NetworkId
    from discovery.peers import PeerEvent as PeerEvent, PeerInfo as PeerInfo, Peers as Peers
    from p2praft.config import (
        ConsensusConfig as ConsensusConfig,
        LeadershipPreference as LeadershipPreference,
        NetworkConfig as NetworkConfig,
    )
    from p2praft.errors import (
        AddressError as AddressError,
        BindError as BindError,
        CommandFailed as CommandFailed,
        ConfigError as ConfigError,
        GroupClosed as GroupClosed,
        HistoryEnded as HistoryEnded,
        IdentityInUse as IdentityInUse,
        KeyFileError as KeyFileError,
        NoCommands as NoCommands,
        NotAuthorized as NotAuthorized,
        Offline as Offline,
        OutcomeUnknown as OutcomeUnknown,
        P2PRaftError as P2PRaftError,
        StorageError as StorageError,
    )
    from p2praft.groups.binder import Validator as Validator
    from p2praft.groups.events import GroupEvent as GroupEvent
    from p2praft.groups.group import (
        BondInfo as BondInfo,
        Consistency as Consistency,
        Group as Group,
        QueryResult as QueryResult,
    )
    from p2praft.groups.key import GroupId as GroupId, GroupKey as GroupKey
    from p2praft.groups.machine import ApplyContext as ApplyContext, StateMachine as StateMachine, replay as replay
    from p2praft.network import Network as Network
    from p2praft.raft.base_role import Role as Role
    from p2praft.raft.types import Cursor as Cursor, Vote as Vote
    from transport.address import HostPort as HostPort, PeerAddr as PeerAddr
    from transport.config import QuicConfig as QuicConfig
    from transport.identity import PeerId as PeerId, SecretKey as SecretKey

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "discovery.config": "DiscoveryConfig",
        "discovery.entry": "NetworkId",
        "discovery.peers": "PeerEvent PeerInfo Peers",
        "p2praft.config": "ConsensusConfig LeadershipPreference NetworkConfig",
        "p2praft.errors": "AddressError BindError CommandFailed ConfigError GroupClosed HistoryEnded IdentityInUse "
        "KeyFileError NoCommands NotAuthorized Offline OutcomeUnknown P2PRaftError StorageError",
        "p2praft.groups.binder": "Validator",
        "p2praft.groups.events": "GroupEvent",
        "p2praft.groups.group": "BondInfo Consistency Group QueryResult",
        "p2praft.groups.key": "GroupId GroupKey",
        "p2praft.groups.machine": "ApplyContext StateMachine replay",
        "p2praft.network": "Network",
        "p2praft.raft.base_role": "Role",
        "p2praft.raft.types": "Cursor Vote",
        "transport.address": "HostPort PeerAddr",
        "transport.config": "QuicConfig",
        "transport.identity": "PeerId SecretKey",
    },
)
