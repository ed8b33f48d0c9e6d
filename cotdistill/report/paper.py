"""Numbers for a paper: tables/NAME.tex (booktabs) to be \\input, and tables/NAME.csv with every digit.

Stars stand for significance after Holm's correction and for nothing else; the note under a table says so.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cotdistill.data.files import JsonObject, write_text
from cotdistill.escaping import one_line, tex
from cotdistill.report.comparison import Results
from cotdistill.report.tables import percent
from cotdistill.statistics.comparison import shown_p, signed_points

STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
LEGEND = "* p < 0.05, ** p < 0.01, *** p < 0.001, after Holm's correction over {family} comparisons"
COMPARED = ("difference", "low", "high", "p", "p_holm", "family", "detectable", "seed_se", "item_se", "items")


@dataclass(frozen=True)
class Number:
    """A number in points or percent as TeX prints it; `stars` behind it, `interval` in brackets."""

    text: str
    stars: str = ""
    interval: tuple[str, str] | None = None


@dataclass(frozen=True)
class PaperTable:
    """`rows` hold words (escaped here) and numbers; `raw` is the same as plain values, for the CSV file."""

    name: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Number]]
    note: str
    raw_columns: Sequence[str]
    raw: Sequence[Sequence[str | float | int | None]]

    def write(self, folder: Path) -> None:
        """NAME.tex and NAME.csv."""
        write_text(folder / f"{self.name}.tex", self.tex())
        write_text(folder / f"{self.name}.csv", self.csv())

    def tex(self) -> str:
        """A table environment; the document needs \\usepackage{booktabs}."""
        first = self.rows[0] if self.rows else self.columns
        kinds = "".join("r" if isinstance(cell, Number) else "l" for cell in first)
        lines = [
            "% needs \\usepackage{booktabs}",
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{tex(self.caption)}}}",
            f"\\label{{tab:{self.name}}}",
            f"\\begin{{tabular}}{{{kinds}}}",
            "\\toprule",
            " & ".join(map(tex, self.columns)) + " \\\\",
            "\\midrule",
            *(" & ".join(map(_cell, row)) + " \\\\" for row in self.rows),
            "\\bottomrule",
            "\\end{tabular}",
            f"\\par\\smallskip{{\\footnotesize {tex(self.note)}}}",
            "\\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """Full precision, a header, LF line ends."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.raw_columns)
        writer.writerows([one_line(cell) if isinstance(cell, str) else cell for cell in row] for row in self.raw)
        return text.getvalue()


def comparison_table(records: Sequence[JsonObject], where: str, over: str) -> PaperTable:
    """Every comparison; `where`: what tells rows of one pair apart (set, task); `over`: what intervals are over."""
    places = [place_of(record) for record in records]
    several = len(set(places)) > 1
    rows = [
        [record["name"], record["baseline"], *([place] if several else []), *_difference(record)]
        for record, place in zip(records, places, strict=True)
    ]
    raw = [
        [record["name"], record["baseline"], place, *map({**record, **_limits(record)}.get, COMPARED)]
        for record, place in zip(records, places, strict=True)
    ]
    families = " and ".join(dict.fromkeys(str(record["family"]) for record in records))
    return PaperTable(
        "comparisons",
        "Paired differences in accuracy, in points",
        ["", "against", *([where] if several else []), "difference", "p (Holm)", "detectable"],
        rows,
        f"Brackets: 95 % intervals over {over}. Detectable: found with 80 % power. {LEGEND.format(family=families)}.",
        ["name", "baseline", where, *COMPARED],
        raw,
    )


def results_table(results: Results, comparisons: Sequence[JsonObject], baseline: str) -> PaperTable:
    """A row per arm, a column per set: accuracy with its interval, stars where it differs from the baseline."""
    stars = {(c["name"], c["sets"][0]): stars_of(c) for c in comparisons if c["baseline"] == baseline}
    rows: list[list[str | Number]] = []
    raw: list[list[str | float | int | None]] = []
    for arm in results.arms:
        row: list[str | Number] = [arm]
        for name in results.sets:
            outcomes = results.outcomes(arm, [name])
            if outcomes is None:
                row.append(Number("--"))
                continue
            interval = outcomes.interval
            row.append(
                Number(
                    percent(interval.estimate),
                    stars.get((arm, name), ""),
                    (percent(interval.low), percent(interval.high)),
                )
            )
            raw.append(
                [arm, name, interval.estimate, interval.low, interval.high, len(outcomes.ids), len(outcomes.cells)]
            )
        rows.append(row)
    against = f" Against {baseline}: {LEGEND.format(family=comparisons[0]['family'])}." if comparisons else ""
    return PaperTable(
        "results",
        "Accuracy in percent",
        ["", *results.sets],
        rows,
        f"Brackets: 95 % intervals over {results.over}.{against}",
        ["arm", "set", "accuracy", "low", "high", "items", "runs"],
        raw,
    )


def stars_of(record: JsonObject) -> str:
    """Stars of a p-value that Holm's correction has seen; none where it has not."""
    p = record["p_holm"]
    return "" if p is None else next((mark for limit, mark in STARS if p < limit), "")


def place_of(record: JsonObject) -> str:
    """The sets, or the task, that a comparison is about."""
    return " + ".join(record["sets"]) if "sets" in record else record["task"] or "all"


def _difference(record: JsonObject) -> list[Number]:
    limits = _limits(record)
    interval = (signed_points(limits["low"]), signed_points(limits["high"]))
    return [
        Number(signed_points(record["difference"]), stars_of(record), interval),
        Number(shown_p(record["p_holm"])),
        Number("--" if record["detectable"] is None else percent(record["detectable"])),
    ]


def _limits(record: JsonObject) -> dict[str, float]:
    low, high = record["interval"]
    return {"low": low, "high": high}


def _cell(cell: str | Number) -> str:
    if isinstance(cell, str):
        return tex(cell)
    stars = f"^{{{cell.stars}}}" if cell.stars else ""
    interval = f" [${cell.interval[0]}$, ${cell.interval[1]}$]" if cell.interval else ""
    return f"${cell.text}{stars}${interval}" if cell.text != "--" else "--"
