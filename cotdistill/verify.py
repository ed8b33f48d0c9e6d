"""`cotdistill verify`: recompute every number of a report and check every digest, down to each teacher row.

    digests    of every file the report rests on; a changed file is named, of rows the id of the changed one, and so
               is a file that nothing lists
    cells      metrics of every set from its stored predictions, outputs read again by our extractor; whose answers
               these are, to which questions and how asked; what each cell's own record weighed when it was made
    sweep      the dev accuracy of every candidate from its stored predictions, and that the best was chosen
    runs       the rows each run says it was trained on, made again from the teacher's rows; the run's own key; what it
               cost, by its card
    report     comparisons, claims, pages and figures made again, and compared byte for byte but for the line of their
               making

A grid that somebody made anew with other answers, every digest included, cannot be told from an honest one: there is
no secret in it. What is compared with something outside of the directory are the questions of the embedded world.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cotdistill.config import WalkingOptions
from cotdistill.console import say
from cotdistill.data.files import JsonObject, file_digest, json_digest
from cotdistill.data.logs import parse_object, whole_lines
from cotdistill.data.records import Example, digest
from cotdistill.data.rows import read_items
from cotdistill.data.runcard import RunCard, read_card
from cotdistill.data.tasks import data_set_of, load_examples
from cotdistill.errors import DataError, Difference
from cotdistill.evaluation.metrics import Prediction, judged_again
from cotdistill.evaluation.stored import read_predictions, recomputed, set_metrics, settings_digest
from cotdistill.grid.cells import CellStore, answered
from cotdistill.grid.costs import costs
from cotdistill.grid.digests import read_digests, row_digests, run_of, unlisted
from cotdistill.grid.references import teacher_prediction
from cotdistill.grid.rows import GridRows, mean_words, read_rows, rows_of
from cotdistill.report.ablation import read_json_lines, write_report
from cotdistill.report.ablation_sections import NOT_RECOMPUTED
from cotdistill.report.description import DESCRIPTION, Description, read_description
from cotdistill.run_key import card_key

Asked = Mapping[str, "Questions"]
MADE = re.compile(r"Made \d{4}-\d\d-\d\d \d\d:\d\d UTC by cotdistill [\w.+-]+")
PRINTED = ("comparisons.jsonl", "claims.jsonl", "report.md", "report.html")


class Questions:
    """The questions of a set, with what every cell's answers are held against."""

    def __init__(self, examples: list[Example]) -> None:
        self.examples, self.digest = examples, digest(examples)
        self.by_id = {example.id: example for example in examples}


class TaughtRows:
    """What each arm was trained on, made again once for all its cells: the digest of its rows, words per rationale."""

    def __init__(self, rows: GridRows, data_seed: int) -> None:
        self.rows, self.data_seed = rows, data_seed
        self.known: dict[str, tuple[str, float]] = {}

    def of(self, record: JsonObject) -> tuple[str, float]:
        """Of the arm of a cell."""
        parts = [record[name] for name in ("decoding", "control", "train_size", "training")]
        place = json_digest([record["arm"] if self.rows.own else "", *parts])
        if place not in self.known:
            decoding, control, size, training = parts
            setting = tuple(training.items())
            items = rows_of(self.rows, record["arm"], decoding, control, size, self.data_seed, setting)
            self.known[place] = digest(items), mean_words(items)
        return self.known[place]


def verify(out: Path) -> dict[str, Any]:
    """What was verified; raises `Difference` (exit 7) that names the first file or number that differs."""
    if not out.is_dir():
        raise DataError.at(str(out), None, "is not a directory", "give a directory that ablate made")
    counts = {"files": 0, "rows": 0, "cells": 0, "numbers": 0}
    different = list(differences(out, counts))
    for difference in different:
        say(difference, "bad")
    if different:
        more = f" (and {len(different) - 1} more)" if len(different) > 1 else ""
        raise Difference(f"{out}: {different[0]}{more}")
    say(
        f"{out}: {counts['files']} files, {counts['rows']} teacher rows, {counts['cells']} cells and "
        f"{counts['numbers']} numbers match"
    )
    say(NOT_RECOMPUTED)
    return {"verified": str(out), **counts, "not_recomputed": NOT_RECOMPUTED}


