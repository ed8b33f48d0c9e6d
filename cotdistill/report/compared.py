"""What `compare` shows: a table for people, and a page with the paired figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure as Drawing
from rich.table import Table as Shown

from cotdistill.console import say, show
from cotdistill.data.files import JsonObject, write_text
from cotdistill.report import plots as figures
from cotdistill.report.page import Block, Bullets, Figure, First, Report, Section, Table, Text, Value, to_html
from cotdistill.report.paper import comparison_table
from cotdistill.report.plots import Point
from cotdistill.report.tables import intervals_over, percent
from cotdistill.report.verdicts import too_small
from cotdistill.statistics.comparison import shown_p

COLUMNS = ("%", "baseline %", "difference", "95 % interval", "p (Holm)", "exact p (Holm)", "detectable", "items")


def compared_table(records: Sequence[JsonObject]) -> None:
    """A row for each comparison, then a sentence for each pair."""
    table = Shown(box=None, pad_edge=False)
    tasks = any(record["task"] for record in records)
    for name in ("side", "against", *(("task",) if tasks else ())):
        table.add_column(name, no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for record in records:
        about = [record["name"], record["baseline"], *((record["task"] or "all",) if tasks else ())]
        table.add_row(*about, *numbers(record))
    show(table)
    for record in records:
        if record["task"] is None:
            say(record["sentence"])


def numbers(record: JsonObject) -> list[str]:
    """The columns of a comparison, in percent and points."""
    low, high = record["interval"]
    return [
        percent(record["mean"]),
        percent(record["baseline_mean"]),
        f"{100 * record['difference']:+.1f}",
        f"{100 * low:+.1f} to {100 * high:+.1f}",
        shown_p(record["p_holm"]),
        shown_p(record["exact"]["p_holm"]),
        percent(record["detectable"]),
        str(record["items"]),
    ]


def page(sides: Sequence[tuple[str, Sequence[str]]], records: Sequence[JsonObject], drawings: Sequence[Figure]) -> str:
    """One self-contained page: the sentences first, then the paired figures, every number, and where these are from."""
    whole = [record for record in records if record["task"] is None]
    tasks = [record for record in records if record["task"] is not None]
    sections = [Section("All items", [numbers_table(whole), Text(explained(whole))])]
    if tasks:
        sections.append(
            Section("Each task", [numbers_table(tasks), Text("A family of its own for Holm's correction.")])
        )
    sections.append(Section("Figures", list(drawings[1:])))
    sections.append(Section("Items", joining_blocks(whole), folded=True))
    named, against = (", ".join(dict.fromkeys(r[which] for r in whole)) for which in ("name", "baseline"))
    lead = f"{named} against {against}: paired on the same items."
    files = "; ".join(f"{name}: {', '.join(paths)}" for name, paths in sides)
    first = First([record["sentence"] for record in whole], cannot(whole), drawings[0])
    return to_html(Report("Comparison", lead, sections, f"cotdistill compare; {files}", first))


def cannot(records: Sequence[JsonObject]) -> list[str]:
    """What the numbers do not show."""
    lines = []
    if any(min(record["seeds"]) == 1 for record in records):
        lines.append("How far another run would differ: a side has a single run, and no interval holds its noise.")
    if any(ids for record in records for ids in record["unjoined"].values()):
        lines.append("Anything about the items that did not join (listed below).")
    return [*lines, *too_small(records)]


def explained(records: Sequence[JsonObject]) -> str:
    """How the numbers are meant."""
    clusters = records[0]["cluster"]
    of_clusters = f" ({clusters['field']}: {clusters['clusters']})" if clusters else ""
    tests = " and ".join(dict.fromkeys(record["exact"]["test"] for record in records))
    return (
        f"Differences in points, with 95 % intervals over {over(records)}{of_clusters}; p belongs to the interval; the "
        f"exact test ({tests}) takes the runs as they are. Both are Holm's over "
        f"{records[0]['family']} comparisons. Detectable: the difference that would have been found with 80 % "
        "power (-: none, however large)."
    )


def over(records: Sequence[JsonObject]) -> str:
    """What the intervals of these comparisons are over."""
    units = "clusters" if records[0]["cluster"] else "items"
    return intervals_over(max(max(record["seeds"]) for record in records), units)


def numbers_table(records: Sequence[JsonObject]) -> Table:
    """A row for each comparison."""
    tasks = [[Value(record["task"])] if record["task"] else [] for record in records]
    rows = [
        [Value(record["name"]), Value(record["baseline"]), *task, *map(Value, numbers(record))]
        for record, task in zip(records, tasks, strict=True)
    ]
    about = ["side", "against", *(["task"] if any(tasks) else [])]
    return Table([*about, *COLUMNS], rows, words=len(about))


def joining_blocks(records: Sequence[JsonObject]) -> list[Block]:
    """How items were joined, and which were not."""
    lines = []
    for record in records:
        missing = [f"{len(ids)} of {name} ({', '.join(ids[:20])})" for name, ids in record["unjoined"].items() if ids]
        lines.append(
            f"{record['name']} against {record['baseline']}: {record['items']} items joined by {record['joined_by']} "
            f"({percent(record['joined'])} % of the larger side); not joined: {'; '.join(missing) or 'none'}."
        )
    return [Bullets(lines)]


def draw(records: Sequence[JsonObject]) -> list[tuple[str, Drawing, str]]:
    """(name, drawing, caption) of the figures: the differences, and how single items came out."""
    tasks = [record for record in records if record["task"]] or records
    points = {
        pair: [Point(r["task"] or "all items", r["difference"], *r["interval"]) for r in records if _pair(r) == pair]
        for pair in dict.fromkeys(map(_pair, records))
    }
    shares = {
        f"{_pair(r)}{', ' + r['task'] if r['task'] else ''}": tuple(r["paired"].values())
        for r in (records if len(tasks) < len(records) else tasks)
    }
    return [
        (
            "differences",
            figures.forest(points, "the other side", over(records)),
            f"Differences in points with 95 % intervals over {over(records)}; right of the line: the first is better.",
        ),
        (
            "paired",
            figures.paired(shares),
            "How single items came out: the first better, both the same, the first worse (means over seeds).",
        ),
    ]


def _pair(record: JsonObject) -> str:
    return f"{record['name']} - {record['baseline']}"


def write_page(
    html: Path | None, out: Path | None, sides: Sequence[tuple[str, Sequence[str]]], records: Sequence[JsonObject]
) -> None:
    """The page, and under `out` the same with its figures as files and the records as comparisons.jsonl."""
    drawn = draw(records)
    text = page(sides, records, [Figure(name, figures.inline(drawing), says) for name, drawing, says in drawn])
    if html is not None:
        write_text(html, text)
    if out is None:
        return
    for name, drawing, _ in drawn:
        figures.save(drawing, out / "figures", name)
    comparison_table(records, "task", over(records)).write(out / "tables")
    write_text(out / "comparisons.jsonl", "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records))
    write_text(out / "report.html", text)
