"""`cotdistill schema`: the JSON Schema of every file that scripts may rely on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from cotdistill.config import AblateConfig, DistillConfig, ElicitConfig, EvaluateConfig
from cotdistill.data.records import Example, Item
from cotdistill.data.runcard import RunCard
from cotdistill.evaluation.faithfulness import Explained, Probed
from cotdistill.evaluation.metrics import Prediction
from cotdistill.evaluation.samples import Sampled

FILES: dict[str, type[BaseModel]] = {
    "question row": Example,
    "elicited row": Item,
    "run card": RunCard,
    "prediction": Prediction,
    "probed question": Probed,
    "explained answer": Explained,
    "sampled answers": Sampled,
    "elicit configuration": ElicitConfig,
    "distill configuration": DistillConfig,
    "evaluate configuration": EvaluateConfig,
    "ablate configuration": AblateConfig,
}


def schemas() -> Iterator[dict[str, Any]]:
    """{"file", "schema"} for each."""
    for name, model in FILES.items():
        yield {"file": name, "schema": model.model_json_schema()}
