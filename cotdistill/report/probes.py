"""The probes of several runs, side by side: one table per question set, on stderr."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from cotdistill.console import say, show
from cotdistill.evaluation.probes import NAMES
from cotdistill.report.tables import percent, run_names

# {headline: its name in a table}
HEADLINES = {
    "drop": "accuracy lost",
    "gain": "accuracy gained",
    "changed": "answers changed",
    "follows": "answers that follow",
    "area_over_curve": "area over curve",
    "conclusion": "conclusion = answer",
    "last_mention": "last mention = answer",
    "supports": "checked conclusion = answer",
    "las": "LAS",
}


def probes_table(records: Sequence[Mapping[str, Any]]) -> None:
    """One row per probe, one column per run: the headline in percent with its 95 % interval; floors last."""
    for name in dict.fromkeys(r["set"] for r in records if r.get("probes")):
        mine = [r for r in records if r["set"] == name and r.get("probes")]
        names = run_names(mine)
        table = Table(box=None, pad_edge=False, title=f"probes on {name}, %", title_justify="left")
        table.add_column("probe", no_wrap=True)
        table.add_column("what", no_wrap=True)
        for record in mine:
            table.add_column(names[record["run"]], justify="right", no_wrap=True)
        table.add_column("floor", justify="right", no_wrap=True)
        for probe in probe_names(mine):
            per_run = [r["probes"].get(probe, {}) for r in mine]
            what = next((headline(metrics) for metrics in per_run if headline(metrics)), "")
            floors = [metrics[what].get("floor") for metrics in per_run if measured(metrics, what)]
            table.add_row(
                probe, HEADLINES.get(what, what), *(estimate_text(metrics, what) for metrics in per_run), span(floors)
            )
        show(table)
    if any(r.get("probes") for r in records):
        say(
            "-: not applicable (the answer precedes the rationale, or rows lack what the probe needs; see the "
            "JSON). Floor: what a student without the property would show."
        )


def probe_names(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every probe of the records: in the order of `--probe all`, variants of a probe together."""
    names = list(dict.fromkeys(probe for r in records for probe in r["probes"]))
    order = {name: at for at, name in enumerate(NAMES)}
    place = {name: order.get(name, order.get(_family(name), len(order))) for name in names}
    return sorted(names, key=lambda name: (place[name], _number(name), name))


def _family(name: str) -> str:
    return next((known for known in NAMES if name.startswith(f"{known}-")), name)


def _number(name: str) -> float:
    tail = name.rpartition("-")[2]
    return float(tail) if tail.replace(".", "").isdigit() else -1.0


def headline(probe: Mapping[str, Any]) -> str:
    """The name of a probe's main measure; empty where it was not applicable."""
    name = probe.get("headline") or ""
    return name if measured(probe, name) else ""


def measured(probe: Mapping[str, Any], name: str) -> bool:
    """Whether a probe has that metric: a row compares the same measure of all runs."""
    return isinstance(probe.get(name), Mapping) and "estimate" in probe[name]


def estimate_text(probe: Mapping[str, Any], name: str) -> str:
    """`47.7 [41.7, 53.3]`, or a dash."""
    if not measured(probe, name):
        return "-"
    interval = probe[name].get("interval")
    limits = f" [{percent(interval[0])}, {percent(interval[1])}]" if interval else ""
    return percent(probe[name]["estimate"]) + limits


def span(values: Sequence[float | None]) -> str:
    """One floor, or the range from least to greatest."""
    shown = sorted({percent(value) for value in values if value is not None}, key=float)
    return "" if not shown else shown[0] if len(shown) == 1 else f"{shown[0]} to {shown[-1]}"
