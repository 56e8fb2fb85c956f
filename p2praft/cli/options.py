"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

from p2praft.cli.completion import complete_group, complete_node
from p2praft.errors import P2PRaftError
from transport import TransportError

F = TypeVar("F", bound=Callable[..., Any])


class Number(click.FloatRange):
    """A number within bounds; click's own takes NaN, which no bound holds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


class UnicodeText(click.types.StringParamType):
    """Text that others can read: bytes of the command line that are not in its encoding are refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = super().convert(value, param, ctx)
        if not is_unicode(text):
            self.fail(f"{text!r} is not text: it has bytes that are not UTF-8.", param, ctx)
        return text


def is_unicode(text: str) -> bool:
    """Whether all of it could be decoded: bytes that could not stand in it as surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


UNICODE = UnicodeText()


def checked(parse: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback that turns a malformed value into a usage error with the parser's own words."""

    def callback(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        for text in value if isinstance(value, tuple) else (value,) if value is not None else ():
            try:
                parse(text)
            except (P2PRaftError, TransportError) as error:
                raise click.BadParameter(str(error), context, parameter) from None
        return value

    return callback


def json_option(function: F) -> F:
    """``--json``: the same for every command."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object a line on standard output.")(function)


def node_option(function: F) -> F:
    """``--node``: the same for every command that asks a running node."""
    return click.option(
        "--node",
        metavar="DIR|ID|URL",
        is_eager=True,  # known when a group's name is completed
        shell_complete=complete_node,
        help="Which running node: its data directory, its id's beginning, or its API's URL. Default: P2PRAFT_NODE.",
    )(function)


def group_argument(function: F) -> F:
    """``GROUP``: the same for every command about a group."""
    return click.argument("group", type=UNICODE, shell_complete=complete_group)(function)


def weak_option(function: F) -> F:
    """``--weak``: read this node's own state."""
    return click.option("--weak", is_flag=True, help="This node's own state, however old; needs no leader.")(function)


def timeout_option(function: F) -> F:
    """``--timeout``: how long a write may take."""
    return click.option("--timeout", default=10.0, show_default=True, type=Number(0.05, 3600), help="Seconds.")(
        function
    )
