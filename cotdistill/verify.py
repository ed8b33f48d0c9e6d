"""`cotdistill verify`: every number of a report computed again, every digest checked, down to each teacher row.

    digests    of every file the report stands on; a changed file is named, of rows the id of the changed one
    cells      figures of every set from its stored predictions, outputs read again by our extractor
    runs       the rows each run says it was trained on, made again from the teacher's rows; the run's own key
    report     comparisons, claims and pages made again, and compared byte for byte but for the line of their making
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cotdistill.console import say
from cotdistill.data.files import file_digest
from cotdistill.data.records import digest
from cotdistill.data.runcard import read_card
from cotdistill.errors import DataError, Difference
from cotdistill.grid.arms import Arm
from cotdistill.grid.digests import read_digests, row_digests
from cotdistill.grid.rows import Rows, read_rows, training_rows
from cotdistill.report.ablation import DESCRIPTION, read_description, read_lines, write_report
from cotdistill.report.sections import NOT_RECOMPUTED
from cotdistill.report.stored import set_figures
from cotdistill.run_key import card_key
from cotdistill.strategies.grids import Variant

PRINTED = ("comparisons.jsonl", "claims.jsonl", "report.md", "report.html")


def verify(out: Path) -> dict[str, Any]:
    """What was verified; raises `Difference` (exit 7) that names the first file or number that differs."""
    if not out.is_dir():
        raise DataError.at(str(out), None, "is no directory", "give a directory that ablate made")
    counts = {"files": 0, "rows": 0, "cells": 0, "numbers": 0}
    found = list(differences(out, counts))
    for difference in found:
        say(difference, "bad")
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise Difference(f"{out}: {found[0]}{more}")
    say(f"{out}: {counts['files']} files, {counts['rows']} teacher rows, {counts['cells']} cells and "
        f"{counts['numbers']} numbers are what they were")
    say(NOT_RECOMPUTED)
    return {"verified": str(out), **counts, "not_recomputed": NOT_RECOMPUTED}


def differences(out: Path, counts: dict[str, int]) -> Iterator[str]:
    """Everything that is not what it was; numbers are recomputed only from files that are."""
    changed = list(changed_files(out, counts))
    if changed:
        yield from changed
        return
    records = read_lines(out / "cells.jsonl")
    description = read_description(out)
    rows = read_rows(out, list(description.rows["files"]))
    for record in records:
        counts["cells"] += 1
        yield from changed_figures(out, record, counts)
        if record["role"] in ("strategy", "control") and "error" not in record:
            yield from changed_run(out, record, rows, int(description.config["data_seed"]), counts)
    yield from changed_report(out, records, counts)


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


def changed_figures(out: Path, record: dict[str, Any], counts: dict[str, int]) -> Iterator[str]:
    """Figures of a cell that its predictions do not give."""
    for name, stored in record.get("sets", {}).items():
        found = set_figures(out / stored["predictions"], extractor=stored.get("extractor", "answers"))
        for figure, value in found.items():
            counts["numbers"] += 1
            if stored.get(figure) != value:
                yield (f"cells.jsonl: {record['cell']} on {name}: {figure} is {value} by {stored['predictions']}, "
                       f"not {stored.get(figure)}")


def changed_run(out: Path, record: dict[str, Any], rows: Rows, data_seed: int, counts: dict[str, int]) -> Iterator[str]:
    """A run that was not trained on the rows it should have been, or whose card does not give its key."""
    run = (out / next(iter(record["sets"].values()))["predictions"]).parent.parent
    card, name = read_card(run), str(run.relative_to(out))
    arm = Arm(Variant(record["strategy"], record["params"]), record["student"], record["decoding"], record["control"],
              record["train_size"])
    if digest(training_rows(rows, arm, data_seed)) != card.data["digest"]:
        yield f"{name}/run.json: {record['cell']} was trained on other rows than rows/ gives"
    scores = card.config.get("scores")
    if scores is not None and file_digest(out / "scores" / Path(scores).name) != card.data["scores"]:
        yield f"{name}/run.json: scores/{Path(scores).name} is not what {record['cell']} was trained with"
    key = card_key(card)
    if key != card.key or card.key != record["run_key"]:
        yield f"{name}/run.json: its parts do not give the key of {record['cell']}"
    counts["numbers"] += 2


def changed_report(out: Path, records: list[dict[str, Any]], counts: dict[str, int]) -> Iterator[str]:
    """Pages that these cells do not give."""
    made = (out / "report.md").read_text(encoding="utf-8").rstrip("\n").split("\n")[-1]
    with tempfile.TemporaryDirectory() as again:
        write_report(out, Path(again), read_description(out), records, made)
        for name in (*PRINTED, *sorted(str(path.relative_to(again)) for path in Path(again).glob("figures/*.svg"))):
            if (Path(again) / name).read_bytes() != (out / name).read_bytes():
                yield f"{name}: {DESCRIPTION} and cells.jsonl give another one"
        counts["numbers"] += sum(len(line) for line in read_lines(Path(again) / "comparisons.jsonl"))


def _which_rows(path: Path, before: dict[str, str] | None) -> str:
    if before is None:
        return ""
    now = row_digests(path)
    which = [name for name in before if now.get(name) != before[name]] + [name for name in now if name not in before]
    return f", in the row {', '.join(which[:3])}" if which else ""
