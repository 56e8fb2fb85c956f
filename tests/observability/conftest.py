"""Members in virtual time, unless a test says otherwise."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock
