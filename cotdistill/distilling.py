"""`cotdistill distill`: rationales in, a trained student and its run card out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cotdistill.answers.answers import AnswerStyle, judge, read_answer
from cotdistill.config import DistillConfig
from cotdistill.console import is_main_process, say, warn
from cotdistill.data.bad_rows import Refused
from cotdistill.data.files import check_file, check_folder, json_digest, new_folder, remove, write_text, writing
from cotdistill.data.inputs import shown
from cotdistill.data.lock import locked_folder
from cotdistill.data.mixture import mixed
from cotdistill.data.records import Example, Item, digest
from cotdistill.data.rows import read_items
from cotdistill.data.runcard import RunCard, package_versions, read_card, refuse_foreign
from cotdistill.data.tasks import dev_split, load_examples
from cotdistill.decoding.choose_decoder import decoder_for
from cotdistill.decoding.own_words import on_policy
from cotdistill.decoding.walk import walk
from cotdistill.errors import DataError, Unavailable, UsageError
from cotdistill.evaluation.inputs import student_of
from cotdistill.export.base_model import base_facts
from cotdistill.export.model_card import model_card
from cotdistill.plugins.kinds import checker_of
from cotdistill.run_key import also_read, definition, student_digest
from cotdistill.strategies.candidates import candidates
from cotdistill.strategies.description import dump_strategy
from cotdistill.strategies.forms import Strategy
from cotdistill.strategies.registry import create
from cotdistill.students.devices import device_of
from cotdistill.students.load import load_student
from cotdistill.students.places import at_revision
from cotdistill.students.student import Student
from cotdistill.training import checkpoints, lora
from cotdistill.training.footprint import footprint, trained_outline
from cotdistill.training.on_policy import OnPolicy, check_on_policy
from cotdistill.training.recipes import resolve_training, total_steps
from cotdistill.training.room import check_fits, free_disk, free_memory, gib
from cotdistill.training.sharding import check_parallel
from cotdistill.training.teaching import with_distributions
from cotdistill.training.train import Loop, Trained
from cotdistill.training.training_set import TrainingRows, TrainingSet
from cotdistill.training.written import written


def distill(config: DistillConfig, rows: str, dry_run: bool = False) -> dict[str, Any] | None:
    """Train one student on the elicited rows of a file (`-`: stdin); the object that `distill` prints."""
    config = config.model_copy(update={"student": at_revision(config.student, config.revision), "revision": None})
    config, reasons = resolve_training(config, config.student)
    check_parallel(config)
    lora.check_kept(config)
    trained_outline(config)  # complains of what the student cannot honour
    config = with_distributions(config, rows)
    if config.start is not None:
        check_start(config.start, config.student)
    strategy = create(config.strategy, config.params)
    check_on_policy(config, strategy)
    if config.scores is not None and not strategy.needs_sidecar:
        raise UsageError("--scores changes nothing without --param by=METHOD of a strategy that reads such scores")
    refused = Refused(shown(rows), config)
    items = read_items(rows, config.limit, config.allow_partial, refused=refused)
    return distill_items(
        config, strategy, items, rows, dry_run, reasons=reasons, skipped=len(refused.rows), restored=True
    )


def distill_items(
    config: DistillConfig,
    strategy: Strategy,
    items: list[Item],
    source: str,
    dry_run: bool = False,
    folder: Path = Path("runs"),
    student: Student | None = None,
    reasons: Mapping[str, str] = MappingProxyType({}),
    skipped: int = 0,
    restored: bool = False,
) -> dict[str, Any] | None:
    """`distill` on rows already read. The same call again returns the finished run or resumes it.

    `student`: a fresh one that is loaded already; it is trained in place. `reasons`: {option: where its value comes
    from} of the options that were not given. `skipped`: rows that could not be read, for the card. `restored`: a
    finished run whose student is gone is trained again (a grid drops students on purpose).
    """
    dev = dev_examples(config)
    key = json_digest(definition(config, strategy, digest(items), dev))
    path = config.out or folder / f"{strategy.name}-{key[:8]}"
    run = TrainingRun(config, strategy, items, source, path, key, dev, reasons, skipped, restored)
    candidates(run.rows, strategy, config.select)  # complains where none are left
    if dry_run:
        _train(run, student, dry_run=True)
        return None
    if not is_main_process():  # the first process holds the directory for all
        return _finished(run) or _train(run, student)
    check_run(path)
    finished = _finished(run)
    if finished is not None:
        return finished
    if not config.overwrite:
        refuse_foreign(path)
    with locked_folder(path):
        # Another process may have finished it meanwhile.
        return _finished(run) or _train(run, student)


@dataclass(frozen=True)
class TrainingRun:
    """A run to be trained: everything that defines it, where its rows came from, and the directory it is written to.

    `reasons`, `skipped`, `restored`: as `distill_items` is given them.
    """

    config: DistillConfig
    strategy: Strategy
    items: list[Item]
    source: str
    path: Path
    key: str
    dev: list[Example] | None
    reasons: Mapping[str, str]
    skipped: int
    restored: bool

    @cached_property
    def rows(self) -> list[Item]:
        """What is learned from: `items`, or the mixture that `--mix` makes of them."""
        return mixed(self.items, self.config.mix, self.config.data_seed)

    @property
    def checkpoints(self) -> Path:
        """Where its checkpoints are."""
        return self.path / "checkpoints"


def check_start(start: Path, student: str) -> None:
    """Complain, before anything is loaded, about a run whose student cannot be trained further."""
    base = read_card(start).config["student"]
    if base != student:
        raise UsageError(f"--start {start}: that run began from {base}; name it with --student {base}")
    if not Path(student_of(start)).is_dir():
        raise Unavailable(f"--start {start}: the student of this run was not kept; train it again")


def check_run(run: Path) -> None:
    """Fail now if a run directory's student or card could not be written after training."""
    for folder in (run, run / "student", run / "adapter", run / "checkpoints"):
        check_folder(folder)
    for name in ("README.md", "run.json"):
        check_file(run / name)


