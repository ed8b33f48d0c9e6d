"""The report of an ablation: report.html, report.md, cells.jsonl, comparisons.jsonl, figures, tables for a paper.

A pure function of stored files (`ablation.json`, the cells' records and their predictions), so that `verify` can make
it again and compare.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cotdistill import __version__
from cotdistill.data import logs
from cotdistill.data.files import JsonObject, write_text
from cotdistill.report.ablation_figures import draw
from cotdistill.report.ablation_sections import sections
from cotdistill.report.comparison import Results, against_baseline, judge_claims
from cotdistill.report.description import Description
from cotdistill.report.page import Report, to_html, to_markdown
from cotdistill.report.paper import PaperTable, comparison_table, results_table
from cotdistill.report.verdicts import first_screen


def made_line() -> str:
    """The line in which reports on the same results may differ."""
    return f"Made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by cotdistill {__version__}"


def write_report(
    out: Path, to: Path, description: Description, records: Sequence[JsonObject], footer: str
) -> list[JsonObject]:
    """Everything that is printed, from the cells in `out`, into `to`; the comparisons."""
    results = Results(out, records)
    comparisons = against_baseline(results, description.baseline, description.pairs)
    claims = judge_claims(results, description.claims, description.in_domain)
    figures = draw(results, description, comparisons, to / "figures")
    for table in paper_tables(results, comparisons, description.baseline):
        table.write(to / "tables")
    first = first_screen(results, description, comparisons, records, figures)
    below = [figure for figure in figures if figure is not first.figure]
    report = Report(
        description.title,
        description.question,
        sections(results, description, comparisons, claims, below, records),
        footer,
        first,
    )
    write_lines(to / "comparisons.jsonl", comparisons)
    write_lines(to / "claims.jsonl", claims)
    write_text(to / "report.md", to_markdown(report))
    write_text(to / "report.html", to_html(report))
    return comparisons


def paper_tables(results: Results, comparisons: Sequence[JsonObject], baseline: str) -> list[PaperTable]:
    """The tables for a paper: every arm's accuracy, and the comparisons, where there are any."""
    made = [results_table(results, comparisons, baseline)]
    return [*made, comparison_table(comparisons, "set", results.over)] if comparisons else made


def write_lines(path: Path, records: Iterable[JsonObject]) -> None:
    """Write JSON lines."""
    write_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def read_json_lines(path: Path) -> list[JsonObject]:
    """Read JSON lines."""
    return logs.read_lines(path, logs.parse_object)
