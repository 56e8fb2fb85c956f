"""Both of anyio's back ends, and a virtual clock."""

from __future__ import annotations

from typing import Any

import pytest
import trio.testing


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """What tests run on unless they say otherwise."""
    return request.param


@pytest.fixture
def virtual_clock() -> Any:
    """Value for ``anyio_backend``: trio with a clock that jumps to whatever happens next."""
    return ("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})
