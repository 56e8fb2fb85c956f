"""The settings that members share: from one member's configuration into a genesis, and back into another's."""

from __future__ import annotations

from dataclasses import fields, replace

from p2praft.config import ConsensusConfig
from p2praft.raft.histories.entries import Settings

SECONDS = frozenset(item.name for item in fields(Settings) if item.type == "float")
SHARED = tuple(item.name for item in fields(Settings) if item.name != "machine")


def settings_of(config: ConsensusConfig, machine: int) -> Settings:
    """What a genesis says of a group that this configuration founds; ``machine`` is the state machine's version."""
    values = {name: getattr(config, name) for name in SHARED}
    values["shrink_after"] = config.shrink_silence
    # A whole number of seconds is written as others read it, or the same entry would have another digest there.
    values.update((name, float(values[name])) for name in SECONDS)
    return Settings(**values, machine=machine)


def merged(config: ConsensusConfig, settings: Settings) -> ConsensusConfig:
    """A member's own configuration with the group's settings in it."""
    return replace(config, **{name: getattr(settings, name) for name in SHARED})


def differences(config: ConsensusConfig, settings: Settings) -> tuple[str, ...]:
    """Names of the settings in which a member's own configuration differs from the group's."""
    own = settings_of(config, settings.machine)
    return tuple(name for name in SHARED if getattr(own, name) != getattr(settings, name))