def _finished(run: TrainingRun) -> dict[str, Any] | None:
    """The object printed for a run that is already complete; None where there is none."""
    if not (run.path / "run.json").exists():
        return None
    card = read_card(run.path)
    if card.key == run.key:
        if run.restored and not Path(student_of(run.path)).is_dir():
            say(f"{run.path} is complete, but its student is gone: it is trained again")
            return None
        say(f"{run.path} is already complete")
        return _summary(run.path, card)
    if run.config.overwrite:
        return None
    raise UsageError(
        f"--out {run.path} holds another run ({card.strategy['name']}, key {card.key[:8]}); give another "
        "directory, or replace it with --overwrite"
    )


def _clear_other(run: TrainingRun) -> None:
    """Remove what another run left in the directory; the run's own unfinished work stays."""
    if not _holds_other(run):
        return
    warn(f"{run.path}: replacing the existing run")
    with writing(run.path):
        for name in ("run.json", "metrics.jsonl", "timings.jsonl", "checkpoints", "student", "adapter", "first"):
            remove(run.path / name)


def _holds_other(run: TrainingRun) -> bool:
    try:
        other = (run.path / "run.json").exists() and read_card(run.path).key != run.key
    except (UsageError, DataError):  # a damaged card is not this run's
        return True
    return other or checkpoints.owner_beside(run.checkpoints, run.key) is not None


def _train(run: TrainingRun, student: Student | None, dry_run: bool = False) -> dict[str, Any] | None:
    """Do the missing part of a run, and write its card; None for a dry run, which says what would be done."""
    config, strategy = run.config, run.strategy
    if config.overwrite and not dry_run:
        if is_main_process():
            _clear_other(run)
    else:
        checkpoints.refuse_other(run.checkpoints, run.key)
    if student is None:
        _check_room(config, run.path, dry_run)
        student = fresh_student(config)
    if config.lora is not None:  # before the model's abilities are tested
        lora.attach(student, lora.parse_lora(config.lora), config.seed)
    rows = TrainingRows(config, strategy, run.rows, student)
    learned = rows.training_set()
    if dry_run:
        data, steps = learned.data, total_steps(config, len(learned.data.samples))
        say(
            f"would train {strategy.name} on {len(data.samples)} samples of {len(run.items)} rows for {steps} steps: "
            f"{data.input_tokens()} input tokens an epoch, learned {data.learned_tokens()}, into {run.path}"
        )
        return None
    first = None if strategy.after is None else _train_first(run, student, create(strategy.after))
    policy = on_policy(rows, learned)
    trained = _trained(run, strategy, student, learned, run.path, policy)
    if config.lora is not None and config.keep_adapter and is_main_process():
        with new_folder(run.path / "adapter") as aside:
            student.save(aside, config.chat)
    if config.merge_lora:
        lora.merge(student)
    card = _card(run, student, learned, trained, first, policy)
    if is_main_process():
        with new_folder(run.path / "student") as aside:
            student.save(aside, config.chat, config.saved_dtype)
        manual = model_card(card, strategy, student.encoder(config.answers), base_facts(config.student))
        write_text(run.path / "README.md", manual)
        card.write(run.path)
        remove(run.path / "first" / checkpoints.STAGE)
    lora.merge(student)  # later steps use the same weights as the saved run
    return _summary(run.path, card)


def _trained(
    run: TrainingRun,
    strategy: Strategy,
    student: Student,
    learned: TrainingSet,
    folder: Path,
    policy: OnPolicy | None = None,
) -> Trained:
    """Train the student in place with one strategy; what is recorded goes into `folder`."""
    return Loop(
        student,
        learned.data,
        run.config.model_copy(update={"lr": run.config.lr * strategy.pace}),
        folder,
        strategy.reweight,
        None if run.dev is None else dev_accuracy(run.config.answers, strategy, run.dev),
        key=run.key,
        teaching=learned.teaching,
        stages=learned.stages,
        on_policy=policy,
    ).run()


