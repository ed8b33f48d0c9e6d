"""`cotdistill compare`: which outcomes are read, how items are joined, what is written."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cotdistill.config.common import BadRows, Config, ForeignRows
from cotdistill.config.option import option
from cotdistill.plugins.kinds import EXTRACTORS

SIDES, OUTCOMES, JOINING, OUTPUT = "What is compared", "Outcomes", "Joining items", "Output"


class CompareConfig(ForeignRows, BadRows, Config):
    """`cotdistill compare`: result files of any origin in, paired statistics out."""

    baseline: str | None = option(
        None, "Name of the side that all others are compared with", SIDES, shown="the first side"
    )
    all_pairs: bool = option(False, "Compare every side with every other", SIDES)
    metric: str | None = option(
        None, "Outcome to read: lm-eval's metric, inspect_ai's scorer, or a column", OUTCOMES, shown="the first"
    )
    filter: str | None = option(None, "lm-eval's filter, where a file holds answers under several", OUTCOMES)
    data: tuple[str, ...] = option(
        (), "Question rows with the gold answers of bare predictions (repeatable)", OUTCOMES, repeated=True, files=True
    )
    split: str | None = option(None, "Split of the --data sets", OUTCOMES, needs="data")
    extractor: str = option("answers", "How answers are read from predictions", OUTCOMES, plugins=EXTRACTORS)
    join: Literal["auto", "id", "question"] = option(
        "auto", "auto: by id, or by question where ids differ between the sides", JOINING
    )
    min_join: float = option(
        0.95, "Smallest share of the larger side's items that must join; less is refused", JOINING, ge=0, le=1
    )
    cluster: str | None = option(
        None, "Field that names the group of an item (e.g. its passage): cluster-robust intervals", JOINING
    )
    html: Path | None = option(None, "Write a self-contained HTML page", OUTPUT, key=False)
    out: Path | None = option(
        None,
        "Directory for comparisons.jsonl, the report, and tables and figures for a paper",
        OUTPUT,
        key=False,
        names=("--out", "-o"),
    )
