"""The API holds to its own OpenAPI document, whatever it is asked: schemathesis makes the requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Any
from zlib import crc32

import anyio.from_thread
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode

from p2praft.http import operations
from tests.http.conftest import serving

EXAMPLES = 12
"""A mode and an operation."""
ENDLESS = ("/v1/events", "/v1/watch/{group}")
"""Their answers never end; test_events.py reads them."""
CASES = [
    (entry.method, entry.path, mode)
    for entry in operations()
    for mode in GenerationMode
    if entry.path not in ENDLESS
    and (entry.parameters or mode is GenerationMode.POSITIVE)  # else there is nothing to get wrong
]
LEAVES = "/v1/groups/{group}/leave"
"""Asked of groups that there are not, for the others are to find theirs still there."""


@asynccontextmanager
async def _url() -> Any:
    async with serving() as served:
        await served.put("/v1/map/line/fruit/apple", 3)
        yield f"http://{served.bound}"


@pytest.fixture(scope="module")
def schema() -> Iterator[Any]:
    with anyio.from_thread.start_blocking_portal("asyncio") as portal, portal.wrap_async_context_manager(_url()) as url:
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")


def test_the_document_is_valid(schema: Any) -> None:
    schema.validate()


@pytest.mark.parametrize(("method", "path", "mode"), CASES)
def test_it_answers_as_its_document_says(schema: Any, method: str, path: str, mode: GenerationMode) -> None:
    operation = schema[path][method]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # a failure is shown as it was found: to shrink it would take minutes
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Any) -> None:
        if "{group}" in path and path != LEAVES and crc32(str(case.path_parameters).encode()) % 2:
            case.path_parameters["group"] = "line"
        case.call_and_validate(timeout=20)

    check()
