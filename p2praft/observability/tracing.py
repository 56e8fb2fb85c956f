"""OpenTelemetry spans for what an application asks of a group. Needs ``opentelemetry-api``; without a call to
:func:`trace_group` nothing is loaded and nothing is paid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from p2praft.errors import ConfigError
from p2praft.groups.group import Group

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

Trace = Callable[[str, dict[str, Any]], AbstractContextManager[None]]


def trace_group(group: Group, provider: TracerProvider | None = None) -> None:
    """Make a span of every ``execute``, ``execute_many`` and ``query`` on this group from now on.

    A span has the group's name, the term, whether this node leads, and how many commands; an error is recorded in it.

    Args:
        group: Whose calls.
        provider: Where spans go; the process's own if None.

    Raises:
        ConfigError: ``opentelemetry-api`` is not installed.
    """
    try:
        from opentelemetry.trace import SpanKind, get_tracer
    except ImportError:
        raise ConfigError("spans need OpenTelemetry: pip install opentelemetry-sdk") from None
    tracer = get_tracer("p2praft", tracer_provider=provider)

    @contextmanager
    def span(name: str, attributes: dict[str, Any]) -> Iterator[None]:
        fixed = {
            "p2praft.group": group.name,
            "p2praft.term": group.term,
            "p2praft.leader": group.is_leader,
            **{f"p2praft.{key}": value for key, value in attributes.items()},
        }
        with tracer.start_as_current_span(f"p2praft.{name}", kind=SpanKind.CLIENT, attributes=fixed):
            yield

    group.trace(span)
