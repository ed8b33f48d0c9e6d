"""One subject on one set: its outputs, and every metric that follows from them without the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotdistill.answers.judging import judge_by
from cotdistill.config import EvaluateConfig
from cotdistill.config.common import BadRows
from cotdistill.console import warn_once
from cotdistill.data.hub import PREFIX
from cotdistill.data.records import Example, digest
from cotdistill.data.rows import read_items
from cotdistill.data.runcard import RunCard
from cotdistill.data.tasks import data_set_of, load_examples
from cotdistill.errors import DataError
from cotdistill.evaluation.cues import cue_scores, mentions_cue, misled
from cotdistill.evaluation.faithfulness import (
    ANSWER_FIRST,
    Explained,
    ProbeAnswer,
    consistency,
    faithfulness,
    pairs_by_probe,
)
from cotdistill.evaluation.inputs import Subject
from cotdistill.evaluation.las import las
from cotdistill.evaluation.metrics import Prediction, compute_metrics
from cotdistill.evaluation.overlap import Asked, contamination
from cotdistill.evaluation.probe_scores import decoded_scores, read_scores
from cotdistill.evaluation.probes import WITHOUT, chosen, labels
from cotdistill.evaluation.samples import Sampled, sample_metrics
from cotdistill.evaluation.simulator import FOLDS, Observation, SimulatorName, make_simulator, simulate
from cotdistill.evaluation.store import Store
from cotdistill.evaluation.truths import Spoken, areas, truths

if TYPE_CHECKING:
    from cotdistill.students.student import Student

TOO_FEW = 40  # questions: a simulator trained on fewer predicts nothing


@dataclass
class Examined:
    """One subject on one set: its outputs, and the object that is printed."""

    config: EvaluateConfig
    subject: Subject
    name: str
    examples: Sequence[Example]
    predictions: list[Prediction]
    probed: dict[str, dict[str, ProbeAnswer | None]] = field(default_factory=dict)
    explained: dict[str, Explained] = field(default_factory=dict)
    rationales: dict[str, str] = field(default_factory=dict)  # of the walk, or of its explanation
    record: dict[str, Any] = field(default_factory=dict)


def add_metrics(
    examined: Examined,
    sampled: Sequence[Sampled],
    load: Callable[[str], Student],
    store: Store[Prediction] | None = None,
) -> Examined:
    """Add all metrics that follow from stored outputs to the record.

    `load` gives the model that a transformer simulator starts from; `store`: where the predictions came from,
    None for those made elsewhere.
    """
    config, subject, card = examined.config, examined.subject, examined.subject.card
    flops = None if store is None else store.header().get("flops_per_token")
    seconds = None if store is None else store.seconds_per_question()
    examined.rationales |= {i: line.rationale for i, line in examined.explained.items() if line.rationale is not None}
    examined.rationales |= {p.id: p.rationale for p in examined.predictions if p.rationale is not None}
    examined.record = {
        "run": examined.subject.name,
        "strategy": card.strategy["name"],
        "params": card.strategy["params"],
        "seed": card.config["seed"],
        "set": examined.name,
        "score": config.score,
        "connectors": config.connectors,
        **({} if config.think_budget is None else {"think_budget": config.think_budget}),
        **compute_metrics(examined.predictions, config.extractor, flops, seconds),
        "batch_size": _only(sorted({p.batch_size for p in examined.predictions if p.batch_size})),
        "key": card.key,
    }
    if sampled:
        golds = {p.id: (p.gold, p.choices, p.kind) for p in examined.predictions}
        again = [
            walks.read_again(judge_by(config.extractor, subject.model is None), *golds[walks.id]) for walks in sampled
        ]
        examined.record["sampled"] = sample_metrics(again, [golds[walks.id] for walks in again])
    if config.probe:
        examined.record["probes"] = _probe_metrics(examined, load)
    training = _training_rows(config, card)
    if training:
        questions = [Asked(example.question, example.choices) for example in examined.examples]
        examined.record["overlap"] = contamination(training, questions)
    return examined


def _probe_metrics(examined: Examined, load: Callable[[str], Student]) -> dict[str, Any]:
    """By probe; "not applicable" with the reason, never 0, where something it needs is missing."""
    config, names = examined.config, chosen(examined.config.probe)
    metrics = faithfulness(examined.predictions, examined.probed, config.data_seed)
    known = truths(examined.predictions, examined.rationales)
    spoken = decoded_scores(pairs_by_probe(examined.predictions, examined.probed), known)
    if not examined.probed:
        reason = ANSWER_FIRST if examined.subject.model is not None else "made elsewhere: it cannot be asked again"
        metrics = {name: _not_applicable(reason) for name in labels(names, config.ratios)}
    elif "tag-swap" in names and "tag-swap" not in metrics:
        metrics["tag-swap"] = _not_applicable("the strategy has no counterfactual form")
    if "consistency" in names:
        other = {id_: answers.get(WITHOUT) for id_, answers in examined.probed.items()}
        other |= {id_: line.reasoned for id_, line in examined.explained.items()}
        metrics["consistency"] = consistency(examined.predictions, examined.rationales, other)
        spoken["consistency"] = read_scores(examined.predictions, examined.rationales, known)
    if "mentions-cue" in names:
        cases = misled(examined.predictions, examined.rationales)
        metrics["mentions-cue"] = mentions_cue(cases)
        spoken["mentions-cue"] = Spoken("said", cue_scores(cases), {})
    if "las" in names:
        for simulator in config.simulator:
            metrics[f"las-{simulator}"], foreseen = _las(examined, simulator, load)
            spoken[f"las-{simulator}"] = Spoken("foreseen", foreseen, {})
    for name, figures in metrics.items():
        if "not_applicable" not in figures:
            figures["auroc"] = areas(spoken[name], known)
    return metrics


def _not_applicable(reason: str, n: int = 0) -> dict[str, Any]:
    return {"n": n, "not_applicable": reason}


def _las(
    examined: Examined, name: SimulatorName, load: Callable[[str], Student]
) -> tuple[dict[str, Any], dict[str, float]]:
    """LAS of the answers that were parsed and explained, by one simulator; {question: what the rationale added}."""
    by_id, data_seed = {example.id: example for example in examined.examples}, examined.config.data_seed
    seen = [
        Observation(by_id[p.id], examined.rationales[p.id], p.answer)
        for p in examined.predictions
        if p.answer is not None and examined.rationales.get(p.id, "").strip()
    ]
    if not seen:
        return _not_applicable("the strategy gives no rationale"), {}
    if len(seen) < TOO_FEW:
        return _not_applicable(f"{len(seen)} explained answers are too few to train a simulator on", len(seen)), {}
    model = examined.config.simulator_model or examined.subject.card.student["name"]
    make = make_simulator(name, lambda: load(model), data_seed, len(seen))
    simulated = simulate(seen, make, FOLDS[name], data_seed)
    gains = [float(one.both) - float(one.question) for one in simulated]
    figures = {"simulator": name, **las(simulated), "left_out": len(examined.predictions) - len(seen)}
    return figures, {one.example.id: gain for one, gain in zip(seen, gains, strict=True)}


def _training_rows(config: EvaluateConfig, card: RunCard) -> Sequence[Asked]:
    """The training rows' questions: of --train, else of the run card's source where it still holds those rows."""
    if config.train is not None:
        file = Path(config.train)
        written = file.stat().st_mtime_ns if file.is_file() else 0
        return _named_rows(config.train, config.map, config.data_seed, config.apart(), written)
    source = card.data.get("source")
    if not source or not Path(source).is_file():
        return []
    source_digest, questions = _rows_of(Path(source), card.config.get("limit"), Path(source).stat().st_mtime_ns)
    if source_digest == card.data["digest"]:
        return questions
    warn_once(f"{source} holds other rows than the run was trained on: no overlap is computed; name them with --train")
    return []


@lru_cache(maxsize=1)  # read once for all subjects and sets: it may be a pipe
def _named_rows(train: str, columns: str | None, data_seed: int, bad: BadRows, written: int) -> Sequence[Asked]:
    """The questions of --train as `written`: elicited rows, or question rows in any form that --data takes."""
    if columns is not None and written:  # rows of ours need no map
        with suppress(DataError):
            return [Asked(item.question, item.choices) for item in read_items(train, allow_partial=True)]
    data_set = data_set_of(train)
    split = data_set.train if data_set else "train" if train.startswith(PREFIX) else None
    return [Asked(row.question, row.choices) for row in load_examples(train, split, None, data_seed, columns, bad)]


@lru_cache(maxsize=4)
def _rows_of(source: Path, limit: int | None, written: int) -> tuple[str, Sequence[Asked]]:
    """(digest, questions) of a file of elicited rows as `written`; an empty digest where it holds other rows by now."""
    try:
        items = read_items(source, limit)
    except DataError:
        return "", ()
    return digest(items), [Asked(item.question, item.choices) for item in items]


def _only(values: Sequence[int]) -> int | list[int] | None:
    """A single value itself; several as a list."""
    return values[0] if len(values) == 1 else list(values) or None
