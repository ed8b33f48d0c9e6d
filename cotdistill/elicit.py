"""`cotdistill elicit`: question rows in, each with its teacher's rationales out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cotdistill.config import ElicitConfig
from cotdistill.console import console, emit, is_main_process, say
from cotdistill.data.files import write_text
from cotdistill.data.records import Example, Item, Kind, Label, Rationale
from cotdistill.data.tasks import load_examples
from cotdistill.data.wrong_answers import wrong_answer, wrong_choices
from cotdistill.errors import NothingLeft, Partial, UsageError
from cotdistill.strategies import registry
from cotdistill.teachers.calls import Call, Reply, Teacher
from cotdistill.teachers.filters import judged, relabel
from cotdistill.teachers.prompts import PromptTemplate
from cotdistill.teachers.recorded import ROWS, check_joined, from_recording, from_row, read_recordings

RECORDED = "recorded:"
LABELS: tuple[Label, ...] = ("keep", "wrong", "unparsed", "leaked", "repeated", "truncated")


def elicit(config: ElicitConfig, dry_run: bool = False) -> None:
    """Elicit rationales and write one item a question to `config.out`, else to stdout with its end line.

    Raises `Partial` when calls failed (the rows are written all the same), `NothingLeft` when no rationale of any
    row can be learned from.
    """
    config = settled(config)
    pool = load_examples(config.data, config.split, None, config.data_seed)
    examples = pool[: config.limit]
    if config.teacher == ROWS or config.teacher.startswith(RECORDED):
        answered = recorded(config, examples)
    else:
        answered = asked(config, examples, pool)
    items = [item_of(example, relabel(example, found, config.keep)) for example, found, _ in answered]
    failed = sum(failures for _, _, failures in answered)
    write(config.out, items, failed)
    report(items, failed)
    if failed:
        raise Partial(f"{failed} calls failed; the rows are written without them")


def settled(config: ElicitConfig) -> ElicitConfig:
    """The configuration with what `--for STRATEGY` needs, and impossible combinations refused."""
    if config.for_ is not None:
        kinds = {kind for kind, _ in registry.create(config.for_).needs()}
        config = config.model_copy(update={"counterfactual": config.counterfactual or "counterfactual" in kinds})
    if config.decode == "contrastive" and config.hint == "none":
        raise UsageError("--decode contrastive contrasts two hinted prompts; leave --hint none away")
    return config


def recorded(config: ElicitConfig, examples: Sequence[Example]) -> list[tuple[Example, list[Rationale], int]]:
    """Rationales that exist already, of a recording or of the rows themselves."""
    if config.teacher == ROWS:
        return [(example, from_row(example), 0) for example in examples]
    file = Path(config.teacher.removeprefix(RECORDED))
    recordings = read_recordings(file)
    joined = check_joined(examples, recordings, file)
    say(f"{joined} of {len(examples)} questions have a recording in {file.name}")
    return [(example, from_recording(example, recordings, config.counterfactual), 0) for example in examples]


def asked(config: ElicitConfig, examples: Sequence[Example],
          pool: Sequence[Example]) -> list[tuple[Example, list[Rationale], int]]:
    """Rationales asked of a model: every call answered once or failed with its reason."""
    calls = list(planned(config, examples, pool))
    teacher = open_teacher(config)
    replies: dict[int, Reply] = {}
    places = {id(call): at for at, call in enumerate(calls)}

    def deliver(call: Call, reply: Reply) -> None:
        replies[places[id(call)]] = reply

    teacher.ask(calls, deliver)
    found: dict[str, list[Rationale]] = {example.id: [] for example in examples}
    failed: Counter[str] = Counter()
    for at, call in enumerate(calls):
        reply = replies[at]
        if reply.failed is not None:
            failed[call.example.id] += 1
        else:
            found[call.example.id].append(judged(
                call.example, call.kind, call.supports, reply.text, teacher=teacher.name, decoding=call.decoding,
                prompt=call.digest, finished=reply.finished))
    return [(example, found[example.id], failed[example.id]) for example in examples]


def planned(config: ElicitConfig, examples: Sequence[Example], pool: Sequence[Example]) -> Iterator[Call]:
    """Every call, in the order of the rows."""
    template = PromptTemplate(config.prompt)
    decoding = _decoding(config)
    for example in examples:
        wrong = wrong_answers(config, example, pool)
        sides: list[tuple[Kind, str, str | None]] = [("factual", example.answer, wrong[0] if wrong else None)]
        if config.counterfactual:
            sides += [("counterfactual", answer, example.answer) for answer in wrong]
        for kind, supports, _ in sides:
            hint = "wrong" if kind == "counterfactual" else "gold" if config.hinted else "none"
            yield Call(example, kind, supports, template.render(example, None if hint == "none" else supports),
                       {**decoding, "hint": hint})


def wrong_answers(config: ElicitConfig, example: Example, pool: Sequence[Example]) -> list[str]:
    """The wrong answers to argue for; none where the settings need none."""
    if not config.counterfactual and config.decode != "contrastive":
        return []
    if config.wrong == "all" and (offered := wrong_choices(example)):
        return offered
    return [wrong_answer(example, pool, config.seed)]


def open_teacher(config: ElicitConfig) -> Teacher:
    """The teacher that `--teacher` names."""
    from cotdistill.teachers.huggingface import HuggingFaceTeacher, load_teacher

    model, name = load_teacher(config.teacher, config.dtype, config.device, config.trust_remote_code)
    return HuggingFaceTeacher(model, name, batch_size=config.batch_size, max_new_tokens=config.max_new_tokens)


def item_of(example: Example, rationales: Iterable[Rationale]) -> Item:
    """The elicited row."""
    return Item(id=example.id, task=example.task, split=example.split, question=example.question,
                choices=example.choices, answer=example.answer, rationales=tuple(rationales))


def write(out: Path | None, items: Sequence[Item], failed: int) -> None:
    """All items to a file, whole or not at all, or to stdout, where an end line tells that nothing is missing."""
    if out is not None:
        if is_main_process():
            write_text(out, "".join(item.line() + "\n" for item in items))
        return
    for item in items:
        emit(item.model_dump(mode="json"))
    emit({"end": {"rows": len(items), "failed": failed}})


def report(items: Sequence[Item], failed: int) -> None:
    """The yield table on stderr; raises `NothingLeft` where nothing can be learned from."""
    from rich.table import Table

    table = Table("rationales", "elicited", *LABELS)
    for kind in ("factual", "counterfactual"):
        labels = Counter(r.label for item in items for r in item.rationales if r.kind == kind)
        if labels:
            table.add_row(kind, str(labels.total()), *(str(labels[label]) for label in LABELS))
    if is_main_process():
        console.print(table)
    say(f"{len(items)} rows{f', {failed} calls failed' if failed else ''}")
    if not any(r.label == "keep" for item in items for r in item.rationales):
        raise NothingLeft(f"no rationale of {len(items)} rows can be learned from; the table above says why "
                          "(--keep all keeps them anyway)")


def _decoding(config: ElicitConfig) -> dict[str, Any]:
    return {"decode": config.decode, "max_new_tokens": config.max_new_tokens, "dtype": config.dtype}
