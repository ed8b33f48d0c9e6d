"""Tables for people, on stderr."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rich.table import Table
from rich.text import Text

from cotdistill.console import say, show


def asked_set(record: Mapping[str, Any]) -> str:
    """A set's name, with the budget of thought it was answered under, if any."""
    budget = record.get("think_budget")
    return str(record["set"]) + ("" if budget is None else f", {budget} tokens of thought")


def results_table(records: Sequence[dict[str, Any]]) -> None:
    """One row per run and set: accuracy with its interval, counts, cost, what a checker says."""
    checked = any("conflict" in r or "steps_true" in r for r in records)
    table = Table(box=None, pad_edge=False)
    table.add_column("strategy", no_wrap=True)
    table.add_column("set", no_wrap=True)
    for name in ("accuracy %", "95 % interval", "n", "unparsed", "ECE %", "tokens/question", "MFLOP", "ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("conflict %", "follows cue %", "steps true %") if checked else ():
        table.add_column(name, justify="right", no_wrap=True)
    names = run_names(records)
    for r in records:
        low, high = r["interval"]
        row = [
            names[r["run"]],
            asked_set(r),
            percent(r["accuracy"]),
            f"{percent(low)} to {percent(high)}",
            str(r["n"]),
            str(r["unparsed"]),
            percent((r.get("calibration") or {}).get("ece")),
            f"{r['generated_per_question']:.1f}",
            _scaled(r.get("flops_per_question"), 1e-6),
            _scaled(r.get("seconds_per_question"), 1e3),
        ]
        if checked:
            row += [percent(r.get(name)) for name in ("conflict", "follows_cue", "steps_true")]
        table.add_row(*row)
    show(table)
    for r in records:
        _say_what_else(r, names[r["run"]])


def _say_what_else(record: dict[str, Any], run: str) -> None:
    """One line for each caveat that the numbers in the table do not show."""
    name = f"{run} on {record['set']}"
    if "accuracy_free" in record:
        say(
            f"{name}: {percent(record['accuracy_free'])} % with the student's own connectors (forced on "
            f"{record['connectors_forced']} of {record['n']})"
        )
    if sampled := record.get("sampled"):
        passed = ", ".join(f"pass@{k} {percent(one['estimate'])}" for k, one in sampled["pass_at_k"].items())
        say(f"{name}: majority of {sampled['samples']} samples {percent(sampled['majority'])} %, {passed} %")
    if flips := record.get("flip_rate"):
        say(f"{name}: {percent(flips['answers'])} % of answers differ between batch sizes {flips['batch_sizes']}")
    gap = record.get("domains", {}).get("gap")
    if gap and record.get("domain") == "in":
        say(
            f"{run}: {', '.join(record['domains']['in']['sets'])} minus "
            f"{', '.join(record['domains']['out']['sets'])}: {100 * gap['estimate']:+.1f} points "
            f"({100 * gap['interval'][0]:+.1f} to {100 * gap['interval'][1]:+.1f})"
        )
    if (shared := record.get("overlap", {})).get("exact"):
        say(f"{name}: {percent(shared['exact'])} % of the questions are also in the training rows", "warn")


def _scaled(value: float | None, factor: float) -> str:
    return "-" if value is None else f"{factor * value:,.1f}"


def strategies_table(listed: Sequence[dict[str, Any]]) -> None:
    """Name, paper, what is needed, forms with their shares."""
    table = Table(box=None, pad_edge=False)
    for name in ("strategy", "paper", "needs", "forms (share)", "parameters"):
        table.add_column(name)
    for entry in listed:
        if "broken" in entry:
            broken = Text.assemble(("broken", "bad"), f": {entry['broken']}")
            table.add_row(entry["name"], entry["origin"], "", broken, "")
            continue
        forms = ", ".join(f"{form['name']} ({form['share']:g})" for form in entry["forms"])
        params = ", ".join(f"{name}={value}" for name, value in entry["params"].items())
        table.add_row(entry["name"], entry["paper"], "\n".join(entry["needs"]), forms, params)
    show(table)


def plugins_table(listed: Sequence[dict[str, Any]]) -> None:
    """Kind, name, what it says of itself, where it comes from."""
    table = Table(box=None, pad_edge=False)
    for name in ("kind", "name", "about", "origin"):
        table.add_column(name)
    for entry in listed:
        broken = Text.assemble(("broken", "bad"), f": {entry['broken']}") if "broken" in entry else Text(entry["about"])
        table.add_row(entry["kind"], entry["name"], broken, Text(entry["origin"]))
    show(table)


def run_names(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """{run: its name in a table}: the strategy where one run has it, else the run's own name."""
    strategies = {str(r["run"]): str(r["strategy"]) for r in records}
    shared = [strategy for strategy in strategies.values() if list(strategies.values()).count(strategy) > 1]
    return {run: Path(run).name if strategy in shared else strategy for run, strategy in strategies.items()}


def percent(value: float | None) -> str:
    """A share as a percentage with one decimal; a dash where it does not apply."""
    return "-" if value is None or value != value else f"{100 * value:.1f}"


def ablation_table(records: Sequence[dict[str, Any]]) -> None:
    """One row per arm: mean accuracy over seeds on each set (sd over seeds), then what a checker says and cost."""
    records = [record for record in records if "sets" in record]
    sets = list(dict.fromkeys(name for record in records for name in record["sets"]))
    metrics = [figures for record in records for figures in record["sets"].values()]
    checked = [name for name in ("conflict", "follows_cue", "steps_true") if any(name in one for one in metrics)]
    table = Table(box=None, pad_edge=False)
    table.add_column("accuracy %", no_wrap=True)
    for name in (*sets, *(f"{name.replace('_', ' ')} %" for name in checked), "tokens/question", "seconds"):
        table.add_column(name, justify="right")
    for arm in dict.fromkeys(record["arm"] for record in records):
        mine = [record for record in records if record["arm"] == arm]
        by_set = [[r["sets"][name]["accuracy"] for r in mine if name in r["sets"]] for name in sets]
        tokens = [one["generated_per_question"] for r in mine for one in r["sets"].values()]
        seconds = [sum(r["seconds"].values()) for r in mine if "seconds" in r]
        table.add_row(
            arm + (" (control)" if mine[0]["role"] == "control" else ""),
            *map(_mean_sd, by_set),
            *(percent(mean(checked_values(mine, name))) for name in checked),
            f"{mean(tokens):.1f}",
            f"{mean(seconds):.1f}" if seconds else "-",
        )
    show(table)


def checked_values(records: Sequence[dict[str, Any]], name: str) -> list[float]:
    """One of the figures of a checkable task, over all sets for which it is meaningful.

    Conflict and cue-following are reported on the `shifted` sets: elsewhere the cue mostly helps, or the questions are
    harder.
    """
    return [
        figures[name]
        for record in records
        for figures in record["sets"].values()
        if name in figures and (name == "steps_true" or figures.get("shifted"))
    ]


def _mean_sd(values: Sequence[float]) -> str:
    if len(values) < 2:
        return percent(mean(values))
    return f"{percent(mean(values))} ± {percent(stdev(values))}"


def intervals_over(runs: int, units: str = "questions") -> str:
    """What 95 % intervals are over: a single run (`runs`: the most of any side) says nothing of another seed."""
    return f"seeds and {units}" if runs > 1 else units


def mean(values: Sequence[float]) -> float | None:
    """The mean; None of nothing."""
    return fmean(values) if values else None
