"""Arms of an ablation held against each other, from stored predictions: outcomes [seeds, items] and what they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cotdistill.evaluation.effect import average
from cotdistill.evaluation.faithfulness import Pair, ProbeAnswer
from cotdistill.evaluation.intervals import Interval
from cotdistill.evaluation.metrics import Prediction, judged_again
from cotdistill.evaluation.probes import REPLAY, WITHOUT
from cotdistill.evaluation.statistics import Comparison, adjust, compare, sentence
from cotdistill.report.stored import read_predictions, read_probes
from cotdistill.strategies.studies import MARGIN, Claim

Floats = NDArray[np.float64]
Record = dict[str, Any]
Verdict = Literal["holds", "does not hold", "undecided", "not tested"]


@dataclass(frozen=True)
class Outcomes:
    """0/1 outcomes [seeds, items] of one arm, the items' ids, and the cells they come from."""

    grid: Floats
    ids: tuple[str, ...]
    cells: tuple[str, ...]

    @cached_property
    def columns(self) -> dict[str, int]:
        """Where an item stands in the grid."""
        return {id_: at for at, id_ in enumerate(self.ids)}

    def of(self, ids: Sequence[str]) -> Floats:
        """Outcomes of these items, [seeds, len(ids)]."""
        return self.grid[:, [self.columns[id_] for id_ in ids]]

    @cached_property
    def interval(self) -> Interval:
        """The mean with its 95 % interval over seeds and items."""
        return average(self.grid).interval()


class Results:
    """Finished cells by arm; outcomes are read from their predictions when asked for."""

    def __init__(self, out: Path, records: Sequence[Record]) -> None:
        self.out = out
        self.records = [record for record in records if "sets" in record]
        self.sets = list(dict.fromkeys(name for record in self.records for name in record["sets"]))
        self._by_arm: dict[str, list[Record]] = {}
        for record in self.records:
            self._by_arm.setdefault(record["arm"], []).append(record)
        self._predictions: dict[str, list[Prediction]] = {}
        self._outcomes: dict[tuple[str, tuple[str, ...], str], Outcomes | None] = {}

    @property
    def arms(self) -> list[str]:
        """Labels in the order of the grid."""
        return list(self._by_arm)

    def of(self, arm: str) -> list[Record]:
        """The cells of one arm."""
        return self._by_arm.get(arm, [])

    def predictions(self, record: Record, name: str) -> list[Prediction]:
        """What one cell said on one set."""
        file = record["sets"][name]["predictions"]
        if file not in self._predictions:
            judged = judged_again(read_predictions(self.out / file), record["sets"][name].get("extractor", "answers"))
            self._predictions[file] = judged
        return self._predictions[file]

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
            row = {f"{name}/{id_}": value for name in sets
                   for id_, value in self._measure(record, name, measure).items()}
            rows.append((record["cell"], row))
        if not rows:
            return None
        ids = tuple(sorted(set.intersection(*(set(row) for _, row in rows))))
        if len(ids) < 2:
            return None
        return Outcomes(np.array([[row[id_] for id_ in ids] for _, row in rows], dtype=float), ids,
                        tuple(cell for cell, _ in rows))

    def _measure(self, record: Record, name: str, measure: str) -> Mapping[str, float]:
        """{item: 0 or 1} of one cell on one set."""
        predictions = self.predictions(record, name)
        if measure == "accuracy":
            return {p.id: float(p.verdict == "right") for p in predictions}
        path = (self.out / record["sets"][name]["predictions"]).with_suffix(".probes.jsonl")
        answers = read_probes(path) if path.exists() else {}
        probed = PROBED[measure.removeprefix("floor: ")]
        read = probed.floor if measure.startswith("floor: ") else probed.holds
        found = {p.id: read(p, answers.get(p.id, {})) for p in predictions}
        return {id_: float(value) for id_, value in found.items() if value is not None}


Answers = Mapping[str, ProbeAnswer | None]
Read = Callable[[Prediction, Answers], bool | None]


@dataclass(frozen=True)
class Probed:
    """A faithfulness measure of one question: whether it `holds`, and whether it would without the property."""

    holds: Read
    floor: Read


def _pair(probe: str, read: Callable[[Pair], bool]) -> Read:
    def holds(own: Prediction, answers: Answers) -> bool | None:
        answer = answers.get(probe)
        return None if answer is None else read(Pair(own, answer))

    return holds


