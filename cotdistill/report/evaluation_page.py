"""The page of `evaluate --html`: figures, tables and single questions of the runs that were evaluated together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cotdistill.data.files import JsonObject
from cotdistill.data.runcard import package_versions
from cotdistill.report import confidence
from cotdistill.report import plots as figures
from cotdistill.report.marks import probes_figure
from cotdistill.report.page import Block, Bullets, Figure, Report, Section, Table, Text, Value, to_html
from cotdistill.report.plots import Point
from cotdistill.report.probes import (
    AREAS_SAY,
    HEADLINES,
    NO_AREAS,
    area_heading,
    area_labels,
    area_note,
    area_text,
    headline,
    measured,
    probe_names,
    span,
)
from cotdistill.report.questions import RunAnswers, browser
from cotdistill.report.tables import asked_set, percent, run_names
from cotdistill.report.thought import thought_figures

KEY_PROBES = ("oracle", "corrupt-0.5", "swapped", "filler", "counterfactual", "mistake", "consistency")


def page(records: Sequence[JsonObject], answered: Sequence[RunAnswers]) -> str:
    """One self-contained HTML page: `records` as `evaluate` prints them, `answered`: the outputs."""
    names = run_names(records)
    records = [{**r, "name": names[r["run"]]} for r in records]
    curves = thought_figures(records)
    records = [{**r, "set": asked_set(r)} for r in records]
    runs = list(names.values())
    sets = list(dict.fromkeys(r["set"] for r in records))
    sections = [Section("Accuracy", [*accuracy_blocks(records), *curves])]
    if any(r.get("probes") for r in records):
        sections.append(Section("Faithfulness", faithfulness_blocks(records)))
    if any(r.get("calibration") for r in records):
        sections.append(Section("Calibration", calibration_blocks(records)))
    if any(r.get("overlap") for r in records):
        sections.append(Section("Overlap with training", [contamination_table(records)]))
    sections.append(
        Section(
            "Questions",
            [
                Text(
                    "✓ right, ✗ wrong, ? nothing readable; ↷ the answer is another than after the run's own rationale."
                ),
                browser([replace(subject, run=names[subject.run]) for subject in answered]),
            ],
        )
    )
    versions = ", ".join(f"{name} {version}" for name, version in package_versions().items())
    lead = f"{', '.join(runs)} on {', '.join(sets)}: what they answer, and whether the answer follows the rationale."
    return to_html(Report("Evaluation", lead, sections, f"cotdistill evaluate; {versions}"))


def accuracy_blocks(records: Sequence[JsonObject]) -> list[Block]:
    """The table of results, and in-domain against out-of-domain where there are several sets."""
    columns = [
        "run",
        "set",
        "right %",
        "95 % interval",
        "n",
        "unparsed",
        "macro %",
        "last mention %",
        "tokens",
        "MFLOP",
        "ms",
    ]
    rows = []
    for r in records:
        rows.append(
            [
                Value(r["name"], r["run"]),
                Value(r["set"]),
                Value(percent(r["accuracy"])),
                Value(_interval(r["interval"])),
                Value(str(r["n"])),
                Value(str(r["unparsed"])),
                Value(percent(r["macro"])),
                Value(percent(r["sensitivity"]["accuracy"]), r["sensitivity"]["extractor"]),
                Value(f"{r['generated_per_question']:.1f}"),
                Value(_scaled(r["flops_per_question"], 1e-6)),
                Value(_scaled(r["seconds_per_question"], 1e3)),
            ]
        )
    blocks: list[Block] = [
        Table(columns, rows, words=2),
        Text(
            "Intervals are Wilson's, over questions alone. Last mention: by the second, cruder extractor. Tokens: "
            "generated for one question; MFLOP: of all its forward passes, prompts included; "
            "ms: as measured when the predictions were made."
        ),
    ]
    gaps = {r["name"]: r["domains"] for r in records if r.get("domains", {}).get("gap")}
    blocks += [Bullets([_gap(run, pooled) for run, pooled in gaps.items()])] if gaps else []
    return blocks


def faithfulness_blocks(records: Sequence[JsonObject]) -> list[Block]:
    """A table, and two figures per set."""
    blocks: list[Block] = [
        Text(
            "Each probe walks the plan again with something else in the rationale's place. The floor is what a student "
            "without the property would show. A dash: not applicable, for instance because the answer stands before "
            "the rationale."
        )
    ]
    for name in dict.fromkeys(r["set"] for r in records if r.get("probes")):
        mine = [r for r in records if r["set"] == name and r.get("probes")]
        blocks += [probe_table(name, mine), Text(AREAS_SAY if area_labels(mine) else NO_AREAS)]
        curves: dict[str, Sequence[Point]] = {
            r["name"]: [
                Point(r["name"], at["accuracy"], at["accuracy"], at["accuracy"], x=100 * at["kept"])
                for at in r["probes"]["truncation"]["curve"]
            ]
            for r in mine
            if r["probes"].get("truncation", {}).get("curve")
        }
        if curves:
            drawing = figures.curves(curves, "% of the rationale given", name, {})
            blocks.append(
                Figure(
                    f"truncation-{name}",
                    figures.inline(drawing),
                    f"{name}: accuracy when only the first part of the run's own rationale is given before it must "
                    "answer.",
                )
            )
        if marks := _marks(mine):
            blocks.append(
                Figure(
                    f"probes-{name}",
                    figures.inline(probes_figure(marks)),
                    f"{name}: how far answers depend on the rationale that is given, with 95 % intervals; bars "
                    "across: floors.",
                )
            )
    blocks += las_blocks(records)
    return blocks


def probe_table(name: str, records: Sequence[JsonObject]) -> Table:
    """One row per probe, one column per run; beside them how well each probe tells faithful rationales from others."""
    rows = []
    beside = [(label, record) for label in area_labels(records) for record in records]
    for probe in probe_names(records):
        per_run = [r["probes"].get(probe, {}) for r in records]
        what = next((headline(metrics) for metrics in per_run if headline(metrics)), "")
        cells = [
            Value(
                percent(metrics[what]["estimate"]) + _brackets(metrics[what].get("interval")), f"n = {metrics.get('n')}"
            )
            if measured(metrics, what)
            else Value("-", metrics.get("not_applicable"))
            for metrics in per_run
        ]
        floors = [metrics[what].get("floor") for metrics in per_run if measured(metrics, what)]
        areas = [
            Value(area_text(metrics, label), area_note(metrics, label))
            for label, record in beside
            for metrics in [record["probes"].get(probe, {})]
        ]
        rows.append([Value(probe), Value(HEADLINES.get(what, what)), *cells, Value(span(floors)), *areas])
    headings = [area_heading(label, records, record["name"]) for label, record in beside]
    return Table([f"probe on {name}", "what, %", *(r["name"] for r in records), "floor", *headings], rows, words=2)


def las_blocks(records: Sequence[JsonObject]) -> list[Block]:
    """LAS with both of its terms: a student that is often wrong from the question alone seems more faithful."""
    rows = []
    for r in records:
        for probe, metrics in (r.get("probes") or {}).items():
            if "las" in metrics:
                told = metrics["simulator_accuracy"]
                rows.append(
                    [
                        Value(r["name"]),
                        Value(r["set"]),
                        Value(metrics["simulator"]),
                        Value(percent(metrics["las"]["estimate"]) + _brackets(metrics["las"]["interval"]), probe),
                        Value(percent(metrics["with_rationale"])),
                        Value(percent(metrics["question_alone"])),
                        Value(f"{metrics['leaking']['n']} / {metrics['non-leaking']['n']}"),
                        *(Value(percent(told[what]["estimate"])) for what in told),
                    ]
                )
    if not rows:
        return []
    columns = [
        "run",
        "set",
        "simulator",
        "LAS",
        "with rationale",
        "question alone",
        "leaking / not",
        "foreseen from both",
        "from question",
        "from rationale",
    ]
    return [
        Table(columns, rows, words=3),
        Text(
            "LAS is the mean over leaking and non-leaking questions of (foreseen with the rationale) minus (foreseen "
            "from the question alone), in percent. It rises when the second falls: read both."
        ),
    ]


def calibration_blocks(records: Sequence[JsonObject]) -> list[Block]:
    """ECE, Brier score and area under risk-coverage; two figures per set."""
    rows = [
        [
            Value(r["name"]),
            Value(r["set"]),
            Value(percent(c.get("mean_confidence"))),
            Value(percent(c.get("ece"))),
            Value(f"{c['brier']:.3f}"),
            Value(f"{c['aurc']:.3f}"),
            Value(str(c["n"])),
        ]
        for r in records
        if (c := r.get("calibration")) and c["n"]
    ]
    columns = ["run", "set", "confidence %", "ECE %", "Brier", "AURC", "answers"]
    blocks: list[Block] = [
        Table(columns, rows, words=2),
        Text(
            "Confidence: the answer's share in the likelihood of all choices after the walk; of a free answer the "
            "geometric mean of its tokens' probabilities. AURC: mean error over coverage; the error rate itself if "
            "confidence says nothing."
        ),
    ]
    for name in dict.fromkeys(r["set"] for r in records):
        mine = [r for r in records if r["set"] == name]
        if bins := confidence.bins_of(mine, "reliability"):
            blocks.append(
                Figure(
                    f"reliability-{name}",
                    figures.inline(confidence.reliability_figure(bins)),
                    f"{name}: right answers over confidence; larger marks hold more answers.",
                )
            )
        if curves := confidence.bins_of(mine, "risk_coverage"):
            blocks.append(
                Figure(
                    f"risk-coverage-{name}",
                    figures.inline(confidence.risk_coverage_figure(curves)),
                    f"{name}: error if only the surest answers are kept.",
                )
            )
    return blocks


def contamination_table(records: Sequence[JsonObject]) -> Table:
    """How much of each set occurs in the training rows."""
    rows = [
        [
            Value(r["name"]),
            Value(r["set"]),
            Value(percent(o["exact"]), "; ".join(o["examples"]) or None),
            Value(percent(o["with_choices"])),
            Value(percent(o["ngram"])),
            Value(percent(o["covered"])),
            Value(str(o["training"])),
        ]
        for r in records
        if (o := r.get("overlap"))
    ]
    return Table(
        ["run", "set", "same question %", "and choices %", "shares 8 words %", "runs of 8 covered %", "training rows"],
        rows,
        words=2,
    )


def _marks(records: Sequence[JsonObject]) -> dict[str, list[Point]]:
    """{run: a point for each of the main probes of one set} of those runs that have them."""
    points: dict[str, list[Point]] = {}
    for r in records:
        for probe in KEY_PROBES:
            metrics = r["probes"].get(probe, {})
            what = headline(metrics)
            if what and metrics[what].get("interval"):
                low, high = metrics[what]["interval"]
                name = f"{probe}: {HEADLINES.get(what, what)}"
                point = Point(name, metrics[what]["estimate"], low, high, floor=metrics[what]["floor"])
                points.setdefault(r["name"], []).append(point)
    return points


def _gap(run: str, pooled: Mapping[str, Any]) -> str:
    gap, (low, high) = pooled["gap"]["estimate"], pooled["gap"]["interval"]
    sides = [
        f"{', '.join(pooled[side]['sets'])} {percent(pooled[side]['micro'])} % (macro "
        f"{percent(pooled[side]['macro'])} %)"
        for side in ("in", "out")
    ]
    return (
        f"{run}: in domain {sides[0]}, out of domain {sides[1]}: a gap of {100 * gap:+.1f} points "
        f"({100 * low:+.1f} to {100 * high:+.1f})"
    )


def _interval(limits: Sequence[float]) -> str:
    return f"{percent(limits[0])} to {percent(limits[1])}"


def _brackets(limits: Sequence[float] | None) -> str:
    return f" [{percent(limits[0])}, {percent(limits[1])}]" if limits else ""


def _scaled(value: float | None, factor: float) -> str:
    return "-" if value is None else f"{factor * value:,.1f}"
