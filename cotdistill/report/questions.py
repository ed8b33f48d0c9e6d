"""A browser over single questions: each run's output, and its answer under each probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from cotdistill.escaping import json_text
from cotdistill.evaluation.faithfulness import Pair, ProbeAnswer
from cotdistill.evaluation.metrics import Prediction
from cotdistill.report.page import Browser, environment
from cotdistill.seeds import rng

MOST = 300  # questions per set on the page: more would make it too heavy to open


@dataclass(frozen=True)
class RunAnswers:
    """One run on one set, as the browser shows it."""

    run: str
    set: str
    predictions: Sequence[Prediction]
    rationales: Mapping[str, str]
    probed: Mapping[str, Mapping[str, ProbeAnswer | None]]


def browser(answered: Sequence[RunAnswers], most: int = MOST) -> Browser:
    """The questions of all sets with every run's answers; `most` per set, drawn by id, in their order."""
    sets: dict[str, dict[str, Any]] = {}
    for subject in answered:
        shown = _drawn(subject.predictions, most)
        page = sets.setdefault(subject.set, {"name": subject.set, "of": len(subject.predictions), "questions": {}})
        for prediction in shown:
            entry = page["questions"].setdefault(prediction.id, _question(prediction))
            entry["runs"][subject.run] = _said(prediction, subject)
    data = [{**page, "questions": list(page["questions"].values())} for page in sets.values()]
    # "</script>" or "<!--" inside a rationale must not end or comment out the data.
    text = json_text(data, separators=(",", ":")).replace("<", "\\u003c")
    return Browser(Markup(environment(html=True).get_template("questions.html.j2").render(data=Markup(text))))


def _drawn(predictions: Sequence[Prediction], most: int) -> list[Prediction]:
    if len(predictions) <= most:
        return list(predictions)
    drawn = {p.id for p in sorted(predictions, key=lambda p: rng(0, "page", p.id).random())[:most]}
    return [p for p in predictions if p.id in drawn]


def _question(p: Prediction) -> dict[str, Any]:
    return {"id": p.id, "task": p.task, "question": p.question, "choices": p.choices, "gold": p.gold, "runs": {}}


def _said(p: Prediction, subject: RunAnswers) -> dict[str, Any]:
    probes = {
        name: {
            "given": answer.given,
            "answer": answer.answer,
            "verdict": answer.verdict,
            "for": answer.target,
            "flipped": Pair(p, answer).changed,
        }
        for name, answer in subject.probed.get(p.id, {}).items()
        if answer is not None
    }
    confidence = p.confidence
    return {
        "rationale": subject.rationales.get(p.id),
        "answer": p.answer,
        "output": p.output,
        "verdict": p.verdict,
        "confidence": None if confidence is None else round(confidence, 3),
        "probes": probes,
    }
