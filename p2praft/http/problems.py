"""What goes wrong, as HTTP sees it: each answer is ``{"error": KIND, "message": …}`` with a fitting status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from p2praft.collections import Conflict, StructureError
from p2praft.errors import (
    AddressError,
    CommandFailed,
    ConfigError,
    GroupClosed,
    NotAuthorized,
    Offline,
    OutcomeUnknown,
    P2PRaftError,
    StorageError,
)
from p2praft.map_operations import NoSuchKey
from p2praft.values import json_text

STATUSES: tuple[tuple[type[P2PRaftError], int], ...] = (
    (Conflict, 409),
    (NoSuchKey, 404),
    (StructureError, 400),
    (AddressError, 400),
    (ConfigError, 400),
    (NotAuthorized, 409),  # not "403": the member's state forbids it, and another member may do it
    (CommandFailed, 422),
    (Offline, 503),
    (GroupClosed, 503),
    (StorageError, 503),
    (OutcomeUnknown, 504),
)
"""The first class that fits decides."""


class Problem(Exception):
    """A request that is not answered as asked.

    Attributes:
        status: The HTTP status.
        kind: A word for scripts.
        headers: To go with the answer.
    """

    def __init__(self, status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """The answer."""
        return json_response({"error": self.kind, "message": str(self)}, self.status, self.headers)


def problem_response(error: P2PRaftError) -> Response:
    """The answer for an error of the library."""
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), 500)
    body: dict[str, Any] = {"error": type(error).__name__, "message": str(error)}
    if isinstance(error, Conflict):
        body["version"] = error.version
    return json_response(body, status, {"retry-after": "1"} if status == 503 else None)


def to_json(value: Any) -> str:
    """As the command prints it, in the letters that it has: what JSON does not know becomes text or null."""
    return json_text(value, ensure_ascii=False)


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON that nobody keeps."""
    content = to_json(value).encode("utf-8", "replace")
    return Response(
        content, status, media_type="application/json", headers={"cache-control": "no-store", **(headers or {})}
    )
