"""`cotdistill evaluate`: runs, models or predictions and question sets in, one object of figures each out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from cotdistill.answers.judging import judge_by
from cotdistill.config import DEMO, EvaluateConfig
from cotdistill.data.json_rows import json_lines
from cotdistill.data.lock import locked_file
from cotdistill.data.records import Example, Item, digest
from cotdistill.data.rows import read_items
from cotdistill.data.runcard import RunCard
from cotdistill.data.tasks import load_examples
from cotdistill.errors import DataError, UsageError, did_you_mean
from cotdistill.evaluation.asked_server import check_served, served_key, served_name
from cotdistill.evaluation.domains import domains
from cotdistill.evaluation.examination import Examination
from cotdistill.evaluation.inputs import Subject, read_elsewhere, subject_of
from cotdistill.evaluation.metrics import Prediction, counts_by_task
from cotdistill.evaluation.probes import READ, chosen
from cotdistill.evaluation.results import Examined, add_metrics
from cotdistill.evaluation.set_names import check_names, named_splits, set_name
from cotdistill.evaluation.store import Store
from cotdistill.evaluation.stored import predictions_name, settings_digest
from cotdistill.export.outputs import check_export, check_outputs, write_outputs
from cotdistill.run_key import student_digest
from cotdistill.strategies.description import load_strategy
from cotdistill.students.places import at_revision

if TYPE_CHECKING:  # predictions are evaluated without torch
    from cotdistill.evaluation.asking import Walker
    from cotdistill.students.student import Student


def evaluate(config: EvaluateConfig, named: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Every subject on every set; the objects that `evaluate` prints, a subject's as soon as it is done."""
    check_served(config)
    if config.model is not None:
        named = one_served(config.model, named)
    check_outputs(config)  # complains before anything is loaded, as does a missing extractor
    judge_by(config.extractor)
    items = read_items(config.rationales, allow_partial=True) if config.rationales else []
    examined: list[Examined] = []

    @cache  # read once: a set may be a pipe
    def load(spec: str, split: str | None) -> list[Example]:
        return load_examples(spec, split, config.limit, config.data_seed, config.map, config)

    for name in [at_revision(name, config.revision) for name in named]:
        subject = subject_of(name, config, student_digest, config.out)
        sets = load_sets(config.data, config.split, subject.card, load)
        check_export(config, subject, [name for name, _ in sets], examined)
        for way in by_budget(config) or [config]:
            mine = [examine(way, subject, name, examples, items) for name, examples in sets]
            _across_sets(config.in_domain, mine)
            examined += mine
            yield from (one.record for one in mine)
    write_outputs(config, examined)


def by_budget(config: EvaluateConfig) -> list[EvaluateConfig]:
    """The ways of asking that `--think-budgets` names, the smallest first."""
    return [config.model_copy(update={"think_budget": budget}) for budget in sorted({*config.think_budgets})]


def runs_on_stdin() -> list[str]:
    """Run directories from the JSON lines that `distill` printed."""
    runs = []
    for number, line in json_lines("-"):
        if not isinstance(line.get("run"), str):
            raise DataError.at("stdin", number, "no field 'run'", "pipe the output of distill into evaluate")
        runs.append(line["run"])
    if not runs:
        raise DataError.at("stdin", None, "contains no run", "check the previous command, or give run directories")
    return runs


def load_sets(
    data: Sequence[str], split: str | None, card: RunCard, load: Callable[[str, str | None], list[Example]]
) -> list[tuple[str, list[Example]]]:
    """The question sets asked for; for a run of the embedded world its own sets by default."""
    if data:
        wanted = named_splits(data, split)
    elif card.student["name"] == DEMO and card.data["world"]:
        wanted = named_splits([DEMO], split)
    else:
        raise UsageError("evaluate needs question rows: --data FILE (repeatable)")
    names = [name or set_name(spec, split) for name, spec, split in wanted]
    check_names(names)
    return [(name, load(spec, split)) for name, (_, spec, split) in zip(names, wanted, strict=True)]


