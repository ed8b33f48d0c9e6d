"""Tables for people, on stderr."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from rich.table import Table

from cotdistill.console import console, is_main_process


def results_table(records: Sequence[dict[str, Any]]) -> None:
    """One row per run and set: accuracy with its interval, counts, cost, the embedded world's figures."""
    world = any("conflict" in r or "steps_true" in r for r in records)
    table = Table(box=None, pad_edge=False)
    table.add_column("strategy", no_wrap=True)
    table.add_column("set", no_wrap=True)
    for name in ("accuracy %", "95 % interval", "n", "unparsed", "tokens/question"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("conflict %", "follows cue %", "steps true %") if world else ():
        table.add_column(name, justify="right", no_wrap=True)
    for r in records:
        low, high = r["interval"]
        row = [label(r), r["set"], percent(r["accuracy"]), f"{percent(low)} to {percent(high)}", str(r["n"]),
               str(r["unparsed"]), f"{r['generated_per_question']:.1f}"]
        if world:
            row += [percent(r.get(name)) for name in ("conflict", "follows_cue", "steps_true")]
        table.add_row(*row)
    show(table)


def strategies_table(listed: Sequence[dict[str, Any]]) -> None:
    """Name, paper, what is needed, forms with their shares."""
    table = Table(box=None, pad_edge=False)
    for name in ("strategy", "paper", "needs", "forms (share)", "parameters"):
        table.add_column(name)
    for entry in listed:
        if "broken" in entry:
            table.add_row(entry["name"], entry["origin"], "", f"[bad]broken[/bad]: {entry['broken']}", "")
            continue
        forms = ", ".join(f"{form['name']} ({form['share']:g})" for form in entry["forms"])
        params = ", ".join(f"{name}={value}" for name, value in entry["params"].items())
        table.add_row(entry["name"], entry["paper"], "\n".join(entry["needs"]), forms, params)
    show(table)


def label(record: dict[str, Any]) -> str:
    """A run's strategy with the parameters that are not at their default."""
    return str(record["strategy"])


def percent(value: float | None) -> str:
    """A share as a percentage with one decimal; a dash where it does not apply."""
    return "-" if value is None or value != value else f"{100 * value:.1f}"


def show(table: Table) -> None:
    """Print a table for people."""
    if is_main_process():
        console.print(table)


def ablation_table(records: Sequence[dict[str, Any]]) -> None:
    """One row per variant: mean accuracy over seeds on each set (sd over seeds), then the world's figures and cost."""
    sets = list(dict.fromkeys(r["set"] for r in records))
    labels = list(dict.fromkeys(r["cell"] for r in records))
    world = [name for name in ("conflict", "follows_cue", "steps_true") if any(name in r for r in records)]
    table = Table(box=None, pad_edge=False, title=None)
    table.add_column("accuracy %", no_wrap=True)
    for name in (*sets, *(f"{name.replace('_', ' ')} %" for name in world), "tokens/question", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for cell in labels:
        mine = [r for r in records if r["cell"] == cell]
        by_set = [[r["accuracy"] for r in mine if r["set"] == name] for name in sets]
        world_means = [mean([r[name] for r in mine if r.get(name) is not None and _is_world_set(name, r)])
                       for name in world]
        table.add_row(cell, *map(_mean_sd, by_set), *map(percent, world_means),
                      f"{mean([r['generated_per_question'] for r in mine]):.1f}", f"{_seconds(mine):.1f}")
    show(table)


def _is_world_set(name: str, record: dict[str, Any]) -> bool:
    # Conflict and cue-following mean something only where the cue is uniform: shift, not the training distribution.
    return name == "steps_true" or record["set"].endswith("shift")


def _mean_sd(values: Sequence[float]) -> str:
    if len(values) < 2:
        return percent(mean(values))
    return f"{percent(mean(values))} ± {percent(stdev(values))}"


def _seconds(records: Sequence[dict[str, Any]]) -> float:
    """Training and evaluation of one seed; training is counted once however many sets there are."""
    runs = {r.get("run"): r["seconds"].get("train", 0.0) for r in records}
    return (sum(runs.values()) + sum(r["seconds"]["evaluate"] for r in records)) / max(1, len(runs))


def mean(values: Sequence[float]) -> float | None:
    """The mean; None of nothing."""
    return fmean(values) if values else None
