"""A parameter of an operation: one description that both checks what comes in and documents it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote_to_bytes

from starlette.requests import Request

from p2praft.http.problems import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One value in the path or in the query.

    Attributes:
        name: As in the address.
        where: In the path (always required) or in the query.
        kind: Its type, in JSON schema's words.
        about: For people.
        default: What a missing one stands for.
        low: Least number, or fewest characters.
        high: Greatest number, or most characters.
        choices: The only texts that are taken.
        pattern: What a text looks like, for the document; the operation itself checks it.
        example: One that makes sense.
    """

    name: str
    where: Literal["path", "query"] = "query"
    kind: Literal["string", "integer", "number", "boolean"] = "string"
    about: str
    default: Any = None
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str | None = None
    example: Any = None

    def read(self, text: str | None) -> Any:
        """The value of what was sent; the default of None.

        Raises:
            Problem: It is none that is taken.
        """
        if text is None:
            return self.default
        if self.kind == "string":
            return self._text(text)
        if self.kind == "boolean":
            if text not in ("true", "false"):
                raise self._bad(text, "true or false")
            return text == "true"
        try:
            number = int(text) if self.kind == "integer" and text.isascii() else float(text)
        except ValueError:
            raise self._bad(text, self._wanted()) from None
        whole = self.kind != "integer" or (isinstance(number, int) and text.lstrip("-").isdigit())
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if not whole or not low <= number <= high:
            raise self._bad(text, self._wanted())
        return number

    def _text(self, text: str) -> str:
        if self.choices and text not in self.choices:
            raise self._bad(text, " or ".join(self.choices))
        if not (self.low or 0) <= len(text) <= (self.high or math.inf):
            raise self._bad(text, f"text of {self.low or 0:g} to {self.high:g} characters")
        return text

    def _wanted(self) -> str:
        bounds = f" from {self.low} to {self.high}" if self.low is not None and self.high is not None else ""
        return ("a whole number" if self.kind == "integer" else "a number") + bounds

    def _bad(self, text: str, wanted: str) -> Problem:
        return Problem(400, "BadRequest", f"{self.name}={text[:40]!r} is not allowed: it takes {wanted}")

    def document(self) -> dict[str, Any]:
        """As OpenAPI writes it."""
        schema: dict[str, Any] = {"type": self.kind}
        if self.choices:
            schema["enum"] = list(self.choices)
        if self.pattern:
            schema["pattern"] = self.pattern
        if self.default is not None:
            schema["default"] = self.default
        low, high = ("minLength", "maxLength") if self.kind == "string" else ("minimum", "maximum")
        schema.update({name: value for name, value in ((low, self.low), (high, self.high)) if value is not None})
        document: dict[str, Any] = {"name": self.name, "in": self.where, "description": self.about, "schema": schema}
        if self.where == "path":
            document["required"] = True
        if self.example is not None:
            document["example"] = self.example
        return document


def read_parameters(request: Request, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """All of an operation's, by name.

    Raises:
        Problem: One is not allowed, unknown, or given twice.
    """
    values: dict[str, Any] = {}
    known = {parameter.name: parameter for parameter in parameters if parameter.where == "query"}
    for name in request.query_params:
        if name not in known:
            takes = ", ".join(known) or "none"
            raise Problem(400, "BadRequest", f"there is no parameter {name[:40]!r} here; there are: {takes}")
        if len(request.query_params.getlist(name)) > 1:
            raise Problem(400, "BadRequest", f"{name} is given more than once")
    for parameter in parameters:
        if parameter.where == "path":
            values[parameter.name] = parameter.read(_decoded(parameter.name, request.path_params[parameter.name]))
        else:
            values[parameter.name] = parameter.read(request.query_params.get(parameter.name))
    return values


def _decoded(name: str, text: str) -> str:
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(400, "BadRequest", f"the {name} in the path is not UTF-8") from None
