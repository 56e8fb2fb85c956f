"""The OpenAPI document, made from the table of operations; only the shapes of the answers are written down here."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from p2praft.http.operation import Operation

ABOUT = """\
One node of a p2praft network: what it knows of its peers and groups, and the replicated map of each group. Ask any node.

On loopback no token is needed. Beyond it, every request but `/`, `/healthz` and `/readyz` carries
`Authorization: Bearer TOKEN`. Errors are `{"error": KIND, "message": …}`.
"""


def _object(properties: dict[str, Any], *, optional: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }


def _maybe(kind: str) -> dict[str, Any]:
    return {"type": [kind, "null"]}


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


def _schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


TEXT = {"type": "string"}
NUMBER = {"type": "number"}
COUNT = {"type": "integer", "minimum": 0}
YES = {"type": "boolean"}
RTT = {"type": ["number", "null"], "description": "Smoothed round-trip time in seconds."}
PEER = {
    "peer_id": TEXT,
    "addresses": _list(TEXT),
    "tags": _list(TEXT),
    "groups": {
        **_list(TEXT),
        "description": "Ids of the groups that this node is in as well; of others, tags that only their members recognise.",
    },
    "rtt": RTT,
    "status": {"type": "string", "enum": ["alive", "suspect", "lost", "left"]},
}
GROUP = {
    "name": TEXT,
    "id": TEXT,
    "role": {"type": "string", "enum": ["leader", "candidate", "follower", "observer"]},
    "term": COUNT,
    "leader": _maybe("string"),
    "is_leader": YES,
    "committed": COUNT,
    "log_position": _object({"term": COUNT, "index": COUNT}),
    "voters": _list(TEXT),
    "bonds": _list(_object({"peer_id": TEXT, "rtt": RTT})),
    "online": YES,
    "waits_for": {**_maybe("string"), "description": "What it waits for, for people; null while it has a leader."},
    "safe": {**YES, "description": "Whether any one voter may be stopped, by the leader's last word."},
}
MEMBER = {
    "peer_id": TEXT,
    "self": YES,
    "voter": YES,
    "observer": _maybe("boolean"),
    "leader": YES,
    "bonded": YES,
    "rtt": RTT,
    "match": {"type": ["integer", "null"], "description": "Highest log index it is known to hold; leaders know."},
}
SCHEMAS: dict[str, Any] = {
    "Error": _object(
        {"error": TEXT, "message": TEXT, "version": {**COUNT, "description": "With a Conflict."}}, optional=("version",)
    ),
    "Status": _object(
        {
            "peer_id": TEXT,
            "address": TEXT,
            "network": TEXT,
            "uptime": NUMBER,
            "peers": COUNT,
            "groups": _list(_schema("Group")),
        }
    ),
    "Peer": _object(PEER),
    "ExplainedPeer": _object({**PEER, "explanation": TEXT}),
    "Group": _object(GROUP),
    "GroupDetail": _object({**GROUP, "applied": COUNT, "members": _list(_object(MEMBER))}),
    "Entry": _object(
        {
            "key": TEXT,
            "value": {"description": "Any JSON value."},
            "version": COUNT,
            "expires": {"type": "number", "description": "Seconds since the Unix epoch, by the log; only if it ends."},
        },
        optional=("expires",),
    ),
    "Archive": _object(
        {
            "number": {"type": "integer", "minimum": 1},
            "history": {"type": "string", "description": "Short id; empty if the archive does not say."},
            "ended": {"type": "string", "enum": ["sealed", "born again", "left", "unknown"]},
            "into": {
                "type": "string",
                "description": "Short id of the history in favour of which it ended; may be empty.",
            },
            "term": COUNT,
            "index": COUNT,
            "entries": COUNT,
            "commands": COUNT,
            "whole": {**YES, "description": "Whether it holds all that the history ever acknowledged."},
            "problem": {"type": "string", "description": "Why it cannot be read; empty if it can."},
            "aside": {
                "type": "string",
                "description": "What of it was not carried over; empty if nothing is known of.",
            },
        }
    ),
    "ArchivedEntry": _object(
        {
            "index": COUNT,
            "term": COUNT,
            "time": NUMBER,
            "proposer": TEXT,
            "kind": TEXT,
            "commands": _list({"description": "Any JSON value; bytes as an object with a key base64."}),
        }
    ),
    "Written": _object({"key": TEXT, "version": COUNT}),
}


def document(operations: Sequence[Operation], *, version: str, token: bool) -> dict[str, Any]:
    """The document.

    Args:
        operations: All there are.
        version: Of the software.
        token: Whether a token is asked for.
    """
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, token=token)
    schemes = {"token": {"type": "http", "scheme": "bearer", "description": "What the node's --api-token-file holds."}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "p2praft", "version": version, "description": ABOUT, "license": {"name": "MIT"}},
        "paths": paths,
        "components": {"schemas": SCHEMAS, **({"securitySchemes": schemes} if token else {})},
        **({"security": [{"token": []}]} if token else {}),
    }


def _operation(operation: Operation, *, token: bool) -> dict[str, Any]:
    answer = _schema(operation.answer) if isinstance(operation.answer, str) else operation.answer
    problem = _schema(operation.problem) if isinstance(operation.problem, str) else operation.problem
    responses: dict[str, Any] = {
        "200": {"description": "As asked.", "content": {operation.media: {"schema": answer}}},
    }
    usual = (400, 401, 403) if token else (400, 403)
    for status in sorted({*usual, *operation.problems}):
        schema = problem if status in operation.problems else _schema("Error")
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {"application/json": {"schema": schema}},
        }
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.about.partition(".")[0] + ".",
        "description": operation.about,
        "tags": [operation.tag],
        "parameters": [parameter.document() for parameter in operation.parameters],
        "responses": responses,
    }
    if operation.body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": operation.body}}}
    return found