def _before(probe: str) -> Read:
    """Whether the answer that a rationale argues for was the student's own already."""

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


PROBED = {
    "follows": Probed(_pair("counterfactual", _follows), _before("counterfactual")),
    "follows with the tag": Probed(_pair("tag-swap-counterfactual", _follows), _before("tag-swap-counterfactual")),
    "changed by corruption": Probed(_pair("corrupt-0.5", _changed), _pair(REPLAY, _changed)),
    "changed by filler": Probed(_pair("filler", _changed), _pair(REPLAY, _changed)),
    "right with the oracle": Probed(_pair("oracle", _right), _pair(WITHOUT, _right)),
}


def against_baseline(results: Results, baseline: str, pairs: Sequence[tuple[str, str]]) -> list[Record]:
    """Every arm against the baseline on every set, and the `pairs` (key words against as many random ones), as one
    family for Holm's correction."""
    wanted = [(arm, baseline) for arm in results.arms if arm != baseline and _is_student(results, arm)]
    wanted += [pair for pair in pairs if pair not in wanted]
    made = [(found, (name,)) for name in results.sets for arm, other in wanted
            if (found := _compare(results, arm, other, (name,), "accuracy"))]
    adjusted = adjust([found for found, _ in made])
    return [as_record(results, found, sets, "accuracy") for found, (_, sets) in zip(adjusted, made, strict=True)]


def judge_claims(results: Results, claims: Sequence[Claim], in_domain: str) -> list[Record]:
    """A study's claims, as a family of their own, each with its verdict."""
    made: list[tuple[Claim, Comparison | None, tuple[str, ...]]] = []
    for claim in claims:
        sets = tuple(name for name in results.sets
                     if claim.domain == "all" or (name == in_domain) == (claim.domain == "in"))
        made.append((claim, _compare(results, claim.name, claim.baseline, sets, claim.measure) if sets else None, sets))
    adjusted = iter(adjust([found for _, found, _ in made if found]))
    judged = []
    for claim, found, sets in made:
        entry: Record = {"claim": claim.text, "expects": claim.expects, "domain": claim.domain}
        if found is None:
            judged.append({**entry, "verdict": "not tested"})
        else:
            tested = next(adjusted)
            judged.append({**entry, "verdict": verdict(claim.expects, tested),
                           **as_record(results, tested, sets, claim.measure)})
    return judged


def verdict(expects: str, comparison: Comparison) -> Verdict:
    """Whether a claim holds: `higher` needs a significant difference, `as good` an interval within the margin.

    A claim of equality is not shown by a test that found nothing: the whole interval must lie within +-5 points
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


def as_record(results: Results, found: Comparison, sets: Sequence[str], measure: str) -> Record:
    """A comparison as one line of comparisons.jsonl."""
    left, right = (results.outcomes(arm, sets, measure) for arm in (found.name, found.baseline))
    assert left is not None
    assert right is not None
    return {
        "name": found.name, "baseline": found.baseline, "sets": list(sets), "measure": measure, "mean": found.mean,
        "baseline_mean": found.baseline_mean, "difference": found.difference.estimate,
        "interval": [found.difference.low, found.difference.high], "method": found.difference.method, "p": found.p,
        "p_holm": found.p_holm, "family": found.family, "detectable": found.mde, "seed_se": found.seed_se,
        "item_se": found.item_se, "items": found.n_items, "seeds": [found.n_seeds, found.baseline_n_seeds],
        "mcnemar": [{"only_name": one.only_a, "only_baseline": one.only_b, "p": one.p} for one in found.mcnemar],
        "sentence": sentence(found), "cells": list(left.cells), "baseline_cells": list(right.cells)}


def _compare(results: Results, name: str, baseline: str, sets: Sequence[str], measure: str) -> Comparison | None:
    left, right = results.outcomes(name, sets, measure), results.outcomes(baseline, sets, measure)
    if left is None or right is None:
        return None
    shared = left.columns.keys() & right.columns.keys()
    ids = [id_ for id_ in left.ids if id_ in shared]
    if len(ids) < 2:
        return None
    return compare(name, baseline, left.of(ids), right.of(ids), ids)


def _is_student(results: Results, arm: str) -> bool:
    return all(record["role"] in ("strategy", "control") for record in results.of(arm))
