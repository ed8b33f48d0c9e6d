"""Predictions and probe answers to compute figures from."""

from __future__ import annotations

from typing import Any

from cotdistill.answers.answers import judge
from cotdistill.evaluation.faithfulness import ProbeAnswer
from cotdistill.evaluation.metrics import Prediction

CHOICES = ("barn", "kitchen", "office", "attic")


def prediction(at: int, answer: str | None, gold: str = "barn", **changes: Any) -> Prediction:
    """What was said to question `at`; its output is the answer."""
    choices = changes.pop("choices", CHOICES)
    fields: dict[str, Any] = {
        "id": f"q{at}",
        "task": "places",
        "question": f"Where is thing {at}?",
        "choices": choices,
        "gold": gold,
        "rationale": f"Thing {at} is kept in the {answer}.",
        "output": answer,
        "answer": answer,
        "verdict": judge(answer, gold, choices, "choice" if choices else "number"),
        "finished": True,
        "generated": 7,
        "forwarded": 30,
        "batch_size": 4,
    }
    return Prediction(**{**fields, **changes})


def probed(answer: str | None, gold: str = "barn", target: str | None = None) -> ProbeAnswer:
    """An answer under some intervention."""
    return ProbeAnswer(
        given="something else",
        output=answer,
        answer=answer,
        verdict=judge(answer, gold, CHOICES, "choice"),
        target=target,
    )
