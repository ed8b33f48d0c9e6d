"""The report of an ablation: report.html, report.md, cells.jsonl, comparisons.jsonl and the figures.

A function of what is stored (`ablation.json`, the cells' records and their predictions), so that `verify` can make
it again and compare.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cotdistill import __version__
from cotdistill.data import logs
from cotdistill.data.files import write_json, write_text
from cotdistill.report.comparison import Record, Results, against_baseline, judge_claims
from cotdistill.report.drawings import draw
from cotdistill.report.page import Report, to_html, to_markdown
from cotdistill.report.sections import sections
from cotdistill.strategies.studies import Claim

DESCRIPTION = "ablation.json"


@dataclass(frozen=True)
class Description:
    """What was compared, and how: everything a report needs beside the cells. Written as ablation.json."""

    title: str
    question: str
    baseline: str
    in_domain: str
    pairs: Sequence[tuple[str, str]]
    claims: Sequence[Claim]
    config: Mapping[str, Any]
    rows: Mapping[str, Any]  # files with their digests, how many, held out, words of a rationale
    swept: Mapping[str, Mapping[str, float | None]]  # {arm: {candidate: dev accuracy}}
    chosen: Mapping[str, str]  # {arm: candidate}
    training: Mapping[str, Mapping[str, Any]]  # {arm: the settings that readers ask for first}
    defaults: Mapping[str, Mapping[str, str]]  # {arm: {option that nobody gave: where its value comes from}}
    steps: Mapping[str, int]
    scores: Mapping[str, Mapping[str, Any]]  # attributions: completeness error, leakage
    versions: Mapping[str, str]
    curves: Mapping[str, tuple[str, str, float]] = field(default_factory=dict)  # {arm: (curve, what, how much)}

    def write(self, out: Path) -> None:
        """DIR/ablation.json."""
        plain = {**vars(self), "claims": [vars(claim) for claim in self.claims],
                 "pairs": [list(pair) for pair in self.pairs],
                 "curves": {arm: list(curve) for arm, curve in self.curves.items()}}
        write_json(out / DESCRIPTION, plain)


def read_description(out: Path) -> Description:
    """As it was written."""
    found = json.loads((out / DESCRIPTION).read_text(encoding="utf-8"))
    return Description(**{**found, "claims": [Claim(**claim) for claim in found["claims"]],
                          "pairs": [tuple(pair) for pair in found["pairs"]],
                          "curves": {arm: tuple(curve) for arm, curve in found["curves"].items()}})


def made_line() -> str:
    """The line in which reports on the same results may differ."""
    return f"Made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by cotdistill {__version__}"


def write_report(out: Path, to: Path, description: Description, records: Sequence[Record], made: str) -> None:
    """Everything that is printed, from the cells in `out`, into `to`."""
    results = Results(out, records)
    comparisons = against_baseline(results, description.baseline, description.pairs)
    claims = judge_claims(results, description.claims, description.in_domain)
    figures = draw(results, description, comparisons, to / "figures")
    report = Report(description.title, description.question,
                    sections(results, description, comparisons, claims, figures, records), made)
    write_lines(to / "comparisons.jsonl", comparisons)
    write_lines(to / "claims.jsonl", claims)
    write_text(to / "report.md", to_markdown(report))
    write_text(to / "report.html", to_html(report))


def write_lines(path: Path, records: Iterable[Record]) -> None:
    """JSON lines."""
    write_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def read_lines(path: Path) -> list[Record]:
    """JSON lines as they were written."""
    return logs.read_lines(path, logs.parse_object)
