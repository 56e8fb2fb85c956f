"""Time for attackers on busy machines."""

from __future__ import annotations

import pytest

from transport import loop


@pytest.fixture(autouse=True)
def _time_for_the_attacker(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attack that is not about patience must not end because the machine was busy; tests of patience set their own."""
    monkeypatch.setattr(loop, "PROOF_TIMEOUT", 30)