def _train_first(run: TrainingRun, student: Student, strategy: Strategy) -> int:
    """Train the student with the strategy that the run's own comes after, on the same rows; the steps it took.

    Its end is kept until the run is complete, so that a resumed run goes on from there.
    """
    folder = run.path / "first"
    steps = checkpoints.load_stage(folder, student.model, run.key)
    if steps is None:
        say(f"first stage: {strategy.name}")
        learned = TrainingRows(run.config, strategy, run.rows, student).training_set()
        steps = _trained(run, strategy, student, learned, folder).steps
        checkpoints.save_stage(folder, student.model, steps, run.key, is_main_process())
    return steps


def _check_room(config: DistillConfig, run: Path, aloud: bool) -> None:
    """Complain about a run that does not fit, before its student is loaded; `aloud`: say what it takes."""
    taken = footprint(config)
    if aloud:
        say(
            f"{taken.parameters:,} parameters, of which {taken.trainable:,} are trained: about {gib(taken.memory)} of "
            f"memory (weights {gib(taken.weights)}, gradients {gib(taken.gradients)}, optimizer "
            f"{gib(taken.optimizer)}, activations {gib(taken.activations)}), {gib(free_memory(config.device))} are "
            f"free; {gib(taken.disk)} of disk, {gib(free_disk(run))} are free"
        )
    check_fits(config, taken, run)


def fresh_student(config: DistillConfig) -> Student:
    """The student of a configuration before it is trained."""
    return load_student(
        config.student if config.start is None else student_of(config.start),
        device=device_of(config.device),
        trust_remote_code=config.trust_remote_code,
        quantize=config.quantize,
        chat=config.chat,
        partial_weights=config.partial_weights,
    )


def dev_examples(config: DistillConfig) -> list[Example] | None:
    """The rows of `--dev`."""
    if config.dev is None:
        return None
    return load_examples(config.dev, dev_split(config.dev), None, config.data_seed, config.map, config)


def dev_accuracy(answers: AnswerStyle, strategy: Strategy, examples: list[Example]) -> Callable[[Student], float]:
    """Share of the dev rows that a student answers right decoded with the strategy: what chooses a checkpoint."""

    def accuracy(student: Student) -> float:
        encoder = student.encoder(answers)
        walked = walk(decoder_for(student), encoder, strategy, examples)
        right = [is_right(example, found.answer) for example, found in zip(examples, walked, strict=True)]
        return sum(right) / len(right)

    return accuracy


def is_right(example: Example, output: str | None) -> bool:
    """Whether the answer parsed from a slot is the gold answer."""
    kind = example.kind_of_answer
    answer = None if output is None else read_answer(output, example.choices, kind)
    return judge(answer, example.answer, example.choices, kind) == "right"


def _card(
    run: TrainingRun,
    student: Student,
    learned: TrainingSet,
    trained: Trained,
    first: int | None,
    policy: OnPolicy | None,
) -> RunCard:
    config, data = run.config, learned.data
    return RunCard(
        key=run.key,
        strategy=dump_strategy(run.strategy),
        student={
            "name": config.student,
            "family": student.model.config.model_type,
            "parameters": student.model.num_parameters(),
            "digest": student_digest(config.student),
        },
        data={
            "source": run.source,
            "digest": digest(run.items),
            "rows": len(run.items),
            "skipped": run.skipped,
            "samples": len(learned.samples),
            "left_out": {**learned.left_out, **_unmixed(run)},
            "dropped": dict(data.dropped),
            "trained_on": len(data.samples),
            "world": task_card(run.items),
            "tasks": sorted({item.task for item in run.rows if item.task}),
            "teachers": sorted({rationale.teacher for item in run.rows for rationale in item.rationales}),
            **also_read(config, run.dev),
        },
        config=config.model_dump(mode="json", exclude={"overwrite", "repair"}),
        counts={"learned_tokens": data.learned_tokens(), "input_tokens": data.input_tokens()},
        trained={
            "steps": trained.steps,
            "processes": trained.processes,
            "best_step": trained.best_step,
            "dev_accuracy": trained.dev_accuracy,
            **({} if first is None else {"first_stage_steps": first}),
            **({} if policy is None else written(policy, run.path)),
        },
        versions=package_versions(),
        defaults=dict(run.reasons),
    )


def _unmixed(run: TrainingRun) -> dict[str, int]:
    """How many of the run's own rows the mixture has no place for."""
    taken = {item.id for item in run.rows}
    left = sum(item.id not in taken for item in run.items)
    return {"not taken by --mix": left} if left else {}


def _summary(path: Path, card: RunCard) -> dict[str, Any]:
    return {
        "run": str(path),
        "strategy": card.strategy["name"],
        "params": card.strategy["params"],
        "student": card.student["name"],
        "steps": card.trained["steps"],
        "rows": card.data["rows"],
        "trained_on": card.data["trained_on"],
        "learned_tokens": card.counts["learned_tokens"],
        "input_tokens": card.counts["input_tokens"],
        "seed": card.config["seed"],
        "key": card.key,
    }


def task_card(items: list[Item]) -> Mapping[str, Any] | None:
    """What the checker of the first question that has one wants recorded: for the embedded world its version."""
    checker = next(filter(None, (checker_of(item.question) for item in items)), None)
    return None if checker is None else checker.card()
