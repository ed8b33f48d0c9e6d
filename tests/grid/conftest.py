"""Grids that are run again have the same figures: drawing them is half of a small grid's report."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import pytest

from cotdistill.report import ablation
from tests.grids import Drawn


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return Drawn(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module", autouse=True)
def _drawn_once(drawn: Drawn) -> Iterator[None]:
    with patch.object(ablation, "draw", drawn):
        yield
