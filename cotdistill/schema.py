"""`cotdistill schema`: the JSON Schema of every file that scripts may rely on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cotdistill.config import AblateConfig, DistillConfig, ElicitConfig, EvaluateConfig
from cotdistill.data.records import Example, Item
from cotdistill.data.runcard import RunCard
from cotdistill.evaluation.metrics import Prediction

FILES = {
    "question row": Example,
    "elicited row": Item,
    "run card": RunCard,
    "prediction": Prediction,
    "elicit configuration": ElicitConfig,
    "distill configuration": DistillConfig,
    "evaluate configuration": EvaluateConfig,
    "ablate configuration": AblateConfig,
}


def schemas() -> Iterator[dict[str, Any]]:
    """{"file", "schema"} for each."""
    for name, model in FILES.items():
        yield {"file": name, "schema": model.model_json_schema()}
