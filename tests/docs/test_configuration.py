"""The page of settings has every setting, its default, and its range as the code enforces it."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from p2praft import ConfigError, ConsensusConfig, DiscoveryConfig, LeadershipPreference, NetworkConfig, QuicConfig
from p2praft.cli.config_file import key_of, options_of
from p2praft.cli.up_command import up_command
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "reference" / "configuration.md"
CONFIGS: list[type[Any]] = [ConsensusConfig, NetworkConfig, QuicConfig, DiscoveryConfig]


def _rows(config: str) -> dict[str, list[str]]:
    """The table under a config's heading: default, range and effect by field."""
    section = PAGE.read_text().split(f"\n## `{config}`\n")[1].split("\n## ")[0]
    found = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:3] == "| `"
    ]
    return {cells[0].strip("`"): cells[1:] for cells in found}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
def test_every_field_is_there_with_its_default_and_an_effect(config: type[Any]) -> None:
    rows = _rows(config.__name__)
    assert list(rows) == [field.name for field in dataclasses.fields(config)]
    made = config()
    for name, (default, _, effect) in rows.items():
        value = getattr(made, name)
        shown = f"{type(value).__name__}()" if dataclasses.is_dataclass(value) else repr(value)
        assert default == f"`{shown}`", name
        assert len(effect) > 10, name


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
def test_what_is_outside_the_range_on_the_page_is_refused_and_its_ends_are_taken(config: type[Any]) -> None:
    checked = 0
    for name, (_, span, _) in _rows(config.__name__).items():
        if (ends := re.fullmatch(r"([\d.]+) to ([\d.]+)", span)) is None:
            continue
        kind = float if "." in span or "float" in str(config.__dataclass_fields__[name].type) else int
        low, high = kind(float(ends[1])), kind(float(ends[2]))
        # What else depends on the field is moved out of the way.
        beside = {"heartbeat_interval": {"election_timeout": 600}, "max_voters": {"expect": 1}}.get(name, {})
        for good in (low, high):
            config(**({name: good} | (beside if config is ConsensusConfig else {})))
        for bad in (low - (1 if kind is int else 0.0009), high + 1):
            with pytest.raises(ConfigError, match=name):
                config(**{name: bad})
        checked += 1
    assert checked >= 1


def test_relations_between_settings_are_as_the_page_says() -> None:
    for nonsense in (
        lambda: ConsensusConfig(heartbeat_interval=1, election_timeout=1.9),
        lambda: ConsensusConfig(expect=6, max_voters=5),
        lambda: ConsensusConfig(voter_grace=20, shrink_after=19),
        lambda: ConsensusConfig(shrink_after=864_001),
        lambda: QuicConfig(keepalive=8, idle_timeout=8),
        lambda: QuicConfig(idle_timeout=601),
        lambda: QuicConfig(engine="quiche"),  # type: ignore[arg-type]
        lambda: LeadershipPreference.reluctant(1001),
    ):
        with pytest.raises(ConfigError):
            nonsense()


def test_every_option_of_up_is_there_with_its_variable_and_default() -> None:
    rows = _rows("p2praft up")
    options = {f"--{key_of(option)}": option for option in options_of(up_command)}
    assert set(rows) == set(options)
    for name, (variable, default, effect) in rows.items():
        assert variable == f"`{options[name].envvar}`"
        assert len(effect) > 10, name
        if default.startswith("`") and name not in ("--secret-file", "--log-level"):
            assert default == f"`{options[name].default}`"


def test_every_variable_that_the_code_reads_is_there() -> None:
    packages = ("p2praft", "transport", "discovery")
    sources = "\n".join(path.read_text() for name in packages for path in (ROOT / name).rglob("*.py"))
    read = set(re.findall(r"\bP2PRAFT_[A-Z]+(?:_[A-Z]+)*\b", sources)) - {"P2PRAFT_PACKAGE"}
    assert read <= set(re.findall(r"P2PRAFT_[A-Z]+(?:_[A-Z]+)*", PAGE.read_text()))
