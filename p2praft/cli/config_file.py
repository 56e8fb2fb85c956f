"""``--config FILE.toml``: every option of a command, by its long name. The command line wins over the environment, and that
over the file."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

PREFIX = "P2PRAFT_"


class Configurable(click.Command):
    """A command whose every option can also stand in the environment (``P2PRAFT_<OPTION>``) or in a TOML file."""

    def __init__(self, *args: Any, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        for option in options_of(self):
            if option.envvar is None:
                option.envvar = PREFIX + key_of(option).replace("-", "_").upper()


def config_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--config``: read before all other options, whose defaults it then is."""
    return click.option(
        "--config",
        type=click.Path(),
        envvar="P2PRAFT_CONFIG",
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=_apply,
        help='TOML file with any of these options, such as seed = ["…"].',
    )(function)


def options_of(command: click.Command) -> list[click.Option]:
    """What may be configured: all options but hidden ones, ``--config`` and ``--help``."""
    return [
        parameter
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden and parameter.name not in ("config", "help")
    ]


def plain_environment() -> dict[str, str]:
    """For nodes that a command starts: what the environment says about this machine's own node is not about them."""
    about_all = ("P2PRAFT_QUIC", "P2PRAFT_DEBUG")
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX) or name in about_all}


def key_of(option: click.Option) -> str:
    """The option's long name, without the dashes: its key in the file."""
    return max(option.opts, key=len).lstrip("-")


def _apply(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        root = context.find_root().command
        up = root.commands.get("up") if isinstance(root, click.Group) else None  # the file is about a node
        context.default_map = {**(context.default_map or {}), **read_config(Path(value), up or context.command)}


def read_config(path: Path, command: click.Command) -> dict[str, Any]:
    """The options in a file, by their parameters' names. Relative paths in it start where the file is.

    Raises:
        click.UsageError: The file cannot be read, or says something that no option means.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise click.UsageError(f"--config: {path} does not exist") from None
    except OSError as error:
        raise click.UsageError(f"--config: cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--config: {path} is not TOML: {error}") from None
    known = {key_of(option): option for option in options_of(command)}
    found: dict[str, Any] = {}
    for key, value in table.items():
        option = known.get(key.replace("_", "-"))
        if option is None or option.name is None:
            near = difflib.get_close_matches(key.replace("_", "-"), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(sorted(known))}"
            raise click.UsageError(f"--config: {path} has an unknown key {key!r}; {hint}")
        found[option.name] = _value(path, key, option, value)
    return found


def _value(path: Path, key: str, option: click.Option, value: Any) -> Any:
    problem = f"--config: {path}: {key} is {{}}, not {_kind(value)}"
    if option.is_flag:
        if not isinstance(value, bool):
            raise click.UsageError(problem.format("true or false"))
        return value
    if option.multiple:
        items = value if isinstance(value, list) else [value]
        if not all(isinstance(item, str) for item in items):
            raise click.UsageError(problem.format("a list of texts"))
        return [_placed(path, option, item) for item in items]
    if isinstance(option.type, click.types.IntParamType | click.types.FloatParamType):
        numbers = int if isinstance(option.type, click.types.IntParamType) else int | float
        if isinstance(value, bool) or not isinstance(value, numbers):
            raise click.UsageError(problem.format("a number"))
        return value
    if not isinstance(value, str):
        raise click.UsageError(problem.format("a text"))
    return _placed(path, option, value)


def _placed(path: Path, option: click.Option, value: str) -> str:
    """A path in the file starts where the file is, for a service starts anywhere."""
    return str(path.parent / value) if isinstance(option.type, click.Path) else value


def _kind(value: Any) -> str:
    names = {bool: "true or false", str: "a text", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return names.get(type(value), type(value).__name__)
