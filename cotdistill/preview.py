"""`cotdistill preview`: one row as each form's exact token stream, and the prompt used at inference; which rows a
`--select` keeps, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from cotdistill.config import DEMO, DistillConfig
from cotdistill.console import console, say, show, warn
from cotdistill.data.mixture import mixed
from cotdistill.data.records import Item, Rationale
from cotdistill.data.rows import read_items
from cotdistill.data.tasks import load_examples
from cotdistill.errors import DataError, UsageError
from cotdistill.plugins.kinds import checker_of
from cotdistill.strategies.forms import FillContext, Form, Slots, Strategy
from cotdistill.strategies.join import Sample, join, unusable
from cotdistill.strategies.registry import create
from cotdistill.strategies.scores import word_scores
from cotdistill.students.encode import Encoder
from cotdistill.students.load import load_student
from cotdistill.students.student import Student
from cotdistill.students.unknown import unknown_characters
from cotdistill.training.recipes import EMBEDDED
from cotdistill.training.selection import choice

SHOWN = 20  # rows of a choice on stderr; stdout has all


def preview(config: DistillConfig, rows: str | None, at: int, progress: float = 0.0) -> Iterator[dict[str, Any]]:
    """Show row `at` on stderr and yield one record per form: tokens, which are learned, and the prompt's length.
    Before them, under --select, one per row: whether it is trained on, and its score.

    `progress`: the share of training that is done, of a strategy that learns other things by then.
    """
    strategy = create(config.strategy, config.params)
    items = read_items(rows, allow_partial=True) if rows is not None else demo_items()
    items = mixed(items, config.mix, config.data_seed)
    if not 0 <= at < len(items):
        raise UsageError(f"--row {at}: there are {len(items)} rows, numbered from 0")
    student = load_student(
        config.student,
        trust_remote_code=config.trust_remote_code,
        chat=config.chat,
        partial_weights=config.partial_weights,
    )
    yield from _choice(config, strategy, items, student)
    encoder = student.encoder(config.answers, config.max_length)
    if progress and not strategy.progressive:
        raise UsageError(f"--progress: {strategy.name} learns the same from beginning to end; omit it")
    epoch = int(progress * (config.epochs or EMBEDDED["epochs"]))
    scores = word_scores(strategy, items)
    context = FillContext(config.data_seed, student.tokens.segment, scores, epoch=epoch, progress=progress)
    sample = join([items[at]], strategy)[0][0]
    data = encoder.encode([sample], strategy, context)
    if not data.samples:
        raise DataError(f"row {items[at].id!r} cannot be trained on: {', '.join(data.dropped)}; give another --row")
    texts = [items[at].question, *(rationale.text for rationale in items[at].rationales)]
    if characters := unknown_characters(texts, student.tokens):
        warn(f"characters unknown to the student's tokenizer: {characters}")
    by_form = {int(tree.forms[0]): tree for tree in data.samples[0]}
    for index, form in enumerate(data.forms):
        tree = by_form[index]
        prompt_source, prompt = _prompt(encoder, form, sample, strategy.fill(sample.drafts[form.kind], context))
        learned = dict(zip(tree.positions.tolist(), tree.tokens.tolist(), strict=True))
        tokens = [*tree.ids.tolist(), *([learned[len(tree.ids) - 1]] if len(tree.ids) - 1 in learned else [])]
        record = {
            "strategy": strategy.name,
            "form": form.name,
            "share": form.share,
            "kind": form.kind,
            "source": None if prompt_source is None else _words(student, prompt_source),
            "tokens": _words(student, tokens),
            "ids": tokens,
            "prompt_tokens": len(prompt),
        }
        record["learned"] = [position - 1 in learned for position in range(len(tokens))]
        _show(record)
        yield record


def _choice(
    config: DistillConfig, strategy: Strategy, items: Sequence[Item], student: Student
) -> Iterator[dict[str, Any]]:
    """A record per row under `--select`, those kept first and the best first; a table of them on stderr."""
    if config.select is None:
        return
    chosen = choice(items, strategy, config, config.data_seed, student)
    kept, left = ({item.id for item in some} for some in (chosen.kept, chosen.left))
    reasons, scores = unusable(items, strategy), chosen.scores
    table = Table(box=None, pad_edge=False)
    for column in ("row", config.select, "kept"):
        table.add_column(column)
    ranked = sorted(items, key=lambda item: (scores.get(item.id, float("inf")), item.id))
    records: list[dict[str, Any]] = []
    for item in ranked:
        score = scores.get(item.id)
        why = None if item.id in left else reasons.get(item.id, f"no {config.select} answer")
        said = why or "-" if score is None else f"{score:.4g}"
        if len(records) < SHOWN:
            table.add_row(item.id, said, "yes" if item.id in kept else "no")
        records.append({"select": config.select, "row": item.id, "kept": item.id in kept, "score": score, "why": why})
    show(table)
    more = f"; the first {SHOWN} are shown" if len(records) > SHOWN else ""
    say(f"--select {config.select} keeps {len(kept)} of {len(items)} rows{more}")
    yield from records


def demo_items() -> list[Item]:
    """Rows of the embedded world with a true and a false rationale, so that any strategy can be previewed."""
    items = []
    for example in load_examples(DEMO, "train", 8, 0):
        wrong = next(choice for choice in example.choices or () if choice != example.answer)
        sides = (("factual", example.answer), ("counterfactual", wrong))
        items.append(Item.of(example, [_rationale(kind, example.question, answer) for kind, answer in sides]))
    return items


def _rationale(kind: Any, question: str, answer: str) -> Rationale:
    checker = checker_of(question)
    assert checker is not None  # the embedded world's own
    return Rationale(
        kind=kind,
        text=checker.argue(question, answer) or "",
        answer=answer,
        correct=True,
        label="keep",
        teacher="embedded world",
        decoding={},
        prompt=None,
        finished=True,
    )


def _prompt(encoder: Encoder, form: Form, sample: Sample, slots: Slots) -> tuple[list[int] | None, list[int]]:
    return encoder.prompt(form, sample.drafts[form.kind].example, slots)


def _words(student: Student, ids: list[int]) -> list[str]:
    return [student.tokenizer.decode([token], clean_up_tokenization_spaces=False) for token in ids]


def _show(record: dict[str, Any]) -> None:
    show(
        Text.assemble(
            (record["form"], "bold"),
            f"  share {record['share']:g}, {record['kind']}; "
            "dim: the prompt asked at inference; plain: given; green: learned",
        )
    )
    if record["source"] is not None:
        show(Text("encoder: " + "|".join(record["source"]), style="dim"))
    line = Text()
    for at, (word, learned) in enumerate(zip(record["tokens"], record["learned"], strict=True)):
        style = "dim" if at < record["prompt_tokens"] else "bold green" if learned else ""
        line.append(word.replace("\n", "\\n") + "|", style=style)
    show(line)
    if not console.is_terminal:  # without colours: the learned tokens spelled out
        shown = "|".join(w for w, on in zip(record["tokens"], record["learned"], strict=True) if on)
        show(Text(f"learned: {shown}"))