def examine(
    config: EvaluateConfig,
    subject: Subject,
    name: str,
    examples: Sequence[Example],
    items: Sequence[Item] = (),
    student: Callable[[], Student] | None = None,
) -> Examined:
    """One subject on one set: predictions, then what is asked of them, and the figures of all.

    Predictions are appended as they come, and a second call only does what is missing. `items`: a teacher's rationales
    for the questions. `student` gives a run's student, called when it is first asked, where it is not to be loaded.
    """
    load = partial(_loaded, config)
    if subject.model is None:
        predictions, sampled = read_elsewhere(subject.name, examples, config.extractor)
        return add_metrics(Examined(config, subject, name, examples, predictions), sampled, load)
    asked = Examination(_walker(config, subject, student), _store(config, subject, name, examples), examples)
    with nullcontext() if config.from_predictions else locked_file(asked.store.path, even_read_only=True):
        result = Examined(config, subject, name, examples, asked.predictions(config.batch_size))
        sampled = asked.samples(config.samples) if config.samples else []
        names = chosen(config.probe)
        result.probed = asked.probes(result.predictions, items) if names else {}
        if {*READ} & {*names} and not asked.walker.strategy.answers_after_rationale:
            result.explained = {line.id: line for line in asked.explanations(result.predictions)}
        add_metrics(result, sampled, load, asked.store)
        if config.model is not None:
            result.record["served"] = served_name(config)
        if config.flip_rate:
            result.record["flip_rate"] = asked.flips(result.predictions, result.record["batch_size"], config.flip_rate)
    return result


def one_served(model: str, named: Sequence[str]) -> Sequence[str]:
    """The run whose student a server serves; without one, the model itself. Raises `UsageError` for several."""
    if len(named) > 1:
        raise UsageError(f"--model {model}: a server serves one student; evaluate its run alone")
    return named or [model]


def _loaded(config: EvaluateConfig, name: str, chat: bool = False) -> Student:
    from cotdistill.students.load import load_configured

    return load_configured(name, config, chat)


def _walker(config: EvaluateConfig, subject: Subject, student: Callable[[], Student] | None) -> Walker:
    from cotdistill.evaluation.asking import Walker

    if config.model is not None:
        from cotdistill.served_student import served

        walker = served(config, subject)
        assert isinstance(walker, Walker)
        return walker
    strategy, answers = load_strategy(subject.card.strategy, subject.name), subject.card.config["answers"]
    chat = bool(subject.card.config.get("chat", False))
    return Walker(student or (lambda: _loaded(config, str(subject.model), chat)), strategy, answers, config)


def _store(config: EvaluateConfig, subject: Subject, name: str, examples: Sequence[Example]) -> Store[Prediction]:
    """Where predictions lie: SET.jsonl, with the way of asking in the name where it is not the default."""
    file = predictions_name(config, name)
    key, about = served_key(config, subject.card.key), {}
    if config.model is not None:
        file += f".served-{key[:8]}"
        about = served_name(config)
    return Store(
        subject.folder / "predictions" / f"{file}.jsonl",
        Prediction,
        settings_digest(config, config.dtype, key, digest(examples)),
        config.repair,
        {"run": subject.card.key, "questions": digest(examples), **about},
    )


def _across_sets(in_domain: Sequence[str], examined: Sequence[Examined]) -> None:
    """Micro, macro and the gap between sets in and out of domain, noted in every set's object."""
    names = [one.name for one in examined]
    for name in in_domain:
        if name not in names:
            raise UsageError(
                f"--in-domain {name}: unknown set{did_you_mean(name, names)}; choose from {', '.join(names)}"
            )
    inside = in_domain or names[:1]
    if len(names) > 1:
        pooled = domains({one.name: counts_by_task(one.predictions) for one in examined}, inside)
        for one in examined:
            one.record["domain"] = "in" if one.name in inside else "out"
            one.record["domains"] = pooled
