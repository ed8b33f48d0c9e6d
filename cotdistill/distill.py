"""`cotdistill distill`: rationales in, a trained student and its run card out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from cotdistill.config import DistillConfig
from cotdistill.console import is_main_process, say, warn
from cotdistill.data.files import check_folder, json_digest, new_folder, remove, write_text, writing
from cotdistill.data.lock import locked_folder
from cotdistill.data.records import Example, Item, digest
from cotdistill.data.rows import read_items
from cotdistill.data.runcard import RunCard, package_versions, read_card, refuse_foreign
from cotdistill.data.tasks import dev_split, load_examples
from cotdistill.demo import world
from cotdistill.errors import DataError, UsageError
from cotdistill.escaping import markdown, markdown_code
from cotdistill.evaluation.answers import judge, read_answer
from cotdistill.run_key import also_read, definition, student_digest
from cotdistill.strategies.description import describe
from cotdistill.strategies.forms import FillContext, Strategy
from cotdistill.strategies.join import Sample, join
from cotdistill.strategies.registry import create
from cotdistill.strategies.scores import word_scores
from cotdistill.students import checkpoints, lora
from cotdistill.students.cache import encode_cached
from cotdistill.students.devices import device_of
from cotdistill.students.encode import EncodedSet
from cotdistill.students.families import Student
from cotdistill.students.fitness import decoder_for
from cotdistill.students.load import load_student
from cotdistill.students.places import at_revision, demo_model
from cotdistill.students.recipes import settle
from cotdistill.students.sharding import check_parallel
from cotdistill.students.train import Trained, total_steps, train
from cotdistill.students.unknown import unknown_characters, unknown_tokens
from cotdistill.students.walk import walk


def distill(config: DistillConfig, rows: str, dry_run: bool = False) -> dict[str, Any] | None:
    """Train one student on the elicited rows of a file (`-`: stdin); the object that `distill` prints."""
    config = config.model_copy(update={"student": at_revision(config.student, config.revision), "revision": None})
    config, reasons = settle(config, config.student)
    check_parallel(config)
    strategy = create(config.strategy, config.param)
    items = read_items(rows, config.limit, config.allow_partial, config)
    return distill_items(config, strategy, items, rows, dry_run, reasons=reasons)


def distill_items(config: DistillConfig, strategy: Strategy, items: list[Item], source: str, dry_run: bool = False,
                  folder: Path = Path("runs"), student: Student | None = None,
                  reasons: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any] | None:
    """`distill` on rows already read. Running the same again returns the finished run or resumes it.

    `student`: a fresh one that is loaded already; it is trained in place. `reasons`: {option: where its value comes
    from} of those that nobody gave.
    """
    dev = dev_examples(config)
    key = json_digest(definition(config, strategy, digest(items), dev))
    run = config.out or folder / f"{strategy.name}-{key[:8]}"
    train_it = partial(_distill, config, strategy, items, source, run, key, dev, student, reasons)
    if dry_run:
        return train_it(dry_run=True)
    if not is_main_process():  # the first process holds the directory for all
        return _finished(config, run, key) or train_it()
    check_folder(run)
    found = _finished(config, run, key)
    if found is not None:
        return found
    if not config.overwrite:
        refuse_foreign(run)
    with locked_folder(run):
        # Another process may have made it meanwhile.
        return _finished(config, run, key) or train_it()


def _finished(config: DistillConfig, run: Path, key: str) -> dict[str, Any] | None:
    """What a run that is complete already is printed as; None where there is none."""
    if not (run / "run.json").exists():
        return None
    card = read_card(run)
    if card.key == key:
        say(f"{run} is complete already")
        return _summary(run, card)
    if config.overwrite:
        return None
    raise UsageError(f"--out {run} holds another run ({card.strategy['name']}, key {card.key[:8]}); give another "
                     "directory, or replace it with --overwrite")


def _clear_other(run: Path, key: str) -> None:
    """Drop what another run left in a directory that is given to the run `key`; its own unfinished work stays."""
    try:
        if (run / "run.json").exists() and read_card(run).key != key:
            raise UsageError("another run")
        checkpoints.refuse_other(run / "checkpoints", key)
    except (UsageError, DataError):
        warn(f"{run}: the run that was here is replaced")
        with writing(run):
            for name in ("run.json", "metrics.jsonl", "timings.jsonl", "checkpoints", "student"):
                remove(run / name)


def _distill(config: DistillConfig, strategy: Strategy, items: list[Item], source: str, run: Path, key: str,
             dev: list[Example] | None, student: Student | None, reasons: Mapping[str, str],
             dry_run: bool = False) -> dict[str, Any] | None:
    """Train what is missing of the run `key` in the directory `run`, and write its card."""
    if config.overwrite and not dry_run:
        if is_main_process():
            _clear_other(run, key)
    else:
        checkpoints.refuse_other(run / "checkpoints", key)
    samples, left_out = join(items, strategy)
    student = student or fresh_student(config)
    if config.lora is not None:  # before anything asks what the model can do
        lora.attach(student, lora.parse_lora(config.lora), config.seed)
    data = encoded(config, strategy, items, samples, student)
    _check_dropped(data, len(samples), config)
    _check_unknown(data, samples, student, config)
    if dry_run:
        steps = total_steps(config, len(data.samples))
        say(f"would train {strategy.name} on {len(data.samples)} samples of {len(items)} rows for {steps} steps: "
            f"{data.input_tokens()} input tokens an epoch, learned {data.learned_tokens()}, into {run}")
        return None
    trained = train(student, data, config, run, strategy.reweight,
                    None if dev is None else dev_accuracy(config, strategy, dev), key=key)
    if config.merge_lora:
        lora.merge(student)
    card = _card(key, config, strategy, items, source, student, data, left_out, len(samples), trained, dev, reasons)
    if is_main_process():
        with new_folder(run / "student") as aside:
            student.save(aside, config.chat, saved_dtype(config))
        write_text(run / "README.md", model_card(card))
        card.write(run)
    lora.merge(student)  # whoever goes on with it has what the saved run gives
    return _summary(run, card)


def saved_dtype(config: DistillConfig) -> str:
    """The precision in which weights are saved: by default the one they were trained in."""
    return config.dtype if config.save_dtype == "auto" else config.save_dtype


def fresh_student(config: DistillConfig) -> Student:
    """The untrained student of a configuration."""
    return load_student(config.student, device=device_of(config.device), trust_remote_code=config.trust_remote_code,
                        quantize=config.quantize, chat=config.chat, partial_weights=config.partial_weights)


def dev_examples(config: DistillConfig) -> list[Example] | None:
    """The rows of `--dev`."""
    if config.dev is None:
        return None
    return load_examples(config.dev, dev_split(config.dev), data_seed=config.data_seed, bad=config)


def dev_accuracy(config: DistillConfig, strategy: Strategy, examples: list[Example]) -> Callable[[Student], float]:
    """Share of the dev rows that a student answers right when it walks the strategy: what chooses a checkpoint."""

    def accuracy(student: Student) -> float:
        encoder = student.encoder(config.answers, share="none")
        walked = walk(decoder_for(student), encoder, strategy, examples)
        right = [is_right(example, found.answer) for example, found in zip(examples, walked, strict=True)]
        return sum(right) / len(right)

    return accuracy


def is_right(example: Example, output: str | None) -> bool:
    """Whether an answer slot, read by the extractor, is the gold answer."""
    kind = example.kind_of_answer
    answer = None if output is None else read_answer(output, example.choices, kind)
    return judge(answer, example.answer, example.choices, kind) == "right"


def encoded(config: DistillConfig, strategy: Strategy, items: list[Item], samples: list[Sample],
            student: Student) -> EncodedSet:
    """What a strategy trains on, as one student's tokens."""
    encoder = student.encoder(config.answers, config.max_length)
    context = FillContext(config.data_seed, student.tokens.segment, word_scores(strategy, items, config.scores))
    return encode_cached(encoder, samples, strategy, context)


