"""What an operation of the API is: one entry of the table that routes requests and from which the document is made."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from p2praft.collections import Map, MapMachine
from p2praft.errors import P2PRaftError
from p2praft.groups.group import Group
from p2praft.http.feed import EventLog
from p2praft.http.parameters import Parameter, read_parameters
from p2praft.http.problems import Problem, json_response, problem_response
from p2praft.network import Network

logger = logging.getLogger("p2praft.http")

MAX_DEPTH = 100
"""Levels of a JSON value at most, far from where Python's own limit would strike whoever reads it."""

Arguments = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Api:
    """What the operations work on.

    Attributes:
        network: The node.
        started: When it started, on anyio's clock.
        events: What happened lately, and what happens from now on.
        metrics: The registry, once somebody has asked for metrics.
    """

    network: Network
    started: float
    events: EventLog
    metrics: Any = None

    def group(self, name: str) -> Group:
        """A group of this node.

        Raises:
            Problem: It serves no such group.
        """
        groups = list(self.network.groups.values())
        for group in groups:
            if group.name == name:
                return group
        served = ", ".join(group.name for group in groups) or "none"
        raise Problem(404, "NoGroup", f"this node serves no group {name[:80]!r}; it serves: {served[:400]}")

    def map(self, name: str) -> Map:
        """The map that a group of this node replicates.

        Raises:
            Problem: There is no such group, or it replicates something else.
        """
        group = self.group(name)
        machine = group._worker.applier.machine
        if not isinstance(machine, MapMachine):
            raise Problem(404, "NoMap", f"group {name!r} replicates no map but {machine.signature or 'nothing'!r}")
        return Map(group)


Handler = Callable[[Api, Request, Arguments], Awaitable[Any]]
"""Gives a response, or what is to be one in JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that can be asked for.

    Attributes:
        method: GET, PUT, POST or DELETE.
        path: With the names of path parameters in braces; a last one may hold slashes.
        name: Its ``operationId``.
        about: For people.
        handle: Does it.
        parameters: What it takes in the address.
        body: The schema of its JSON body; None if it takes none.
        answer: The schema of its answer: a name of the document, or a schema.
        media: The answer's media type.
        problems: Statuses of the errors it may answer beside 400, 401 and 403.
        problem: The schema of those.
        tag: The document's chapter.
    """

    method: str
    path: str
    name: str
    about: str
    handle: Handler = field(compare=False)
    parameters: tuple[Parameter, ...] = ()
    body: dict[str, Any] | None = None
    answer: str | dict[str, Any] = field(default_factory=dict)
    media: str = "application/json"
    problems: tuple[int, ...] = ()
    problem: str | dict[str, Any] = "Error"
    tag: str = "node"

    def endpoint(self, api: Api) -> Callable[[Request], Awaitable[Response]]:
        """What the router calls: checks the parameters, and turns errors into answers."""

        async def answer(request: Request) -> Response:
            try:
                result = await self.handle(api, request, read_parameters(request, self.parameters))
                return result if isinstance(result, Response) else json_response(result)
            except Problem as problem:
                return problem.response()
            except P2PRaftError as error:
                return problem_response(error)
            except TimeoutError:
                raise
            except Exception as error:
                logger.exception("%s %s failed", self.method, self.path)
                text = f"unexpected {type(error).__name__} in the node; its log has more"
                return Problem(500, "Internal", text).response()

        return answer


async def json_body(request: Request) -> Any:
    """The JSON value that the body holds.

    Raises:
        Problem: It is not JSON, or nested beyond ``MAX_DEPTH``.
    """
    body = await request.body()
    if not body:
        raise Problem(400, "BadRequest", "the body is empty; send a JSON value, text in quotation marks")
    try:
        value = json.loads(body, parse_constant=_refuse)
        if not _is_deep(value):
            return value
    except RecursionError:
        pass
    except ValueError as error:  # also UnicodeDecodeError, and numbers with thousands of digits
        raise Problem(400, "BadRequest", f"the body is not JSON ({error}); text stands in quotation marks") from None
    raise Problem(400, "BadRequest", f"the body's JSON is nested too deeply: {MAX_DEPTH} levels at most")


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, list | dict)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
