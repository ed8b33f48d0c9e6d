"""`cotdistill schema`: the JSON Schema of every file that scripts may rely on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from cotdistill.config import AblateConfig, CompareConfig, DistillConfig, ElicitConfig, EvaluateConfig, PredictConfig
from cotdistill.data.records import Example, Item, Question
from cotdistill.data.runcard import RunCard
from cotdistill.evaluation.faithfulness import Explained, ProbedQuestion
from cotdistill.evaluation.metrics import Prediction
from cotdistill.evaluation.responses import Response
from cotdistill.evaluation.samples import Sampled

FILES: dict[str, type[BaseModel]] = {
    "question row": Example,
    "question row without answer": Question,
    "elicited row": Item,
    "run card": RunCard,
    "prediction": Prediction,
    "response": Response,
    "probed question": ProbedQuestion,
    "explained answer": Explained,
    "sampled answers": Sampled,
    "elicit configuration": ElicitConfig,
    "distill configuration": DistillConfig,
    "predict configuration": PredictConfig,
    "evaluate configuration": EvaluateConfig,
    "ablate configuration": AblateConfig,
    "compare configuration": CompareConfig,
}


def schemas() -> Iterator[dict[str, Any]]:
    """{"file", "schema"} for each."""
    for name, model in FILES.items():
        yield {"file": name, "schema": model.model_json_schema()}