def differences(out: Path, counts: dict[str, int]) -> Iterator[str]:
    """Everything that is not what it was; numbers are recomputed only from files that are."""
    changed = [*absent(out), *changed_files(out, counts)]
    if changed:
        yield from changed
        return
    records = read_json_lines(out / "cells.jsonl")
    description = read_description(out)
    rows = read_rows(out, list(description.rows["files"]))
    yield from missing_cells(records, description)
    asked = {
        name: Questions(load_examples(str(out / "questions" / f"{name}.jsonl")))
        for name in dict.fromkeys(name for record in records for name in record.get("sets", ()))
    }
    yield from other_questions(asked, description)
    yield from changed_sweep(out, description, counts)
    yield from other_starts(out, records)
    walking = WalkingOptions.model_validate(description.config["evaluate"])
    taught = TaughtRows(rows, int(description.config["data_seed"]))
    for record in records:
        counts["cells"] += 1
        if "error" in record:
            continue
        yield from changed_record(out, record, asked, walking, counts)
        if record["role"] == "teacher":
            yield from other_answers(out, record, asked)
        if record["role"] in ("strategy", "control"):
            yield from changed_run(out, record, taught, counts)
    yield from changed_report(out, records, counts)


def absent(out: Path) -> Iterator[str]:
    """What `ablate` wrote last and cannot be read: a link that leads nowhere, a pipe."""
    for name in (*PRINTED, "cells.jsonl", DESCRIPTION):
        if (out / name).exists() and not (out / name).is_file():
            yield f"{name}: is not a regular file"


def missing_cells(records: Sequence[JsonObject], description: Description) -> Iterator[str]:
    """Cells of the grid that are not among the records: one that was left out, or added, changes every comparison."""
    expected = {f"{arm}/seed-{seed}" for arm in description.steps for seed in description.config["seeds"]}
    found = [record["cell"] for record in records if record["role"] in ("strategy", "control")]
    for name in sorted(expected.symmetric_difference(found)):
        yield f"cells.jsonl: {name} is " + ("missing" if name in expected else f"no cell of {DESCRIPTION}")
    for name, count in Counter(found).items():
        if count > 1:
            yield f"cells.jsonl: {name} is there {count} times"


def other_questions(asked: Asked, description: Description) -> Iterator[str]:
    """Question rows of a registered data set that are not its own."""
    specs, seed = description.rows["sets"], int(description.config["data_seed"])
    for name, questions in asked.items():
        spec, split = specs[name]["data"], specs[name]["split"]
        if data_set_of(spec) is not None and questions.examples != load_examples(spec, split, None, seed):
            yield f"questions/{name}.jsonl: not the questions of {spec} ({split})"


def changed_sweep(out: Path, description: Description, counts: dict[str, int]) -> Iterator[str]:
    """Dev accuracies of candidates that their predictions do not give, and a choice that these do not give."""
    tried = [record for record in CellStore(out).records() if record.get("swept") and "sets" in record]
    for arm, accuracies in description.swept.items():
        for candidate, accuracy in accuracies.items():
            name = f"{arm}/seed-{description.config['seeds'][0]}/{candidate.replace(', ', '/')}"
            found = {_dev_accuracy(out, record) for record in tried if record["cell"] == name} or {None}
            counts["numbers"] += 1
            if accuracy not in found:
                yield f"{DESCRIPTION}: {name}: the dev accuracy is {found.pop()} by its predictions, not {accuracy}"
        best = max(accuracies, key=lambda one: accuracies[one] or 0.0)
        if description.chosen.get(arm) != best:
            yield f"{DESCRIPTION}: {arm}: {best} is best on the dev rows, not {description.chosen.get(arm)}"


