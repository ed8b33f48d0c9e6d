"""Whatever one command can be told, a grid can be told: every option reaches the cell, or is listed with the reason."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from cotdistill.ablate import plan_of
from cotdistill.config import AblateConfig, AskingOptions, Config, TrainingOptions, WalkingOptions
from cotdistill.config.option import options_of
from cotdistill.grid.arms import arms, baseline
from cotdistill.grid.workshop import distill_settings, evaluation_settings
from tests.config.test_options import written
from tests.grids import options

# Set by the grid for each cell, from what it was told.
OF_THE_CELL = {
    "seed": "one of --seeds", "steps": "by --budget", "epochs": "turned into steps by --budget", "lr": "by --sweep",
    "limit": "of the rows that are elicited or given, not of a cell's"}


@pytest.fixture
def base(tmp_path: Path) -> dict[str, Any]:
    return options(tmp_path)


def value_of(path: str) -> tuple[str, Any]:
    return options_of(AblateConfig)[path].name.removeprefix("--"), written("ablate", path)[2]


@pytest.mark.parametrize("name", [*TrainingOptions.model_fields, *Config.model_fields, "dev"])
def test_every_training_option_reaches_the_cell(name: str, base: dict[str, Any]) -> None:
    flag, value = value_of(name)
    config = AblateConfig.build(None, **{**base, flag.replace("-", "_"): value})
    made = distill_settings(config, config.out or Path(), arms(config)[0], 7, 0.125, 11)
    if name in OF_THE_CELL:
        assert (made.seed, made.lr, made.steps, made.epochs, made.limit) == (7, 0.125, 11, None, None)
    else:
        assert getattr(made, name) == getattr(config, name) == value
        assert name in made.model_fields_set  # a recipe leaves it alone


@pytest.mark.parametrize("name", [*WalkingOptions.model_fields, "device", "dtype", "data_seed", "trust_remote_code"])
def test_every_evaluation_option_reaches_the_cell(name: str, base: dict[str, Any]) -> None:
    path = f"evaluate.{name}" if name in WalkingOptions.model_fields else name
    flag, value = value_of(path)
    config = AblateConfig.build(None, **{**base, flag.replace("-", "_"): value})
    assert getattr(evaluation_settings(config), name) == attrgetter(path)(config) == value


@pytest.mark.parametrize("name", [*AskingOptions.model_fields, "device", "dtype", "data_seed", "trust_remote_code",
                                  "limit", "plugin"])
def test_every_asking_option_reaches_the_elicitation(name: str, base: dict[str, Any]) -> None:
    path = f"elicit.{name}" if name in AskingOptions.model_fields else name
    flag, value = value_of(path)
    config = AblateConfig.build(None, **{**base, flag.replace("-", "_"): value})
    made = arms(config)
    plan = plan_of(config, None, made, baseline(config, made), None)
    assert getattr(plan.elicited("greedy", Path("x")), name) == attrgetter(path)(config) == value


def test_evaluation_options_that_a_grid_lacks_are_those_whose_figures_it_cannot_compute_again() -> None:
    from cotdistill.config import EvaluateConfig

    own = set(EvaluateConfig.model_fields) - set(WalkingOptions.model_fields) - set(AblateConfig.model_fields)
    of_one_call = {"split", "in_domain", "strategy", "flip_rate", "from_predictions", "html", "export", "model_card"}
    assert own - of_one_call == {"samples", "temperature", "top_p", "simulator", "simulator_model"}
