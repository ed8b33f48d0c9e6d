"""What a finished cell was shown in training and what that cost, from its run's card."""

from __future__ import annotations

from typing import Any

from cotdistill.data.runcard import RunCard
from cotdistill.grid.budgets import FLOPS_FORWARD, FLOPS_TRAINED


def costs(card: RunCard, words: float) -> dict[str, Any]:
    """Of a run whose rationales have `words` words each; counted rather than measured."""
    steps, batch = card.trained["steps"], card.config["batch_size"]
    passes = steps * batch / card.data["trained_on"]
    own = card.trained.get("on_policy")  # in place of as many of the rows' examples
    passes *= 1.0 if own is None else 1 - own["examples"] / (steps * batch)
    written = {"positions": 0, "learned": 0, "teacher_parameters": 0, **(own or {})}
    inputs = round(passes * card.counts["input_tokens"]) + written["positions"]
    forwarded = written["positions"] * (card.student["parameters"] + written["teacher_parameters"])
    return {
        "steps": steps,
        "rows": card.data["rows"],
        "examples": steps * batch,
        "learned_tokens": round(passes * sum(card.counts["learned_tokens"].values())) + written["learned"],
        "input_tokens": inputs,
        **({} if own is None else {"sampled_tokens": own["tokens"]}),
        "train_flops": FLOPS_TRAINED * card.student["parameters"] * inputs + FLOPS_FORWARD * forwarded,
        "rationale_words": words,
        "parameters": card.student["parameters"],
        "run_key": card.key,
    }
