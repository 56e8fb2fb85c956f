"""For what watches over processes: is it alive, can it serve, and how is it doing."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from p2praft.http.operation import Api, Arguments, Operation
from p2praft.http.parameters import Parameter
from p2praft.http.problems import Problem, json_response


async def healthz(api: Api, request: Request, arguments: Arguments) -> Any:
    """Whether the process should live on: 503 once a group has failed for good, by its storage, say."""
    failed = [group.name for group in api.network.groups.values() if group.failure is not None]
    return json_response({"ok": not failed, "failed": failed}, 503 if failed else 200)


async def readyz(api: Api, request: Request, arguments: Arguments) -> Any:
    """Whether requests can be expected to succeed: every group has a leader in reach; and, if asked, is whole."""
    groups = list(api.network.groups.values())
    answer: dict[str, Any] = {"ok": True, "offline": [group.name for group in groups if not group.online]}
    if arguments["safe"] in ("1", "true"):
        answer["unsafe"] = [group.name for group in groups if not group.safe]
    answer["ok"] = not answer["offline"] and not answer.get("unsafe")
    return json_response(answer, 200 if answer["ok"] else 503)


async def metrics(api: Api, request: Request, arguments: Arguments) -> Any:
    """For Prometheus."""
    try:
        from prometheus_client.exposition import choose_encoder

        from p2praft.observability import registry
    except ImportError:
        text = "metrics need prometheus-client: pip install 'p2praft[metrics]'"
        raise Problem(501, "NotInstalled", text) from None
    if api.metrics is None:
        api.metrics = registry(api.network)
    encode, media = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(api.metrics), headers={"content-type": media, "cache-control": "no-store"})


def operations() -> tuple[Operation, ...]:
    """Of this chapter."""
    names = {"type": "array", "items": {"type": "string"}}
    alive = {"type": "object", "properties": {"ok": {"type": "boolean"}, "failed": names}, "required": ["ok", "failed"]}
    ready = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "offline": names, "unsafe": names},
        "required": ["ok", "offline"],
    }
    safe = Parameter(
        name="safe",
        about="Whether every voter must be there and caught up as well: any one may be stopped then.",
        default="0",
        choices=("0", "1", "true", "false"),
    )
    return (
        Operation(
            method="GET",
            path="/healthz",
            name="healthz",
            about="200 while the node is sound; 503 once a group has failed on it. Needs no token.",
            handle=healthz,
            answer=alive,
            problem=alive,
            problems=(503,),
            tag="health",
        ),
        Operation(
            method="GET",
            path="/readyz",
            name="readyz",
            about="200 while every group has a leader in reach, 503 else; with safe=1, also 503 while a voter is away or behind. "
            "Needs no token.",
            handle=readyz,
            parameters=(safe,),
            answer=ready,
            problem=ready,
            problems=(503,),
            tag="health",
        ),
        Operation(
            method="GET",
            path="/metrics",
            name="metrics",
            about="Counters, gauges and histograms for Prometheus.",
            handle=metrics,
            answer={"type": "string"},
            media="text/plain",
            problems=(501,),
            tag="health",
        ),
    )
