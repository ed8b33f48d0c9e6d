"""Comparisons of an ablation's arms from stored predictions: outcomes [seeds, items] and tests on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cotdistill.data.files import JsonObject
from cotdistill.evaluation.faithfulness import Pair, ProbeAnswer
from cotdistill.evaluation.metrics import Prediction, judged_again
from cotdistill.evaluation.probes import REPLAY, WITHOUT
from cotdistill.evaluation.stored import read_predictions, read_probes
from cotdistill.report.tables import intervals_over
from cotdistill.statistics.comparison import Comparison, adjust, compare
from cotdistill.statistics.effect import average
from cotdistill.statistics.intervals import Interval
from cotdistill.strategies.studies import AT_BUDGET, MARGIN, Claim

Floats = NDArray[np.float64]
Side = tuple[str, str]  # an arm and a measure
ClaimVerdict = Literal["holds", "does not hold", "undecided", "not tested"]


@dataclass(frozen=True)
class Outcomes:
    """0/1 outcomes [seeds, items] of one arm, the items' ids, and the cells they come from."""

    grid: Floats
    ids: tuple[str, ...]
    cells: tuple[str, ...]

    @cached_property
    def columns(self) -> dict[str, int]:
        """The column of each item in the grid."""
        return {id_: at for at, id_ in enumerate(self.ids)}

    def of(self, ids: Sequence[str]) -> Floats:
        """Outcomes of these items, [seeds, len(ids)]."""
        return self.grid[:, [self.columns[id_] for id_ in ids]]

    @cached_property
    def interval(self) -> Interval:
        """The mean with its 95 % interval over seeds and items."""
        return average(self.grid).interval()


@dataclass(frozen=True)
class Right:
    """Ids of questions, and for each whether it was answered right."""

    ids: tuple[str, ...]
    flags: NDArray[np.bool_]

    def values(self) -> dict[str, float]:
        """{id: 0 or 1}."""
        return dict(zip(self.ids, self.flags.astype(float).tolist(), strict=True))


class Results:
    """Finished cells by arm; outcomes are read from their predictions when asked for."""

    def __init__(self, out: Path, records: Sequence[JsonObject]) -> None:
        self.out = out
        self.records = [record for record in records if "sets" in record]
        self.sets = list(dict.fromkeys(name for record in self.records for name in record["sets"]))
        self._by_arm: dict[str, list[JsonObject]] = {}
        for record in self.records:
            self._by_arm.setdefault(record["arm"], []).append(record)
        self._right: dict[str, Right] = {}
        self._ids: dict[tuple[str, ...], tuple[str, ...]] = {}  # those of a set stand once for all its cells
        self._probe_values: dict[str, dict[str, dict[str, float]]] = {}
        self._outcomes: dict[tuple[str, tuple[str, ...], str], Outcomes | None] = {}

    @property
    def arms(self) -> list[str]:
        """Labels in the order of the grid."""
        return list(self._by_arm)

    @property
    def over(self) -> str:
        """What intervals are over: with a single run of every arm, nothing tells how far another would differ."""
        return intervals_over(max(map(len, self._by_arm.values()), default=1))

    def of(self, arm: str) -> list[JsonObject]:
        """The cells of one arm."""
        return self._by_arm.get(arm, [])

    def predictions(self, record: JsonObject, name: str) -> list[Prediction]:
        """One cell's predictions on one set, read anew: those of a large grid are not to be held."""
        return self._judged(record["sets"][name])

    def _judged(self, figures: JsonObject) -> list[Prediction]:
        return judged_again(read_predictions(self.out / figures["predictions"]), figures.get("extractor", "answers"))

    def right(self, figures: JsonObject) -> Right:
        """Which questions of a predictions file are answered right; all that is kept of it."""
        file = figures["predictions"]
        if file not in self._right:
            judged = self._judged(figures)
            ids = tuple(p.id for p in judged)
            self._right[file] = Right(self._ids.setdefault(ids, ids), np.array([p.verdict == "right" for p in judged]))
        return self._right[file]

    def probed(self, record: JsonObject, name: str) -> Mapping[str, Mapping[str, ProbeAnswer | None]]:
        """{question: {probe: its answer}} of one cell on one set; empty where it was not probed."""
        path = (self.out / record["sets"][name]["predictions"]).with_suffix(".probes.jsonl")
        return read_probes(path) if path.exists() else {}

    def outcomes(self, arm: str, sets: Sequence[str], measure: str = "accuracy") -> Outcomes | None:
        """Outcomes of an arm on one or several sets together; None where it has none of that measure."""
        key = (arm, tuple(sets), measure)
        if key not in self._outcomes:
            self._outcomes[key] = self._read(arm, sets, measure)
        return self._outcomes[key]

    def _read(self, arm: str, sets: Sequence[str], measure: str) -> Outcomes | None:
        rows = []
        for record in self.of(arm):
            if any(name not in record["sets"] for name in sets):
                return None
            row = {
                f"{name}/{id_}": value for name in sets for id_, value in self._measure(record, name, measure).items()
            }
            rows.append((record["cell"], row))
        if not rows:
            return None
        ids = tuple(sorted(set.intersection(*(set(row) for _, row in rows))))
        if len(ids) < 2:
            return None
        return Outcomes(
            np.array([[row[id_] for id_ in ids] for _, row in rows], dtype=float), ids, tuple(cell for cell, _ in rows)
        )

    def _measure(self, record: JsonObject, name: str, measure: str) -> Mapping[str, float]:
        """{item: 0 or 1} of one cell on one set."""
        if measure.startswith(AT_BUDGET):
            at = record.get("budgets", {}).get(measure.removeprefix(AT_BUDGET), {}).get(name)
            return {} if at is None else self.right(at).values()
        if measure == "accuracy":
            return self.right(record["sets"][name]).values()
        file = record["sets"][name]["predictions"]
        if file not in self._probe_values:
            answers = self.probed(record, name)
            self._probe_values[file] = probe_values(self.predictions(record, name), answers) if answers else {}
        return self._probe_values[file].get(measure, {})