def _check_dropped(data: EncodedSet, samples: int, config: DistillConfig) -> None:
    dropped = sum(data.dropped.values())
    if not dropped:
        return
    reasons = ", ".join(f"{count} {reason}" for reason, count in data.dropped.items())
    if not data.samples or dropped / samples > config.max_dropped:
        raise DataError(f"rows: {dropped} of {samples} samples would be dropped ({reasons}), more than "
                        f"{config.max_dropped:.0%}; raise --max-length or allow it with --max-dropped")
    warn(f"dropped {dropped} of {samples} samples: {reasons}")


def _check_unknown(data: EncodedSet, samples: list[Sample], student: Student, config: DistillConfig) -> None:
    unknown, total = unknown_tokens(data, student.tokens)
    if not unknown:
        return
    drafts = [draft for sample in samples for draft in sample.drafts.values()]
    texts = (text for draft in drafts for text in (draft.example.text(), draft.rationale, draft.answer) if text)
    said = f"{unknown} of {total} tokens ({unknown / total:.1%}) are unknown to the student's tokenizer"
    characters = unknown_characters(texts, student.tokens)
    if unknown / total > config.max_unknown:
        raise DataError(f"rows: {said}, more than {config.max_unknown:.0%}: {characters}; take a student whose "
                        "tokenizer knows them, or allow it with --max-unknown")
    warn(f"{said}: {characters}")


