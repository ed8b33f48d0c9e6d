"""What is evaluated: a run, a plain model walked by a named strategy, or predictions made elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from cotdistill.answers.answers import extract
from cotdistill.answers.judging import judge_by, judge_found, judge_text
from cotdistill.config import StudentOptions
from cotdistill.data.files import json_digest
from cotdistill.data.json_rows import json_lines
from cotdistill.data.records import Example, compact
from cotdistill.data.runcard import RunCard, package_versions, read_card
from cotdistill.errors import DataError, Unavailable, UsageError
from cotdistill.evaluation.metrics import Prediction
from cotdistill.evaluation.samples import Sampled
from cotdistill.garbage import collector_paused
from cotdistill.strategies.description import dump_strategy
from cotdistill.strategies.registry import create


@dataclass(frozen=True)
class Subject:
    """`name` as results say it; `folder` holds its predictions; `model` is None for predictions made elsewhere.

    `served_alone`: a plain model that a server has; nothing but its name is known here.
    """

    name: str
    folder: Path
    card: RunCard
    model: str | None
    served_alone: bool = False

    @classmethod
    def of_run(cls, run: Path, card: RunCard) -> Subject:
        """A run whose student is in its folder."""
        return cls(str(run), run, card, str(run / "student"))


def subject_of(
    name: str, config: StudentOptions, model_digest: Callable[[str], str], out: Path | None = None
) -> Subject:
    """A run directory by its run card; a file is predictions, unless it is a GGUF file; anything else is a model,
    which needs --strategy. `out`: the folder for a model's predictions."""
    place, served_alone = Path(name), name == config.model
    if place.is_file() and place.suffix.lower() != ".gguf":
        return Subject(name, place.parent, _card(config, {"name": place.name, "family": None}, name), None)
    if (place / "run.json").is_file():
        if config.strategy is not None:
            raise UsageError(f"--strategy {config.strategy}: {name} is a run, whose strategy is known; omit --strategy")
        if config.chat:
            raise UsageError(f"--chat: {name} is a run, whose use of the chat template is known; omit --chat")
        return Subject(name, place, read_card(place), student_of(place))
    if config.strategy is None and served_alone:
        raise UsageError(f"--model {name} needs the run whose student is served, or --strategy for a plain model")
    if config.strategy is None:
        if place.is_dir() and not (place / "config.json").is_file():
            read_card(place)  # raises DataError that says what is wrong with it
        raise UsageError(
            f"{name} is not a finished run; to evaluate it as a plain model, give its strategy, e.g. --strategy cot"
        )
    known = name if served_alone else model_digest(name)
    card = _card(config, {"name": name, "family": None, "digest": known}, name)
    folder = out or Path("runs") / f"plain-{card.strategy['name']}-{card.key[:8]}"
    return Subject(name, folder, card, name, served_alone)


def student_of(run: Path) -> str:
    """Where a run's student is: RUN/student, or beside the card in a run that was pushed to the hub."""
    pushed = any((run / name).is_file() for name in ("config.json", "adapter_config.json"))
    return str(run if pushed and not (run / "student").is_dir() else run / "student")


def kept_student(subject: Subject) -> Subject:
    """Itself, where its model is there. Raises `Unavailable` for a run whose student was not kept."""
    if (subject.folder / "run.json").is_file() and not Path(subject.model or "").is_dir():
        rows = subject.card.data.get("source") or "ROWS"
        raise Unavailable(
            f"{subject.name}: the student of this run was not kept; train it again with: cotdistill distill {rows} "
            f"--config {subject.folder / 'run.json'} -o FOLDER (a grid keeps its students with --keep-students all)"
        )
    return subject


def _card(config: StudentOptions, student: Mapping[str, Any], source: str) -> RunCard:
    """A run card for what was not trained here."""
    strategy = dump_strategy(create(config.strategy, config.param)) if config.strategy else _ELSEWHERE
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
    """One line of a predictions file: a whole generation (`text`, or several in `samples`), or an answer alone."""

    model_config = ConfigDict(extra="ignore")  # stored verdicts and the like are never trusted: our extractor decides

    id: str
    text: str | None = None
    output: str | None = None
    answer: str | None = None
    rationale: str | None = None
    samples: tuple[str, ...] = ()
    finished: bool = True


@collector_paused()
def read_elsewhere(
    path: str, examples: Sequence[Example], extractor: str = "answers"
) -> tuple[list[Prediction], list[Sampled]]:
    """Predictions for every question; with several samples per question the first is the prediction, all are samples.

    `extractor` reads their answers.

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
    predictions = [_prediction(example, lines[example.id], extractor) for example in examples]
    several = [example for example in examples if len(lines[example.id].samples) > 1]
    return predictions, [_sampled(example, lines[example.id].samples) for example in several]


def _lines(path: str) -> list[Elsewhere]:
    lines = []
    for number, fields in json_lines(path):
        if isinstance(fields.get("rationales"), list):
            raise DataError.at(
                path, number, "an elicited row, whose answer is the gold one", "give predictions, or a trained run"
            )
        if isinstance(samples := fields.get("samples"), list):
            fields["samples"] = [one.get("text") if isinstance(one, dict) else one for one in samples]
        elif samples is None:
            fields.pop("samples", None)
        try:
            line = compact(Elsewhere.model_validate(fields))
        except ValidationError as error:
            where, what = error.errors()[0]["loc"][0], error.errors()[0]["msg"].lower()
            raise DataError.at(
                path,
                number,
                f"field {where!r}: {what}",
                "a line holds id and text, or answer (and rationale), or samples",
            ) from None
        unreached = "output" in line.model_fields_set  # null, as `predict` writes it: the answer was never reached
        if line.text is None and line.answer is None and not line.samples and not unreached:
            raise DataError.at(
                path,
                number,
                "neither text, answer nor samples",
                "a line holds id and text, or answer (and rationale), or samples",
            )
        lines.append(line)
    return lines


def _prediction(example: Example, line: Elsewhere, extractor: str) -> Prediction:
    text = line.text if line.text is not None else line.samples[0] if line.samples else None
    whole = text is not None
    output = text if whole else line.output if line.output is not None else line.answer
    judged, rationale = judge_by(extractor, whole), line.rationale
    if text is not None:
        found = extract(text, example.choices, example.kind_of_answer)
        rationale = found.rationale
        if extractor == "answers":  # by what was just extracted
            judged = partial(judge_found, found)
    prediction = Prediction.of(
        example,
        output,
        judged,
        rationale=rationale or None,
        finished=line.finished,
        generated=0,
        forwarded=0,
        whole=whole,
    )
    return compact(prediction)


def _sampled(example: Example, texts: Sequence[str]) -> Sampled:
    judged = [judge_text(text, example.answer, example.choices, example.kind_of_answer) for text in texts]
    return Sampled(
        id=example.id,
        outputs=tuple(texts),
        answers=tuple(answer for answer, _ in judged),
        verdicts=tuple(verdict for _, verdict in judged),
    )