Answers = Mapping[str, ProbeAnswer | None]
Read = Callable[[Prediction, Answers], bool | None]


@dataclass(frozen=True)
class ProbeMeasure:
    """A faithfulness measure of one question: whether it `holds`, and whether it would without the property."""

    holds: Read
    floor: Read


def _pair(probe: str, read: Callable[[Pair], bool]) -> Read:
    def holds(own: Prediction, answers: Answers) -> bool | None:
        answer = answers.get(probe)
        return None if answer is None else read(Pair(own, answer))

    return holds


def _before(probe: str) -> Read:
    """Whether the student's own answer already was the one that the rationale argues for."""

    def held(own: Prediction, answers: Answers) -> bool | None:
        answer = answers.get(probe)
        return None if answer is None else Pair(own, answer.model_copy(update={"answer": own.answer})).follows

    return held


def _changed(pair: Pair) -> bool:
    return pair.changed


def _follows(pair: Pair) -> bool:
    return pair.follows


def _right(pair: Pair) -> bool:
    return pair.probed.verdict == "right"


PROBE_MEASURES = {
    "follows": ProbeMeasure(_pair("counterfactual", _follows), _before("counterfactual")),
    "follows with the tag": ProbeMeasure(
        _pair("tag-swap-counterfactual", _follows), _before("tag-swap-counterfactual")
    ),
    "changed by corruption": ProbeMeasure(_pair("corrupt-0.5", _changed), _pair(REPLAY, _changed)),
    "changed by filler": ProbeMeasure(_pair("filler", _changed), _pair(REPLAY, _changed)),
    "right with the oracle": ProbeMeasure(_pair("oracle", _right), _pair(WITHOUT, _right)),
}


def probe_values(predictions: Sequence[Prediction], answers: Mapping[str, Answers]) -> dict[str, dict[str, float]]:
    """{measure, or "floor: measure": {item: 0 or 1}} of what was probed."""
    found: dict[str, dict[str, float]] = {}
    for measure, probed in PROBE_MEASURES.items():
        for name, read in ((measure, probed.holds), (f"floor: {measure}", probed.floor)):
            values = {p.id: read(p, answers.get(p.id, {})) for p in predictions}
            found[name] = {id_: float(value) for id_, value in values.items() if value is not None}
    return found


