"""`cotdistill evaluate`: runs, models or predictions and question sets in, one object of figures each out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any

from cotdistill.answers.judging import judge_by
from cotdistill.config import DEMO, EvaluateConfig
from cotdistill.data.files import json_digest
from cotdistill.data.json_rows import json_lines
from cotdistill.data.lock import locked_file
from cotdistill.data.records import Example, Item, digest
from cotdistill.data.rows import read_items
from cotdistill.data.runcard import RunCard
from cotdistill.data.tasks import load_examples
from cotdistill.errors import DataError, UsageError, did_you_mean
from cotdistill.evaluation.asking import Walker
from cotdistill.evaluation.domains import domains
from cotdistill.evaluation.faithfulness import Explained, ProbeAnswer, ProbedQuestion, read_again
from cotdistill.evaluation.inputs import Subject, read_elsewhere, subject_of
from cotdistill.evaluation.metrics import Prediction, counts_by_task, judged_again
from cotdistill.evaluation.probes import READ, chosen, code_of, donors, probes, read_sources, sources
from cotdistill.evaluation.results import Examined, add_metrics
from cotdistill.evaluation.samples import Sampled
from cotdistill.evaluation.set_names import check_names, named_splits, set_name
from cotdistill.evaluation.store import Store
from cotdistill.evaluation.stored import predictions_name, settings_digest
from cotdistill.export.outputs import check_export, check_outputs, write_outputs
from cotdistill.run_key import student_digest
from cotdistill.served_student import check_served, served, served_key, served_name
from cotdistill.statistics.intervals import wilson
from cotdistill.strategies.description import load_strategy
from cotdistill.students.devices import device_of
from cotdistill.students.load import load_student
from cotdistill.students.places import at_revision
from cotdistill.students.student import Student

CHUNK = 8  # batches per chunk: predictions are written after each


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
        sets = load_sets(config, subject.card, load)
        check_export(config, subject, [name for name, _ in sets], examined)
        for way in by_budget(config) or [config]:
            mine = [examine(way, subject, name, examples, items) for name, examples in sets]
            _across_sets(config, mine)
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
    config: EvaluateConfig, card: RunCard, load: Callable[[str, str | None], list[Example]]
) -> list[tuple[str, list[Example]]]:
    """The question sets asked for; for a run of the embedded world its own sets by default."""
    if config.data:
        wanted = named_splits(config.data, config.split)
    elif card.student["name"] == DEMO and card.data["world"]:
        wanted = named_splits([DEMO], config.split)
    else:
        raise UsageError("evaluate needs question rows: --data FILE (repeatable)")
    names = [name or set_name(spec, split) for name, spec, split in wanted]
    check_names(names)
    return [(name, load(spec, split)) for name, (_, spec, split) in zip(names, wanted, strict=True)]


def evaluate_set(
    config: EvaluateConfig,
    run: Path,
    card: RunCard,
    name: str,
    examples: Sequence[Example],
    student: Callable[[], Student] | None = None,
    items: Sequence[Item] = (),
) -> dict[str, Any]:
    """One run on one set: predictions are appended as they come, and a second call only does what is missing.

    `student` gives the run's student, called when it is first asked, where it is not to be loaded; `items`: a
    teacher's rationales for the questions.
    """
    return examine(config, Subject(str(run), run, card, str(run / "student")), name, examples, items, student).record


def examine(
    config: EvaluateConfig,
    subject: Subject,
    name: str,
    examples: Sequence[Example],
    items: Sequence[Item] = (),
    student: Callable[[], Student] | None = None,
) -> Examined:
    """Predictions, then what is asked of them: samples, probes, explanations, another batch size; figures of all."""
    load = partial(load_asked, config)
    if subject.model is None:
        predictions, sampled = read_elsewhere(subject.name, examples, config.extractor)
        result = Examined(subject, name, predictions)
        return add_metrics(config, result, examples, sampled, load)
    walker, store = _walker(config, subject, student), _store(config, subject, name, examples)
    held = nullcontext() if config.from_predictions else locked_file(store.path, even_read_only=True)
    with held:
        return _examine_model(config, subject, name, examples, items, walker, store, load)


def _examine_model(
    config: EvaluateConfig,
    subject: Subject,
    name: str,
    examples: Sequence[Example],
    items: Sequence[Item],
    walker: Walker,
    store: Store[Prediction],
    load: Callable[..., Student],
) -> Examined:
    """A model asked what is not stored yet."""
    done = predict(config, walker, store, examples, config.batch_size)
    result = Examined(subject, name, judged_again([done[example.id] for example in examples], config.extractor))
    sampled = sample(config, walker, store, examples) if config.samples else []
    names = chosen(config.probe)
    result.probed = probe(config, walker, store, result, examples, items) if names else {}
    if {*READ} & {*names} and not walker.strategy.answers_after_rationale:
        for line in explain(config, walker, store, result, examples):
            result.explained[line.id] = line
    add_metrics(config, result, examples, sampled, load, store)
    if config.model is not None:
        result.record["served"] = served_name(config)
    if config.flip_rate:
        result.record["flip_rate"] = _flip_rate(config, walker, store, result, examples)
    return result


def predict(
    config: EvaluateConfig, walker: Walker, store: Store[Prediction], examples: Sequence[Example], batch_size: int
) -> dict[str, Prediction]:
    """The stored predictions, completed."""
    return store.completed(
        examples,
        lambda asked: walker.predict(asked, batch_size),
        CHUNK * batch_size,
        config.from_predictions,
        walker.notes,
    )


def sample(
    config: EvaluateConfig, walker: Walker, store: Store[Prediction], examples: Sequence[Example]
) -> list[Sampled]:
    """`--samples K` walks of every question, in the order of `examples`."""
    count = config.samples or 0
    drawn = Store(
        store.path.with_suffix(".samples.jsonl"),
        Sampled,
        json_digest([store.settings, count, config.temperature, config.top_p, config.seed]),
        config.repair,
    )
    done = drawn.completed(
        examples, lambda asked: walker.sample(asked, count), config.batch_size, config.from_predictions
    )
    return [done[example.id] for example in examples]


def probe(
    config: EvaluateConfig,
    walker: Walker,
    store: Store[Prediction],
    found: Examined,
    examples: Sequence[Example],
    items: Sequence[Item],
) -> dict[str, dict[str, ProbeAnswer | None]]:
    """{question: {probe: its answer, or None where there was nothing to do}} of the probes that are named."""
    wanted = probes(chosen(config.probe), config.ratios, walker.strategy)
    if not wanted:
        return {}
    read_sources(examples, items, config.rationales or "rows")
    kept = Store(
        store.path.with_suffix(".probes.jsonl"),
        ProbedQuestion,
        json_digest([store.settings, config.data_seed, digest(items), *code_of(config.probe)]),
        config.repair,
    )
    answers: dict[str, dict[str, ProbeAnswer | None]] = {}
    for line in kept.read():  # a later line adds the probes of a later call
        answers.setdefault(line.id, {}).update(line.probes)
    given, others = sources(examples, items, config.data_seed), donors(found.predictions, config.data_seed)
    predictions = {p.id: p for p in found.predictions}
    for line in kept.complete(
        examples,
        lambda id_: all(one.name in answers.get(id_, {}) for one in wanted),
        lambda asked: walker.probe(asked, predictions, wanted, given, others),
        2 * config.batch_size,
        config.from_predictions,
    ):
        answers.setdefault(line.id, {}).update(line.probes)
    judge = judge_by(config.extractor)
    return {
        id_: {
            one.name: answer and read_again(answer, predictions[id_], judge)
            for one in wanted
            for answer in [answers[id_][one.name]]
        }
        for id_ in predictions
    }


def explain(
    config: EvaluateConfig, walker: Walker, store: Store[Prediction], found: Examined, examples: Sequence[Example]
) -> list[Explained]:
    """The rationale for each answer; none where the strategy gives none."""
    if walker.strategy.explain is None:
        return []
    predictions = {p.id: p for p in found.predictions}
    kept = Store(store.path.with_suffix(".explanations.jsonl"), Explained, store.settings, config.repair)
    lines = kept.completed(
        examples, lambda asked: walker.explain(asked, predictions), CHUNK * config.batch_size, config.from_predictions
    )
    return [lines[example.id] for example in examples]


def _flip_rate(
    config: EvaluateConfig, walker: Walker, store: Store[Prediction], found: Examined, examples: Sequence[Example]
) -> dict[str, Any]:
    """How many answers and outputs differ between two batch sizes: greedy decoding in floats depends on it."""
    assert config.flip_rate is not None
    other = Store(store.path.with_suffix(f".batch-{config.flip_rate}.jsonl"), Prediction, store.settings, config.repair)
    asked = predict(config, walker, other, examples, config.flip_rate)
    again = judged_again([asked[p.id] for p in found.predictions], config.extractor)
    pairs = list(zip(found.predictions, again, strict=True))
    flips = wilson(sum(a.answer != b.answer for a, b in pairs), len(pairs))
    return {
        "batch_sizes": [found.record["batch_size"], config.flip_rate],
        "answers": flips.estimate,
        "interval": [flips.low, flips.high],
        "verdicts": sum(a.verdict != b.verdict for a, b in pairs) / len(pairs),
        "outputs": sum((a.rationale, a.output) != (b.rationale, b.output) for a, b in pairs) / len(pairs),
    }


def one_served(model: str, named: Sequence[str]) -> Sequence[str]:
    """The run whose student a server serves; without one, the model itself. Raises `UsageError` for several."""
    if len(named) > 1:
        raise UsageError(f"--model {model}: a server serves one student; evaluate its run alone")
    return named or [model]


def _walker(config: EvaluateConfig, subject: Subject, student: Callable[[], Student] | None) -> Walker:
    if config.model is not None:
        walker = served(config, subject)
        assert isinstance(walker, Walker)
        return walker
    strategy, answers = load_strategy(subject.card.strategy, subject.name), subject.card.config["answers"]
    chat = bool(subject.card.config.get("chat", False))
    return Walker(student or (lambda: load_asked(config, str(subject.model), chat)), strategy, answers, config)


def load_asked(config: EvaluateConfig, model: str, chat: bool) -> Student:
    """A model as it is evaluated."""
    return load_student(
        model,
        config.dtype,
        device_of(config.device),
        config.trust_remote_code,
        chat=chat,
        partial_weights=config.partial_weights,
    )


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


def _across_sets(config: EvaluateConfig, examined: Sequence[Examined]) -> None:
    """Micro, macro and the gap between sets in and out of domain, noted in every set's object."""
    names = [one.name for one in examined]
    for name in config.in_domain:
        if name not in names:
            raise UsageError(
                f"--in-domain {name}: unknown set{did_you_mean(name, names)}; choose from {', '.join(names)}"
            )
    inside = config.in_domain or tuple(names[:1])
    if len(names) > 1:
        pooled = domains({one.name: counts_by_task(one.predictions) for one in examined}, inside)
        for one in examined:
            one.record["domain"] = "in" if one.name in inside else "out"
            one.record["domains"] = pooled
