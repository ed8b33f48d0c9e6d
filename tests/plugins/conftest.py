"""What a test registers stays in it."""

from __future__ import annotations

import pytest

from cotdistill.plugins import kinds  # noqa: F401  (defines the registries)
from cotdistill.plugins.registry import registries


@pytest.fixture(autouse=True)
def _registered_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in registries:
        registry.load()
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
