"""Whatever one command can be told, a grid can be told: every option reaches the cell, or is listed with the reason."""

from __future__ import annotations

import re
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from cotdistill.ablating import plan_of
from cotdistill.config import AblateConfig, AskingOptions, Config, TrainingOptions, WalkingOptions
from cotdistill.errors import UsageError
from cotdistill.grid.arms import arms, baseline
from cotdistill.grid.axes import candidates
from cotdistill.grid.plan import Plan
from cotdistill.grid.tasks import evaluation_settings
from tests.config.test_options import companion, written
from tests.grids import options

# Set by the grid for each cell, from what it was told.
OF_THE_CELL = {
    "seed": "one of --seeds",
    "steps": "by --budget",
    "epochs": "turned into steps by --budget",
    "lr": "by --sweep",
    "limit": "of the rows that are elicited or given, not of a cell's",
    "kd_file": "the one beside the grid's own rows",
    "track": "told by the grid when a cell is done",
}


@pytest.fixture
def base(tmp_path: Path) -> dict[str, Any]:
    return options(tmp_path)


def plan(config: AblateConfig) -> Plan:
    made = arms(config)
    return plan_of(config, None, made, baseline(config, made), None)


def value_of(path: str) -> tuple[dict[str, Any], Any]:
    """Options of a grid that give an option a value, with the one it needs; and the value."""
    needed, value = companion("ablate", path), written("ablate", path)[2]
    return {path: value, **({needed[0]: needed[1][2]} if needed else {})}, value


@pytest.mark.parametrize("name", [*TrainingOptions.model_fields, *Config.model_fields, "dev"])
def test_every_training_option_reaches_the_cell(name: str, base: dict[str, Any]) -> None:
    given, value = value_of(name)
    config = AblateConfig.build(None, **{**base, **given, "controls": False})  # which would vary the choice of rows
    made = plan(config).distilled(arms(config)[0], 7, 11, (("lr", 0.125),))
    if name in OF_THE_CELL:
        assert (made.seed, made.lr, made.steps, made.epochs, made.limit, made.track) == (7, 0.125, 11, None, None, ())
    else:
        assert getattr(made, name) == getattr(config, name) == value
        assert name in made.model_fields_set  # a recipe leaves it alone


@pytest.mark.parametrize("name", [*WalkingOptions.model_fields, "device", "dtype", "data_seed", "trust_remote_code"])
def test_every_evaluation_option_reaches_the_cell(name: str, base: dict[str, Any]) -> None:
    path = f"evaluate.{name}" if name in WalkingOptions.model_fields else name
    given, value = value_of(path)
    config = AblateConfig.build(None, **{**base, **given})
    assert getattr(evaluation_settings(config), name) == attrgetter(path)(config) == value


@pytest.mark.parametrize(
    "name",
    [
        *sorted({*AskingOptions.model_fields} - {"top_p"}),
        "device",
        "dtype",
        "data_seed",
        "trust_remote_code",
        "limit",
        "plugin",
    ],
)
def test_every_asking_option_reaches_the_elicitation(name: str, base: dict[str, Any]) -> None:
    path = f"elicit.{name}" if name in AskingOptions.model_fields else name
    given, value = value_of(path)
    config = AblateConfig.build(None, **{**base, **given})
    assert getattr(plan(config).elicited("greedy", Path("x")), name) == attrgetter(path)(config) == value


def test_evaluation_options_that_a_grid_lacks_are_those_whose_figures_it_cannot_compute_again() -> None:
    from cotdistill.config import EvaluateConfig, ServerOptions

    own = set(EvaluateConfig.model_fields) - set(WalkingOptions.model_fields) - set(AblateConfig.model_fields)
    of_one_call = {
        "split",
        "revision",
        "in_domain",
        "strategy",
        "flip_rate",
        "from_predictions",
        "html",
        "export",
        "model_card",
        "model",  # a grid trains its students, none of them is behind a server
        *ServerOptions.model_fields,
    }
    assert own - of_one_call == {"samples", "temperature", "top_p", "simulator", "simulator_model"}


def test_options_that_vary_make_arms_with_controls_of_their_own(base: dict[str, Any]) -> None:
    config = AblateConfig.build(None, **{**base, "student": "demo", "vary": ["lora=none,r=8", "answers=text,letter"]})
    found = arms(config)
    assert [arm.label for arm in found if arm.variant.label == "cot" and not arm.control] == [
        f"cot [lora {lora}, answers {answers}]" for lora in ("none", "r=8") for answers in ("text", "letter")
    ]
    assert sum(arm.variant.label == "answer-only" for arm in found) == 4
    made = {arm.label: plan(config).distilled(arm, 0, 3) for arm in found}
    assert made["cot [lora r=8, answers letter]"].lora == "r=8"
    assert made["cot [lora none, answers text]"].lora is None
    assert made["post-cot [lora none, answers letter]"].answers == "letter"


def test_an_option_without_effect_makes_no_arms(base: dict[str, Any]) -> None:
    vary = ["on-policy=none,0.5", "on-policy-signal=teacher,uniform"]
    found = arms(AblateConfig.build(None, **{**base, "strategies": ["cot"], "controls": False, "vary": vary}))
    assert [arm.label for arm in found] == [
        "cot [on-policy none]",
        "cot [on-policy 0.5, on-policy-signal teacher]",
        "cot [on-policy 0.5, on-policy-signal uniform]",
    ]
    alone = {**base, "strategies": ["cot"], "controls": False, "on_policy": 0.5, "vary": vary[1:]}
    assert len(arms(AblateConfig.build(None, **alone))) == 2


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        ("lore=1", '--vary lore: not a training option (did you mean "lora"?)'),
        ("lr=fast", "--vary lr: "),
        ("lr=", "--vary lr: has no value"),
        ("schedule=sine", "--vary schedule: "),
        ("kd-weight=0.5,1", "--vary kd-weight changes nothing without --kd"),
    ],
)
def test_what_cannot_vary_is_said(vary: str, said: str, base: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        arms(AblateConfig.build(None, **{**base, "vary": [vary]}))


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ("schedule=1", "only numeric options can be swept"),
        ("epochs=1,2", "--budget equalises"),
        ("lr=-1", "--sweep lr: "),
        ("lr=", "has no value"),
        ("batch_size=1.5", "--sweep batch-size: "),
        ("lrr=1", 'did you mean "lr"'),
    ],
)
def test_what_cannot_be_swept_is_said(sweep: str, said: str, base: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        candidates(AblateConfig.build(None, **{**base, "sweep": [sweep]}).sweep)


def test_a_sweep_takes_every_combination_the_smallest_first(base: dict[str, Any]) -> None:
    config = AblateConfig.build(None, **{**base, "sweep": ["lr=0.2,0.1", "batch-size=4"]})
    assert candidates(config.sweep) == [(("lr", 0.1), ("batch_size", 4.0)), (("lr", 0.2), ("batch_size", 4.0))]
    made = plan(config).distilled(arms(config)[0], 0, 3, candidates(config.sweep)[1])
    assert (made.lr, made.batch_size) == (0.2, 4)


def test_values_that_hold_commas_are_told_apart_by_semicolons() -> None:
    config = AblateConfig.build(None, vary=["lora=r=4,alpha=8;none"])
    assert config.vary == {"lora": ("r=4,alpha=8", "none")}