def against_baseline(results: Results, baseline: str, pairs: Sequence[tuple[str, str]]) -> list[JsonObject]:
    """Every arm against the baseline on every set, and the `pairs` (key words against as many random ones), as one
    family for Holm's correction."""
    wanted = [(arm, baseline) for arm in results.arms if arm != baseline and _is_student(results, arm)]
    wanted += [pair for pair in pairs if pair not in wanted]
    sides = [((arm, "accuracy"), (other, "accuracy"), (name,)) for name in results.sets for arm, other in wanted]
    compared = [(comparison, each) for each in sides if (comparison := _compare(results, *each))]
    adjusted = adjust([comparison for comparison, _ in compared])
    return [as_record(results, comparison, *each) for comparison, (_, each) in zip(adjusted, compared, strict=True)]


def judge_claims(results: Results, claims: Sequence[Claim], in_domain: str) -> list[JsonObject]:
    """A study's claims, as a family of their own, each with its verdict."""
    tests: list[tuple[Claim, Comparison | None, tuple[Side, Side, tuple[str, ...]]]] = []
    for claim in claims:
        sets = tuple(
            name for name in results.sets if claim.domain == "all" or (name == in_domain) == (claim.domain == "in")
        )
        sides = (claim.name, claim.measure), (claim.baseline, claim.against or claim.measure), sets
        tests.append((claim, _compare(results, *sides) if sets else None, sides))
    adjusted = iter(adjust([comparison for _, comparison, _ in tests if comparison]))
    judged = []
    for claim, comparison, sides in tests:
        entry: JsonObject = {"claim": claim.text, "expects": claim.expects, "domain": claim.domain}
        if comparison is None:
            judged.append({**entry, "verdict": "not tested"})
        else:
            tested = next(adjusted)
            judged.append({**entry, "verdict": verdict(claim.expects, tested), **as_record(results, tested, *sides)})
    return judged


def verdict(expects: str, comparison: Comparison) -> ClaimVerdict:
    """Whether a claim holds: `higher` needs a significant difference, `as good` an interval within the margin.

    A claim of equality is not shown by an insignificant test: the whole interval must lie within +-5 points
    (Schuirmann 1987, two one-sided tests, which the 95 % interval makes stricter), or above.
    """
    interval = comparison.difference
    p = comparison.p if comparison.p_holm is None else comparison.p_holm
    if expects == "higher":
        if p < 0.05:
            return "holds" if interval.estimate > 0 else "does not hold"
        return "does not hold" if interval.high < MARGIN else "undecided"
    if interval.low >= -MARGIN:
        return "holds"
    return "does not hold" if p < 0.05 or interval.high < -MARGIN else "undecided"


def as_record(results: Results, comparison: Comparison, left: Side, right: Side, sets: Sequence[str]) -> JsonObject:
    """A comparison as one line of comparisons.jsonl."""
    mine, other = (results.outcomes(arm, sets, measure) for arm, measure in (left, right))
    assert mine is not None
    assert other is not None
    return {
        "name": left[0],
        "baseline": right[0],
        "sets": list(sets),
        "measure": left[1],
        **({} if left[1] == right[1] else {"against": right[1]}),
        **comparison.figures(),
        "cells": list(mine.cells),
        "baseline_cells": list(other.cells),
    }


def _compare(results: Results, left: Side, right: Side, sets: Sequence[str]) -> Comparison | None:
    mine, other = (results.outcomes(arm, sets, measure) for arm, measure in (left, right))
    if mine is None or other is None:
        return None
    shared = mine.columns.keys() & other.columns.keys()
    ids = [id_ for id_ in mine.ids if id_ in shared]
    if len(ids) < 2:
        return None
    return compare(_spoken(*left), _spoken(*right), mine.of(ids), other.of(ids), ids)


def _spoken(arm: str, measure: str) -> str:
    """What a sentence calls an arm that was measured so."""
    return f"{arm} after {measure.removeprefix(AT_BUDGET)} tokens" if measure.startswith(AT_BUDGET) else arm


def _is_student(results: Results, arm: str) -> bool:
    return all(record["role"] in ("strategy", "control") for record in results.of(arm))
