"""How release 0.1 named groups, and how its data directories are carried over.

In 0.1 a group's id was made of its settings, its machine's version and its validators too, and a passphrase was stretched with one
salt for all groups. A group's file bears the group's id, so today it has another name. The ids of 0.1 began with a
hash of the network's and the group's name: by that, files and peers of 0.1 are recognised without any secret.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from discovery import NetworkId, PeerInfo
from p2praft.config import ConsensusConfig
from p2praft.errors import StorageError
from p2praft.groups.key import GroupId, GroupKey
from p2praft.groups.machine import pack
from transport import AddressError

logger = logging.getLogger("p2praft.group")

SETTINGS: dict[str, float | int] = {
    "heartbeat_interval": 0.15,
    "election_timeout": 0.6,
    "election_timeout_jitter": 0.4,
    "bootstrap_delay": 1.0,
    "expect": 1,
    "max_voters": 5,
    "voter_grace": 20.0,
    "forward_timeout": 2.0,
    "query_timeout": 10.0,
    "snapshot_every": 10_000,
}
"""The settings of 0.1, in their order, with their defaults."""
FILES = ("-wal", "-shm", "")
"""What belongs to a database, in the order in which it is renamed: a crash in between never leaves the log behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Former:
    """A group as 0.1 would have named it.

    Attributes:
        secret: The key, or the passphrase.
        network: Where it lives.
        name: What it is called.
        config: How it agrees.
        signature: The state machine's.
        validators: The validators' signatures, in order.
    """

    secret: GroupKey | str
    network: NetworkId
    name: str
    config: ConsensusConfig
    signature: str
    validators: Sequence[str] = ()

    def id(self) -> GroupId:
        """Its id then; stretches a passphrase."""
        key = self.secret if isinstance(self.secret, GroupKey) else GroupKey.from_passphrase(self.secret)
        what = pack([str(self.network), self.name, _settings(self.config), self.signature, list(self.validators)])
        derived = key.derive(b"group id " + hashlib.sha256(what).digest(), 12)
        return GroupId(beginning(self.network, self.name) + derived)


def beginning(network: NetworkId, name: str) -> bytes:
    """The first 4 bytes of every id that 0.1 made for groups of this name."""
    return hashlib.sha256(pack(["p2praft/1 group name", str(network), name])).digest()[:4]


def is_namesake(peer: PeerInfo, start: bytes) -> bool:
    """Whether a peer announces a group whose id has this :func:`beginning`. A tag looks so once in 2**32 times."""
    return any(group.startswith(start) for group in peer.groups)


def carry_over(folder: Path, group: GroupId, former: Former) -> None:
    """Give the group's file of 0.1 its name of today, if there is one and the group has no file yet.

    No database in ``folder`` may be open for this group. Files of 0.1 for groups of this name that are left are named in a warning.

    Raises:
        StorageError: The file cannot be renamed.
    """
    start = beginning(former.network, former.name)
    old = [path for path, found in _files(folder) if found.key.startswith(start) and found != group]
    if not old:
        return  # the passphrase is not stretched for nothing
    path = folder / f"{group}.sqlite"
    why = "this node has newer data of the group"
    if not path.exists():
        then = folder / f"{former.id()}.sqlite"
        if then in old:
            _rename(then, path)
            old.remove(then)
            logger.info(
                "group %s: the data of release 0.1 is carried over, from %s to %s", former.name, then.name, path.name
            )
        else:
            why = (
                "its secret, settings (such as expect), state machine or validators are not those of this node; to carry it "
                "over, start the node once with those of then"
            )
    if old:
        names = ", ".join(sorted(path.name for path in old))
        logger.warning(
            "group %s: release 0.1 has left %s in %s, and it is not used: %s; else move it away",
            former.name, names, folder, why,
        )  # fmt: skip


def _settings(config: ConsensusConfig) -> list[float | int]:
    """As 0.1 packed them. What is left at a default of today was left at the default of then."""
    today = ConsensusConfig()
    values: list[float | int] = []
    for name, then in SETTINGS.items():
        value = getattr(config, name, then)
        value = then if value == getattr(today, name, then) else value
        values.append(float(value) if isinstance(then, float) else value)
    return values


def _files(folder: Path) -> Iterator[tuple[Path, GroupId]]:
    for path in folder.glob("*.sqlite"):
        try:
            yield path, GroupId.parse(path.stem)
        except AddressError:
            continue


def _rename(old: Path, new: Path) -> None:
    try:
        for ending in FILES:
            part = Path(f"{old}{ending}")
            if part.exists():
                part.replace(f"{new}{ending}")
        if os.name == "posix":
            handle = os.open(new.parent, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    except OSError as error:
        raise StorageError(
            f"cannot rename {old} to {new.name}: {error.strerror}; check who owns the folder, then start the node again"
        ) from None