def other_starts(out: Path, records: Sequence[JsonObject]) -> Iterator[str]:
    """Cells that did not begin from the student of the cell that they name."""
    keys = {record["cell"]: record.get("run_key") for record in records}
    for record in records:
        start = f"{record.get('start')}/seed-{record.get('seed')}"
        if "start" in record and read_card(run := run_of(out, record)).data.get("start") != keys.get(start):
            yield f"{run.relative_to(out)}/run.json: {record['cell']} did not begin from the student of {start}"


def _dev_accuracy(out: Path, record: JsonObject) -> float | None:
    (stored,) = record["sets"].values()
    path = out / stored["predictions"]
    return set_metrics(path, extractor=stored.get("extractor", "answers"))["accuracy"] if path.is_file() else None


def changed_record(
    out: Path, record: JsonObject, asked: Asked, walking: WalkingOptions, counts: dict[str, int]
) -> Iterator[str]:
    """What a cell's record, its definition and its predictions say of one another; answers are parsed once."""
    for name, weight in record["files"].items():
        if not (out / name).is_file() or file_digest(out / name) != weight:
            yield f"{name}: digest differs from the one in the record of {record['cell']}"
    run = run_of(out, record)
    card = read_card(run) if (run / "run.json").is_file() else None
    for name, budget, stored in answered(record):
        predictions = read_predictions(path := out / stored["predictions"])
        where = name if budget is None else f"{name} at {budget} tokens of thought"
        yield from changed_metrics(predictions, stored, f"{record['cell']} on {where}", counts)
        way = walking if budget is None else walking.model_copy(update={"think_budget": budget})
        yield from changed_header(path, record, stored, card, way, asked[name].digest)
        for said in predictions:
            question = asked[name].by_id.get(said.id)
            if question is None or (said.question, said.choices, said.gold) != (
                question.question,
                question.choices,
                question.answer,
            ):
                yield f"{stored['predictions']}: {said.id} is not the question of questions/{name}.jsonl"
                break
        if len(predictions) != len(asked[name].by_id):
            yield f"{stored['predictions']}: {len(predictions)} answers to {len(asked[name].by_id)} questions"
        if stored["digest"] != file_digest(path):
            yield f"{stored['predictions']}: digest differs from the one in the record of {record['cell']}"


def changed_header(
    path: Path, record: JsonObject, stored: JsonObject, card: RunCard | None, way: WalkingOptions, questions: str
) -> Iterator[str]:
    """A first line of predictions that is not of this run, these questions (their digest), this way of asking."""
    header = parse_object(whole_lines(path)[0])
    if header.get("questions") != questions or header.get("run") != (card and card.key):
        yield f"{stored['predictions']}: its first line names another run or other questions"
    elif header.get("settings") != (
        record.get("teacher") if card is None else settings_digest(way, card.config["dtype"], card.key, questions)
    ):
        yield f"{stored['predictions']}: its first line names other settings than {DESCRIPTION}"


def other_answers(out: Path, record: JsonObject, asked: Asked) -> Iterator[str]:
    """Predictions of the teacher that its own rows do not give."""
    for name, stored in record["sets"].items():
        rows = {item.id: item for item in read_items(run_of(out, record) / f"{name}.jsonl")}
        given = {one.id: teacher_prediction(one, rows[one.id], 0, 0) for one in asked[name].examples if one.id in rows}
        for said in read_predictions(out / stored["predictions"]):
            one = given.get(said.id)
            if one is None or (said.output, said.rationale) != (one.output, one.rationale):
                yield f"{stored['predictions']}: {said.id} is not answered as in {name}.jsonl beside it"
                break


