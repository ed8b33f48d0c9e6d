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
    "acknowledges": "followed cue acknowledged",
    "names": "followed cue's answer named",
    "las": "LAS",
}
AREAS = {"supports": "AUROC", "sound": "AUROC (proof)", "steps": "AUROC (steps)"}
AREAS_SAY = (
    "AUROC: how well the probe's score of each rationale tells those that end at the student's answer from the others, "
    "by the checker; (proof): right answers that are proved from those that are not; (steps): true and linked steps "
    "from others. 0.5 is chance; -: not applicable."
)
NO_AREAS = (
    "AUROC: not applicable, no probe had both kinds of rationales to tell apart by a checker of the questions (the "
    "JSON says why)."
)


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
        beside = [(label, record) for label in area_labels(mine) for record in mine]
        for label, record in beside:
            table.add_column(area_heading(label, mine, names[record["run"]]), justify="right")
        for probe in probe_names(mine):
            per_run = [r["probes"].get(probe, {}) for r in mine]
            what = next((headline(metrics) for metrics in per_run if headline(metrics)), "")
            floors = [metrics[what].get("floor") for metrics in per_run if measured(metrics, what)]
            table.add_row(
                probe,
                HEADLINES.get(what, what),
                *(estimate_text(metrics, what) for metrics in per_run),
                span(floors),
                *(area_text(record["probes"].get(probe, {}), label) for label, record in beside),
            )
        show(table)
        say(AREAS_SAY if beside else NO_AREAS)
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


def area_labels(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which labels of the checker some probe of some record has an area for, in their order."""
    return [label for label in AREAS if any(area_text(p, label) != "-" for r in records for p in r["probes"].values())]


def area_heading(label: str, records: Sequence[object], run: str) -> str:
    """The heading of a column of areas; it names the run where there are several."""
    return AREAS[label] if len(records) == 1 else f"{AREAS[label]} {run}"


def area_text(probe: Mapping[str, Any], label: str) -> str:
    """`0.62 [0.55, 0.69]`, or a dash where the probe has no such area."""
    of = probe.get("auroc", {}).get(label, {})
    if "estimate" not in of:
        return "-"
    low, high = of["interval"]
    return f"{of['estimate']:.2f} [{low:.2f}, {high:.2f}]"


def area_note(probe: Mapping[str, Any], label: str) -> str | None:
    """What an area was computed from, or why there is none."""
    entry = probe.get("auroc", {})
    of = entry.get(label, entry)
    if "estimate" not in of:
        return str(of["not_applicable"]) if "not_applicable" in of else None
    return f"score: {entry['score']}; {of['positive']} of {of['n']} are what the checker calls faithful"


def span(values: Sequence[float | None]) -> str:
    """One floor, or the range from least to greatest."""
    shown = sorted({percent(value) for value in values if value is not None}, key=float)
    return "" if not shown else shown[0] if len(shown) == 1 else f"{shown[0]} to {shown[-1]}"
