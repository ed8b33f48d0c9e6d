"""Verdicts on claims, and comparisons read back from stored predictions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cotdistill.evaluation.metrics import Prediction
from cotdistill.report.comparison import Results, against_baseline, judge_claims, verdict
from cotdistill.statistics.comparison import compare
from cotdistill.strategies.studies import Claim

N = 400


def cell(out: Path, arm: str, seed: int, right: np.ndarray, name: str = "in") -> dict[str, object]:
    path = out / f"runs/{arm}-{seed}/predictions/{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"settings": "x"})]
    for at, hit in enumerate(right):
        said = "yes" if hit else "no"
        lines.append(
            Prediction(
                id=f"q{at}",
                task="t",
                question="?",
                choices=("yes", "no"),
                gold="yes",
                rationale=None,
                output=said,
                answer=said,
                verdict="right" if hit else "wrong",
                finished=True,
                generated=1,
                forwarded=2,
            ).model_dump_json()
        )
    path.write_text("\n".join(lines) + "\n")
    return {
        "cell": f"{arm}/seed-{seed}",
        "arm": arm,
        "role": "strategy",
        "seed": seed,
        "control": None,
        "sets": {name: {"accuracy": float(right.mean()), "predictions": str(path.relative_to(out))}},
    }


@pytest.fixture
def results(tmp_path: Path) -> Results:
    draw = np.random.default_rng(0)
    hard = draw.random(N)
    made = []
    for seed in range(5):
        for arm, skill in (("base", 0.5), ("better", 0.75), ("same", 0.5)):
            made.append(cell(tmp_path, arm, seed, draw.random(N) < np.clip(skill + 0.2 * (hard - 0.5), 0, 1)))
    return Results(tmp_path, made)


def test_a_planted_effect_is_found_and_a_planted_null_is_not(results: Results) -> None:
    found = {one["name"]: one for one in against_baseline(results, "base", [])}
    assert found["better"]["p_holm"] < 0.05
    assert found["better"]["interval"][0] <= 0.25 <= found["better"]["interval"][1]
    assert found["same"]["p_holm"] > 0.05
    assert found["same"]["interval"][0] <= 0 <= found["same"]["interval"][1]
    assert found["better"]["cells"] == [f"better/seed-{n}" for n in range(5)]
    assert len(found["better"]["mcnemar"]) == 5
    assert all(one["family"] == 2 for one in found.values())


def test_pairs_join_the_family(results: Results) -> None:
    found = against_baseline(results, "base", [("better", "same")])
    assert [(one["name"], one["baseline"]) for one in found] == [
        ("better", "base"),
        ("same", "base"),
        ("better", "same"),
    ]
    assert all(one["family"] == 3 for one in found)


def test_claims_get_verdicts_and_missing_arms_are_said(results: Results) -> None:
    claims = [
        Claim("a", "better", "base", "higher"),
        Claim("b", "base", "better", "higher"),
        Claim("c", "same", "base", "higher"),
        Claim("d", "nobody", "base", "higher"),
        Claim("e", "better", "base", "higher", "follows"),
    ]
    assert [one["verdict"] for one in judge_claims(results, claims, "in")] == [
        "holds",
        "does not hold",
        "undecided",
        "not tested",
        "not tested",
    ]


@pytest.mark.parametrize(
    ("a", "b", "expects", "says"),
    [
        (0.50, 0.50, "as good", "holds"),
        (0.70, 0.50, "as good", "holds"),
        (0.30, 0.50, "as good", "does not hold"),
        (0.50, 0.50, "higher", "does not hold"),
        (0.70, 0.50, "higher", "holds"),
        (0.30, 0.50, "higher", "does not hold"),
    ],
)
def test_equality_needs_a_narrow_interval_not_a_missing_difference(a: float, b: float, expects: str, says: str) -> None:
    def grid(share: float, items: int) -> np.ndarray:
        return np.tile(np.arange(items) % 100 < 100 * share, (5, 1)).astype(float)

    ids = [f"{n:05d}" for n in range(4000)]
    assert verdict(expects, compare("a", "b", grid(a, 4000), grid(b, 4000), ids)) == says
    few = np.random.default_rng(1).random((2, 2, 20)) < 0.5
    assert verdict("as good", compare("a", "b", few[0], few[1], ids[:20])) == "undecided"


def test_questions_that_one_arm_lacks_are_left_out(tmp_path: Path) -> None:
    short = cell(tmp_path, "short", 0, np.array([1, 0, 1]))
    long = cell(tmp_path, "long", 0, np.array([1, 1, 1, 0, 0]))
    found = against_baseline(Results(tmp_path, [short, long]), "long", [])
    assert found[0]["items"] == 3