def changed_files(out: Path, counts: dict[str, int]) -> Iterator[str]:
    """Files that weigh something else; of teacher rows which ones."""
    try:
        files, rows = read_digests(out)
    except ValueError as error:
        yield str(error)
        return
    for name, weight in files.items():
        counts["files"] += 1
        path = out / name
        if not path.is_file():
            yield f"{name}: is missing"
        elif file_digest(path) != weight:
            yield f"{name}: changed since the report was written{_which_rows(path, rows.get(name))}"
    counts["rows"] += sum(map(len, rows.values()))
    for name in unlisted(out, files, CellStore(out).records()):
        yield f"{name}: nothing lists it; ablate with the same options lists it, or remove it"


def changed_metrics(
    predictions: Sequence[Prediction], stored: JsonObject, where: str, counts: dict[str, int]
) -> Iterator[str]:
    """Figures of a set that its predictions do not give."""
    found = recomputed(judged_again(predictions, stored.get("extractor", "answers")))
    for figure, value in found.items():
        counts["numbers"] += 1
        if stored.get(figure) != value:
            yield (f"cells.jsonl: {where}: {figure} is {value} by {stored['predictions']}, not {stored.get(figure)}")


def changed_run(out: Path, record: JsonObject, taught: TaughtRows, counts: dict[str, int]) -> Iterator[str]:
    """A run that was not trained on the rows it should have been, or whose card is not that of its cell."""
    run = run_of(out, record)
    card, name = read_card(run), str(run.relative_to(out))
    rows, words = taught.of(record)
    if not rows == card.data["digest"] == record["rows_digest"]:
        yield f"{name}/run.json: {record['cell']} was trained on other rows than rows/ gives"
    scores = card.config.get("scores")
    if scores is not None and file_digest(out / "scores" / Path(scores).name) != card.data["scores"]:
        yield f"{name}/run.json: scores/{Path(scores).name} is not what {record['cell']} was trained with"
    told = card.config.get("kd_file")
    if told is not None and file_digest(out / "rows" / Path(told).name) != card.data["kd"]:
        yield f"{name}/run.json: rows/{Path(told).name} is not what {record['cell']} was taught with"
    if card_key(card) != card.key or card.key != record["run_key"]:
        yield f"{name}/run.json: its parts do not give the key of {record['cell']}"
    says = {
        "strategy": card.strategy["name"],
        "params": card.strategy["params"],
        "student": card.config["student"],
        "seed": card.config["seed"],
        "lr": card.config["lr"],
        **costs(card, words),
    }
    for what, value in says.items():
        counts["numbers"] += 1
        if record[what] != value:
            yield f"cells.jsonl: {record['cell']}: {what} is {value} by {name}/run.json, not {record[what]}"
    kept = CellStore(out).stored(record["key"])
    if kept is None or kept["record"] != record or json_digest(kept["definition"]["training"]) != card.key:
        yield f"cells.jsonl: {record['cell']} is not what cells/ keeps of it"


def changed_report(out: Path, records: list[JsonObject], counts: dict[str, int]) -> Iterator[str]:
    """Pages that these cells do not give."""
    last_line = (out / "report.md").read_text(encoding="utf-8").rstrip("\n").split("\n")[-1]
    if not MADE.fullmatch(last_line):
        yield "report.md: its last line does not say when it was made"
    with tempfile.TemporaryDirectory() as folder:
        write_report(out, Path(folder), read_description(out), records, last_line)
        again = Path(folder)
        drawn = {
            str(path.relative_to(root))
            for root in (again, out)
            for kind in ("figures", "tables")
            for path in (root / kind).glob("*")
        }
        for name in (*PRINTED, *sorted(drawn)):
            if not _same(again / name, out / name):
                yield f"{name}: {DESCRIPTION} and cells.jsonl give another one"
        counts["numbers"] += sum(len(line) for line in read_json_lines(again / "comparisons.jsonl"))


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()


def _which_rows(path: Path, before: dict[str, str] | None) -> str:
    if before is None:
        return ""
    now = row_digests(path)
    which = [name for name in before if now.get(name) != before[name]] + [name for name in now if name not in before]
    return f", in the row {', '.join(which[:3])}" if which else ""
