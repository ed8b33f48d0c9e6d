"""`cotdistill evaluate`: runs and question sets in, one object of figures per run and set out."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cotdistill.config import DEMO, EvaluateConfig
from cotdistill.console import progress
from cotdistill.data.files import json_digest, write_text, writing
from cotdistill.data.records import Example, digest
from cotdistill.data.rows import json_lines
from cotdistill.data.runcard import RunCard, read_card
from cotdistill.data.tasks import load_examples
from cotdistill.distill import device_of
from cotdistill.errors import DataError, UsageError
from cotdistill.evaluation.answers import judge, read_answer
from cotdistill.evaluation.metrics import Prediction, figures
from cotdistill.strategies.description import restore
from cotdistill.strategies.forms import Strategy
from cotdistill.students.decode import Decoder
from cotdistill.students.encode import Encoder
from cotdistill.students.families import Student, load_student
from cotdistill.students.walk import Walked, walk

DEMO_SETS = ("id", "shift", "hard")
CHUNK = 8  # batches a chunk: predictions are written after each


def evaluate(config: EvaluateConfig, runs: Sequence[str]) -> list[dict[str, Any]]:
    """Walk every run on every set; the objects that `evaluate` prints, in the order run, set."""
    found = []
    for run in map(Path, runs):
        card = read_card(run)
        for name, examples in load_sets(config, card):
            found.append(evaluate_set(config, run, card, name, examples))
    return found


def runs_on_stdin() -> list[str]:
    """Run directories from the JSON lines that `distill` printed."""
    runs = []
    for number, line in json_lines("-"):
        if "run" not in line:
            raise DataError.at("stdin", number, "no field 'run'", "pipe the output of distill into evaluate")
        runs.append(str(line["run"]))
    if not runs:
        raise DataError.at("stdin", None, "names no run", "the command before this one failed, or give run directories")
    return runs


def load_sets(config: EvaluateConfig, card: RunCard) -> list[tuple[str, list[Example]]]:
    """The question sets asked for; for a run of the embedded world its own sets by default."""
    if config.data:
        wanted = [(spec, config.split) for spec in config.data]
    elif card.student["name"] == DEMO and card.data["world"]:
        wanted = [(DEMO, split) for split in ([config.split] if config.split else DEMO_SETS)]
    else:
        raise UsageError("evaluate needs question rows: --data FILE (repeatable)")
    return [(set_name(spec, split), load_examples(spec, split, config.limit, config.data_seed))
            for spec, split in wanted]


def set_name(spec: str, split: str | None) -> str:
    """A short name for tables and files: the file's stem or the data set, and the split."""
    name = Path(spec).name.removesuffix(".jsonl").replace(":", "-") if spec != "-" else "stdin"
    return f"{name}-{split}" if split else name


def evaluate_set(config: EvaluateConfig, run: Path, card: RunCard, name: str, examples: Sequence[Example],
                 student: Student | None = None) -> dict[str, Any]:
    """One run on one set: predictions are appended as they come, and a second call only does what is missing.

    `student`: the run's student where it is in memory already.
    """
    path = run / "predictions" / f"{name}.jsonl"
    settings = json_digest({"key": card.key, "examples": digest(examples), "connectors": config.connectors,
                            "max_new_tokens": config.max_new_tokens, "score": config.score})
    done = _read_predictions(path, settings)
    missing = [example for example in examples if example.id not in done]
    if missing and config.from_predictions:
        raise DataError.at(str(path), None, f"{len(missing)} of {len(examples)} predictions are missing",
                           "evaluate without --from-predictions first")
    if missing:
        student = student or load_student(str(run / "student"), config.dtype, device_of(config.device),
                                          config.trust_remote_code)
        done |= _predict(config, student, restore(card.strategy), card, missing, path, settings)
    predictions = [done[example.id] for example in examples]
    return {"run": str(run), "strategy": card.strategy["name"], "params": card.strategy["params"],
            "seed": card.config["seed"], "set": name, "score": config.score, "connectors": config.connectors,
            **figures(predictions), "batch_size": config.batch_size, "key": card.key}


def _predict(config: EvaluateConfig, student: Student, strategy: Strategy, card: RunCard,
             examples: Sequence[Example], path: Path, settings: str) -> dict[str, Prediction]:
    encoder = Encoder(student.tokens, student.start, card.config["answers"], student.context)
    decoder = Decoder(student, batch_size=config.batch_size)
    made: dict[str, Prediction] = {}
    size = CHUNK * config.batch_size
    with progress(f"{strategy.name} on {path.stem}", len(examples)) as advance, writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for at in range(0, len(examples), size):
            chunk = examples[at : at + size]
            walked = walk(decoder, encoder, strategy, chunk, connectors=config.connectors,
                          max_new_tokens=config.max_new_tokens)
            predictions = [judged(example, found) for example, found in zip(chunk, walked, strict=True)]
            _append(path, settings, predictions)
            made |= {p.id: p for p in predictions}
            advance(len(chunk), "")
    return made


def judged(example: Example, walked: Walked) -> Prediction:
    """What was walked, read by the extractor and compared with the gold answer."""
    kind = example.kind_of_answer
    answer = None if walked.answer is None else read_answer(walked.answer, example.choices, kind)
    return Prediction(
        id=example.id, task=example.task, question=example.question, choices=example.choices, gold=example.answer,
        rationale=walked.rationale, output=walked.answer, answer=answer,
        verdict=judge(answer, example.answer, example.choices, kind), finished=walked.finished,
        generated=walked.generated, forwarded=walked.forwarded)


def _read_predictions(path: Path, settings: str) -> dict[str, Prediction]:
    """Predictions made under the same settings; a file made under others is begun anew."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]  # a kill may have cut the last line: its question is asked again
    lines = whole.splitlines()
    if not lines or json.loads(lines[0]).get("settings") != settings:
        path.unlink()
        return {}
    if whole != text:
        write_text(path, whole)
    return {p.id: p for p in map(Prediction.model_validate_json, lines[1:])}


def _append(path: Path, settings: str, predictions: Sequence[Prediction]) -> None:
    fresh = not path.exists()
    with path.open("a", encoding="utf-8") as out:
        if fresh:
            out.write(json.dumps({"settings": settings}) + "\n")
        out.write("".join(p.model_dump_json() + "\n" for p in predictions))
        out.flush()
        os.fsync(out.fileno())
