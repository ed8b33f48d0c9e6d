"""Settings that were not given: a recipe's published values first, then defaults for the kind of student.

A recipe sets what the public code sets; values that could not be found are named, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import Any, TypeVar

from cotdistill.config import DEMO, Config, TrainingOptions
from cotdistill.console import say
from cotdistill.students.devices import bfloat16_on_gpu

C = TypeVar("C", bound=TrainingOptions)
BILLION = 10**9
EMBEDDED = {"lr": 2e-3, "epochs": 10.0}


@dataclass(frozen=True)
class Recipe:
    """`values` are set where the user set none; `unknown` could not be found; `apart` is deliberately not set."""

    paper: str
    values: dict[str, Any] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    apart: str = ""


_DECAYED = {"schedule": "step", "step_decay": 0.95, "warmup": 0.0, "clip": 0.0}  # StepLR(1, 0.95) once per epoch

RECIPES = {
    "scott": Recipe(  # wangpf3/consistent-CoT-distillation @1b294e6, main.py and its script
        "SCOTT, arXiv 2305.01879",
        {
            "optimizer": "adafactor",
            "lr": 3e-5,
            "weight_decay": 0.0,
            "schedule": "linear",
            "warmup": 0.06,
            "clip": 1.0,
            "batch_size": 16,
            "epochs": 10.0,
        },
        apart="its lengths of 128/128 silently cut answers off, so --max-length stays yours; it stopped after one "
        "epoch without a lower dev loss (here --dev and --patience look at generated answers) and ran 5 seeds",
    ),
    "cascod": Recipe(  # C-W-D/CasCoD @3468d15, finetuning.py and train_utils.py; its max_grad_norm is never used
        "CasCoD, arXiv 2405.19842",
        {
            "lora": "r=64,alpha=32",
            "optimizer": "adamw",
            "lr": 2e-4,
            "weight_decay": 0.05,
            **_DECAYED,
            "epochs": 15.0,
            "batch_size": 256,
            "max_length": 1024,
        },
        apart="its alpha is 0.1 in the script, 0.5 in the config, so it stays yours; it adapts Llama's q_proj and "
        "v_proj, here peft's choice for the student's family",
    ),
    "weighted-cot": Recipe(  # the same repository
        "CasCoD's baseline, arXiv 2405.19842",
        {
            "lora": "r=64,alpha=32",
            "optimizer": "adamw",
            "lr": 2e-4,
            "weight_decay": 0.05,
            **_DECAYED,
            "epochs": 15.0,
            "batch_size": 256,
            "max_length": 1024,
        },
        apart="its weights fall linearly from rationale to conclusion",
    ),
    "edit-krsl": Recipe(  # the same repository
        "EDIT, arXiv 2405.19737",
        {
            "lora": "r=64,alpha=32",
            "optimizer": "adamw",
            "lr": 5e-6,
            "weight_decay": 0.0,
            **_DECAYED,
            "epochs": 10.0,
            "batch_size": 256,
            "max_length": 1024,
        },
        apart="it starts from a student trained with cot at 2e-4: give that run as --start, or --lr 2e-4 "
        "--after cot:0.025",
    ),
    "step-by-step": Recipe(  # google-research/distilling-step-by-step @ef94426, run.py, and HF Trainer's defaults then
        "Distilling Step-by-Step, arXiv 2305.02301",
        {
            "optimizer": "adamw",
            "lr": 5e-5,
            "weight_decay": 0.0,
            "schedule": "linear",
            "warmup": 0.0,
            "clip": 1.0,
            "batch_size": 64,
            "steps": 10_000,
        },
        apart="its lengths are 1024 tokens in and 64 out, so --max-length stays yours",
    ),
    "mysteries": Recipe(
        "Mysteries of CoT-augmented distillation, arXiv 2406.14511",
        unknown=("lr", "optimizer", "schedule", "warmup", "clip", "weight_decay", "epochs", "batch_size"),
    ),
}


def resolve_training(config: C, student: str) -> tuple[C, dict[str, str]]:
    """The configuration with a value for every option that was not given, and {option: where its value comes from}.

    An option that was given comes before a recipe, a recipe before the default for the kind of student: the embedded
    one, or a pretrained model, which a learning rate for small untrained ones ruins in a few steps.
    """
    config, reasons = _with_recipe(config)
    why, values = _defaults(config, student)
    taken = {name: value for name, value in values.items() if not _given(name, config)}
    if taken and student != DEMO:
        listed = ", ".join(
            f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in taken.items()
        )
        say(f"{student}: {listed} ({why}; override it with an option or --recipe)")
    return config.model_copy(update=taken), reasons | dict.fromkeys(taken, why)


def _with_recipe(config: C) -> tuple[C, dict[str, str]]:
    if config.recipe is None:
        return config, {}
    recipe = RECIPES[config.recipe]
    values = {name: value for name, value in recipe.values.items() if not _given(name, config)}
    taken = ", ".join(f"{name}={value}" for name, value in values.items()) or "nothing"
    left = f"; not published or not found, so left unchanged: {', '.join(recipe.unknown)}" if recipe.unknown else ""
    say(f"recipe {config.recipe} ({recipe.paper}) sets {taken}{left}" + (f"; {recipe.apart}" if recipe.apart else ""))
    return config.model_copy(update=values), dict.fromkeys(values, f"recipe {config.recipe}")


def _given(name: str, config: TrainingOptions) -> bool:
    """Whether an option has its value already; steps and epochs exclude each other."""
    same = {"steps", "epochs"} if name in ("steps", "epochs") else {name}
    return bool(same & config.model_fields_set)


def _defaults(config: TrainingOptions, student: str) -> tuple[str, dict[str, Any]]:
    """Why, and the values: of the embedded student, of adapters, of a small and of a large pretrained model."""
    if student == DEMO:
        return "the embedded student's", dict(EMBEDDED)
    assert isinstance(config, Config)
    values: dict[str, Any] = {"lr": 2e-4, "epochs": 3.0}
    why = "defaults for LoRA"
    if config.lora is None:
        from cotdistill.students.load import outline_student  # the embedded student's settings are known without torch

        count = outline_student(student, config.trust_remote_code).model.num_parameters()
        values["lr"] = 5e-5 if count < BILLION else 2e-5
        why = f"defaults for full fine-tuning of {count / 1e6:,.0f} M parameters"
    if bfloat16_on_gpu(config.device):
        values["dtype"] = "bfloat16"
    return why, values


def total_steps(options: TrainingOptions, examples: float) -> int:
    """`--steps`, or the optimizer steps of `--epochs` passes over so many examples."""
    if options.steps is not None:
        return options.steps
    return max(1, ceil((options.epochs or EMBEDDED["epochs"]) * examples / options.batch_size))
