"""One subject examined on one set: what it said, and every figure that follows from it without the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotdistill.config import EvaluateConfig
from cotdistill.console import warn_once
from cotdistill.data.json_rows import json_lines
from cotdistill.data.records import Example, digest
from cotdistill.data.rows import read_items
from cotdistill.data.runcard import RunCard
from cotdistill.errors import DataError
from cotdistill.evaluation.faithfulness import ANSWER_FIRST, Explained, ProbeAnswer, consistency, faithfulness
from cotdistill.evaluation.judging import judge_by
from cotdistill.evaluation.las import las
from cotdistill.evaluation.metrics import Prediction, figures
from cotdistill.evaluation.overlap import Asked, overlap
from cotdistill.evaluation.probes import WITHOUT, chosen, labels
from cotdistill.evaluation.samples import Sampled, sample_figures
from cotdistill.evaluation.simulator import FOLDS, Observation, SimulatorName, make_simulator, simulate
from cotdistill.evaluation.store import Store
from cotdistill.evaluation.subject import Subject

if TYPE_CHECKING:
    from cotdistill.students.families import Student

TOO_FEW = 40  # questions: a simulator trained on fewer foresees nothing


@dataclass
class Examined:
    """One subject on one set: what it said, and the object that is printed."""

    subject: Subject
    name: str
    predictions: list[Prediction]
    probed: dict[str, dict[str, ProbeAnswer | None]] = field(default_factory=dict)
    explained: dict[str, Explained] = field(default_factory=dict)
    rationales: dict[str, str] = field(default_factory=dict)  # of the walk, or of its explanation
    record: dict[str, Any] = field(default_factory=dict)


def note_figures(
    config: EvaluateConfig,
    found: Examined,
    examples: Sequence[Example],
    sampled: Sequence[Sampled],
    load: Callable[[str], Student],
    store: Store[Prediction] | None = None,
) -> Examined:
    """Everything that is computed from what is stored goes into the record.

    `load` gives the model that a transformer simulator starts from; `store`: where the predictions came from,
    None for those made elsewhere.
    """
    subject, card = found.subject, found.subject.card
    flops = None if store is None else store.header().get("flops_per_token")
    seconds = None if store is None else store.seconds_per_question()
    found.rationales |= {
        i: line.rationale for i, line in found.explained.items() if line.rationale is not None
    }
    found.rationales |= {p.id: p.rationale for p in found.predictions if p.rationale is not None}
    found.record = {
        "run": found.subject.name,
        "strategy": card.strategy["name"],
        "params": card.strategy["params"],
        "seed": card.config["seed"],
        "set": found.name,
        "score": config.score,
        "connectors": config.connectors,
        **figures(found.predictions, config.extractor, flops, seconds),
        "batch_size": _only(sorted({p.batch_size for p in found.predictions if p.batch_size})),
        "key": card.key,
    }
    if sampled:
        golds = {p.id: (p.gold, p.choices, p.kind) for p in found.predictions}
        again = [one.read_again(judge_by(config.extractor, subject.model is None), *golds[one.id]) for one in sampled]
        found.record["sampled"] = sample_figures(again, [golds[one.id] for one in again])
    if config.probe:
        found.record["probes"] = _probe_figures(config, found, examples, load)
    training = _training_rows(config, card)
    if training:
        asked = [Asked(example.question, example.choices) for example in examples]
        found.record["overlap"] = overlap(training, asked)
    return found


def _probe_figures(
    config: EvaluateConfig, found: Examined, examples: Sequence[Example], load: Callable[[str], Student]
) -> dict[str, Any]:
    """By probe; "not applicable" with the reason, never 0, where something it needs is not there."""
    names = chosen(config.probe)
    made = faithfulness(found.predictions, found.probed, config.data_seed)
    if not found.probed:
        reason = (
            ANSWER_FIRST if found.subject.model is not None else "made elsewhere: it cannot be asked again"
        )
        made = {name: _not_applicable(reason) for name in labels(names, config.ratios)}
    elif "tag-swap" in names and "tag-swap" not in made:
        made["tag-swap"] = _not_applicable("the strategy has no counterfactual form")
    if "consistency" in names:
        other = {id_: answers.get(WITHOUT) for id_, answers in found.probed.items()}
        other |= {id_: line.reasoned for id_, line in found.explained.items()}
        made["consistency"] = consistency(found.predictions, found.rationales, other)
    if "las" in names:
        made |= {f"las-{name}": _las(config, found, examples, name, load) for name in config.simulator}
    return made


def _not_applicable(reason: str, n: int = 0) -> dict[str, Any]:
    return {"n": n, "not_applicable": reason}


def _las(
    config: EvaluateConfig,
    found: Examined,
    examples: Sequence[Example],
    name: SimulatorName,
    load: Callable[[str], Student],
) -> dict[str, Any]:
    """LAS of the answers that were parsed and explained, by one simulator."""
    by_id = {example.id: example for example in examples}
    seen = [
        Observation(by_id[p.id], found.rationales[p.id], p.answer)
        for p in found.predictions
        if p.answer is not None and found.rationales.get(p.id, "").strip()
    ]
    if not seen:
        return _not_applicable("the strategy gives no rationale")
    if len(seen) < TOO_FEW:
        return _not_applicable(
            f"{len(seen)} explained answers are too few to train a simulator on", len(seen)
        )
    model = config.simulator_model or found.subject.card.student["name"]
    make = make_simulator(name, lambda: load(model), config.data_seed, len(seen))
    simulated = simulate(seen, make, FOLDS[name], config.data_seed)
    return {"simulator": name, **las(simulated), "left_out": len(found.predictions) - len(seen)}


def _training_rows(config: EvaluateConfig, card: RunCard) -> Sequence[Asked]:
    """The training rows' questions: of --train, else of the run card's source where it still holds those rows."""
    if config.train is not None:
        rows = [fields for _, fields in json_lines(config.train) if "question" in fields]
        return [Asked(str(row["question"]), tuple(map(str, row.get("choices") or ()))) for row in rows]
    source = card.data.get("source")
    if not source or not Path(source).is_file():
        return []
    found, asked = _rows_of(Path(source), card.config.get("limit"), Path(source).stat().st_mtime_ns)
    if found == card.data["digest"]:
        return asked
    warn_once(f"{source} holds other rows than the run was trained on: no overlap is computed; name them with --train")
    return []


@lru_cache(maxsize=4)
def _rows_of(source: Path, limit: int | None, written: int) -> tuple[str, Sequence[Asked]]:
    """(digest, questions) of a file of elicited rows as `written`; no digest where it is something else by now."""
    try:
        items = read_items(source, limit)
    except DataError:
        return "", ()
    return digest(items), [Asked(item.question, item.choices) for item in items]


def _only(values: Sequence[int]) -> int | list[int] | None:
    """One value as it is; several as a list."""
    return values[0] if len(values) == 1 else list(values) or None
