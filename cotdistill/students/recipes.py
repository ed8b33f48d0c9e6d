"""The papers' published hyper-parameters, as far as they could be had; what could not is named, never
guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cotdistill.config import DistillConfig
from cotdistill.console import say


@dataclass(frozen=True)
class Recipe:
    """`values` are set where the user set none; `unknown` could not be had; `apart` is not set on purpose."""

    paper: str
    values: dict[str, Any] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    apart: str = ""


RECIPES = {
    "scott": Recipe(
        "SCOTT, arXiv 2305.01879",
        {"optimizer": "adafactor", "lr": 3e-5, "batch_size": 16, "epochs": 10.0, "warmup": 0.06, "clip": 1.0},
        unknown=("schedule", "weight_decay"),
        apart="its lengths of 128/128 silently cut answers off, so --max-length stays yours; it ran 5 seeds",
    ),
    "cascod": Recipe(
        "CasCoD, arXiv 2405.19842",
        {
            "lora": "r=64,alpha=32,target=q_proj+v_proj",
            "lr": 2e-4,
            "epochs": 15.0,
            "batch_size": 256,
            "max_length": 1024,
        },
        unknown=("optimizer", "schedule", "warmup", "clip", "weight_decay"),
        apart="its alpha is 0.1 in the script, 0.5 in the config, so it stays yours; q_proj+v_proj are "
        "Llama's names, give --lora for other families",
    ),
    "mysteries": Recipe(
        "Mysteries of CoT-augmented distillation, arXiv 2406.14511",
        unknown=("lr", "optimizer", "schedule", "warmup", "clip", "weight_decay", "epochs", "batch_size"),
    ),
    "step-by-step": Recipe(
        "Distilling Step-by-Step, arXiv 2305.02301",
        unknown=("lr", "optimizer", "schedule", "warmup", "clip", "weight_decay", "epochs", "batch_size"),
    ),
}


def apply_recipe(config: DistillConfig) -> DistillConfig:
    """The configuration with its recipe's values where none was given; says what the recipe leaves open."""
    if config.recipe is None:
        return config
    recipe = RECIPES[config.recipe]
    given = config.model_fields_set
    values = {
        name: value
        for name, value in recipe.values.items()
        if name not in given and not (name == "epochs" and "steps" in given)
    }
    taken = ", ".join(f"{name}={value}" for name, value in values.items()) or "nothing"
    left = (
        f"; not published or not found, so left as they are: {', '.join(recipe.unknown)}"
        if recipe.unknown
        else ""
    )
    say(
        f"recipe {config.recipe} ({recipe.paper}) sets {taken}{left}"
        + (f"; {recipe.apart}" if recipe.apart else "")
    )
    return config.model_copy(update=values)
