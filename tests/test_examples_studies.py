"""The configurations that ship: they are read, and their grids are what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotdistill.config import AblateConfig
from cotdistill.grid.arms import arms, baseline, resolve_study

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize("name", ["demo", "mysteries", "scott", "cascod", "own_data"])
def test_a_shipped_study_spells_a_grid(name: str) -> None:
    config, study = resolve_study(AblateConfig.build(EXAMPLES / f"{name}.yaml"))
    made = arms(config)
    assert len(made) >= 6
    assert baseline(config, made).label in [arm.label for arm in made]
    assert (study is not None) == (name in ("mysteries", "scott", "cascod"))
    assert len(config.seeds) == (1 if name == "demo" else 5)