def _card(key: str, config: DistillConfig, strategy: Strategy, items: list[Item], source: str, student: Student,
          data: EncodedSet, left_out: dict[str, int], samples: int, trained: Trained,
          dev: list[Example] | None, reasons: Mapping[str, str]) -> RunCard:
    return RunCard(
        key=key,
        strategy=describe(strategy),
        student={"name": config.student, "family": student.model.config.model_type,
                 "parameters": student.model.num_parameters(), "digest": student_digest(config.student)},
        data={"source": source, "digest": digest(items), "rows": len(items), "samples": samples,
              "left_out": dict(left_out), "dropped": dict(data.dropped), "trained_on": len(data.samples),
              "world": world_card(items), **also_read(config, dev)},
        config=config.model_dump(mode="json", exclude={"overwrite", "repair"}),
        counts={"learned_tokens": data.learned_tokens(), "input_tokens": data.input_tokens()},
        trained={"steps": trained.steps, "processes": trained.processes, "best_step": trained.best_step,
                 "dev_accuracy": trained.dev_accuracy},
        versions=package_versions(),
        defaults=dict(reasons),
    )


def _summary(run: Path, card: RunCard) -> dict[str, Any]:
    return {"run": str(run), "strategy": card.strategy["name"], "params": card.strategy["params"],
            "student": card.student["name"], "steps": card.trained["steps"], "rows": card.data["rows"],
            "trained_on": card.data["trained_on"], "learned_tokens": card.counts["learned_tokens"],
            "input_tokens": card.counts["input_tokens"], "seed": card.config["seed"], "key": card.key}


def world_card(items: list[Item]) -> dict[str, Any] | None:
    """Version and model digests of the embedded world where the rows are its questions, else None."""
    if not any(world.parse(item.question) for item in items):
        return None
    models = {role: student_digest(str(demo_model(role))) for role in ("teacher", "base")}
    return {"version": world.VERSION, "models": models}


def model_card(card: RunCard) -> str:
    """RUN/README.md: a model card in Markdown."""
    form_lines = "\n".join(
        f"- {markdown_code(form['name'])} (share {form['share']:g}, {form['kind']}): "
        f"{markdown_code(repr(form['source']))} -> "
        + " ".join(markdown_code(repr(text)) + ("" if weight else " (given)") for text, weight in form["target"])
        for form in card.strategy["forms"])
    params = ", ".join(f"{k}={v}" for k, v in card.strategy["params"].items()) or "none"
    about = yaml.safe_dump({"library_name": "transformers", "tags": ["cotdistill", card.strategy["name"]]},
                           sort_keys=False, default_flow_style=None, allow_unicode=True)
    name, strategy, paper, params = map(markdown, (card.student["name"], card.strategy["name"], card.strategy["paper"],
                                                   params))
    return (f"---\n{about}---\n\n"
            f"# {name} distilled with {strategy}\n\n"
            f"Strategy: {strategy} ({paper}), parameters: {params}.\n"
            f"Trained on {card.data['trained_on']} of {card.data['rows']} rows of "
            f"{markdown_code(Path(card.data['source']).name)} "
            f"for {card.trained['steps']} optimizer steps, seed {card.config['seed']}.\n\n"
            f"Forms:\n\n{form_lines}\n\nRun key: `{card.key}`. Everything else is in `run.json`.\n")
