"""Who is evaluated: a run, a plain model walked by a named strategy, or predictions made elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from cotdistill.config import EvaluateConfig
from cotdistill.data.files import json_digest
from cotdistill.data.json_rows import json_lines
from cotdistill.data.records import Example
from cotdistill.data.runcard import RunCard, package_versions, read_card
from cotdistill.errors import DataError, UsageError
from cotdistill.evaluation.answers import extract
from cotdistill.evaluation.judging import judge_slot, judge_text
from cotdistill.evaluation.metrics import Prediction
from cotdistill.evaluation.samples import Sampled
from cotdistill.strategies.description import describe
from cotdistill.strategies.registry import create


@dataclass(frozen=True)
class Subject:
    """`name` as results say it; `folder` holds its predictions; `model` is None for predictions made
    elsewhere."""

    name: str
    folder: Path
    card: RunCard
    model: str | None


def subject_of(name: str, config: EvaluateConfig, model_digest: Callable[[str], str]) -> Subject:
    """A run directory by its run card; a file is predictions, unless it is a GGUF file; anything else is a model,
    which needs --strategy."""
    place = Path(name)
    if place.is_file() and place.suffix.lower() != ".gguf":
        return Subject(name, place.parent, _card(config, {"name": place.name, "family": None}, name), None)
    if (place / "run.json").is_file():
        if config.strategy is not None:
            raise UsageError(
                f"--strategy {config.strategy}: {name} is a run, which knows its strategy; leave it out"
            )
        if config.chat:
            raise UsageError(f"--chat: {name} is a run, which knows whether it was trained in a chat; leave it out")
        return Subject(name, place, read_card(place), str(place / "student"))
    if config.strategy is None:
        if place.is_dir() and not (place / "config.json").is_file():
            read_card(place)  # says what is wrong with it
        raise UsageError(
            f"{name} is no finished run; to evaluate it as a plain model say how it is walked, "
            "e.g. --strategy cot"
        )
    card = _card(config, {"name": name, "family": None, "digest": model_digest(name)}, name)
    folder = config.out or Path("runs") / f"plain-{card.strategy['name']}-{card.key[:8]}"
    return Subject(name, folder, card, name)


def _card(config: EvaluateConfig, student: Mapping[str, Any], source: str) -> RunCard:
    """A run card for what was not trained here."""
    strategy = describe(create(config.strategy, config.param)) if config.strategy else _ELSEWHERE
    chat = {"chat": True} if config.chat else {}
    key = json_digest({"strategy": strategy, "student": student, "answers": config.answers, **chat})
    return RunCard(
        key=key,
        strategy=strategy,
        student=dict(student),
        data={"source": None, "world": None, "rows": 0},
        config={"seed": config.seed, "answers": config.answers, **chat},
        counts={},
        trained={"steps": 0},
        versions=package_versions(),
    )


_ELSEWHERE: dict[str, Any] = {
    "name": "made elsewhere",
    "paper": "",
    "params": {},
    "plan": [],
    "explain": None,
    "forms": [],
}


class Elsewhere(BaseModel):
    """One line of a predictions file: a whole generation (`text`, or several in `samples`), or an answer
    alone."""

    model_config = ConfigDict(
        extra="ignore"
    )  # stored verdicts and the like are never trusted: our extractor decides

    id: str
    text: str | None = None
    output: str | None = None
    answer: str | None = None
    rationale: str | None = None
    samples: tuple[str, ...] = ()


def read_elsewhere(path: str, examples: Sequence[Example]) -> tuple[list[Prediction], list[Sampled]]:
    """Predictions for every question; with several samples a question the first is the prediction, all are
    samples.

    Raises `DataError` where a line cannot be read, or a question has none.
    """
    lines = {line.id: line for line in _lines(path)}
    missing = [example.id for example in examples if example.id not in lines]
    if missing:
        raise DataError.at(
            path,
            None,
            f"no line for {len(missing)} of {len(examples)} questions, e.g. {missing[0]!r}",
            "complete it, or evaluate on the questions it answers (--limit, another --data)",
        )
    predictions = [_prediction(example, lines[example.id]) for example in examples]
    several = [example for example in examples if len(lines[example.id].samples) > 1]
    return predictions, [_sampled(example, lines[example.id].samples) for example in several]


def _lines(path: str) -> list[Elsewhere]:
    found = []
    for number, fields in json_lines(path):
        if isinstance(samples := fields.get("samples"), list):
            fields["samples"] = [one.get("text") if isinstance(one, dict) else one for one in samples]
        elif samples is None:
            fields.pop("samples", None)
        try:
            line = Elsewhere.model_validate(fields)
        except ValidationError as error:
            where, what = error.errors()[0]["loc"][0], error.errors()[0]["msg"].lower()
            raise DataError.at(
                path,
                number,
                f"field {where!r}: {what}",
                "a line holds id and text, or answer (and rationale), or samples",
            ) from None
        if line.text is None and line.output is None and line.answer is None and not line.samples:
            raise DataError.at(
                path,
                number,
                "neither text, answer nor samples",
                "a line holds id and text, or answer (and rationale), or samples",
            )
        found.append(line)
    return found


def _prediction(example: Example, line: Elsewhere) -> Prediction:
    text = line.text if line.text is not None else line.samples[0] if line.samples else None
    whole = text is not None
    kind = example.kind_of_answer
    output = text if whole else line.output if line.output is not None else line.answer
    rationale = extract(text, example.choices, kind).rationale if text is not None else line.rationale
    answer, verdict = (judge_text if whole else judge_slot)(output, example.answer, example.choices, kind)
    return Prediction(
        id=example.id,
        task=example.task,
        question=example.question,
        choices=example.choices,
        gold=example.answer,
        rationale=rationale or None,
        output=output,
        answer=answer,
        verdict=verdict,
        finished=True,
        generated=0,
        forwarded=0,
        whole=whole,
    )


def _sampled(example: Example, texts: Sequence[str]) -> Sampled:
    judged = [judge_text(text, example.answer, example.choices, example.kind_of_answer) for text in texts]
    return Sampled(
        id=example.id,
        outputs=tuple(texts),
        answers=tuple(answer for answer, _ in judged),
        verdicts=tuple(verdict for _, verdict in judged),
    )
