"""Figures of probes: floors, pairs, and what is not applicable."""

from __future__ import annotations

import pytest

from cotdistill.evaluation.faithfulness import consistency, faithfulness
from cotdistill.evaluation.probes import REPLAY, TRUNCATIONS, WITHOUT
from cotdistill.statistics.intervals import paired_bootstrap
from cotdistill.world import questions as world
from tests.evaluation.predictions import prediction, probed

OWN = ["barn", "barn", "barn", "attic", None]
PREDICTIONS = [prediction(at, answer) for at, answer in enumerate(OWN)]


def answers(name: str, said: list[str | None], target: str | None = None) -> dict:
    return {f"q{at}": {name: probed(answer, target=target)} for at, answer in enumerate(said)}


def merged(*parts: dict) -> dict:
    return {key: {name: value for part in parts for name, value in part.get(key, {}).items()} for key in parts[0]}


def test_drop_is_paired_and_changed_counts_flips_that_accuracy_hides() -> None:
    said = ["kitchen", "barn", "barn", "barn", None]  # one lost, one won: accuracy stays
    found = faithfulness(PREDICTIONS, answers("swapped", said), 0)["swapped"]
    assert found["drop"]["estimate"] == 0.0
    assert found["changed"]["estimate"] == 0.4
    interval = paired_bootstrap([1, 1, 1, 0, 0], [0, 1, 1, 1, 0], 0)
    assert found["drop"]["interval"] == [interval.low, interval.high]
    assert found["accuracy"]["floor"] == 0.25


def test_the_floor_of_changes_is_what_the_same_rationale_changes() -> None:
    replayed = answers(REPLAY, ["barn", "barn", "office", "attic", None])
    found = faithfulness(PREDICTIONS, merged(replayed, answers("filler", ["attic"] * 5)), 0)
    assert found["filler"]["changed"]["floor"] == pytest.approx(0.2)


def test_follows_has_the_answers_that_were_so_already_as_its_floor() -> None:
    found = faithfulness(PREDICTIONS, answers("counterfactual", ["attic"] * 5, target="attic"), 0)["counterfactual"]
    assert found["follows"]["estimate"] == 1.0
    assert found["follows"]["floor"] == pytest.approx(0.2)
    assert found["headline"] == "follows"


def test_a_gain_by_the_oracle_is_minus_the_drop_and_stands_on_no_rationale() -> None:
    given = merged(answers("oracle", ["barn"] * 5), answers(WITHOUT, ["barn", "attic", "attic", "attic", "attic"]))
    found = faithfulness(PREDICTIONS, given, 0)["oracle"]
    assert found["gain"]["estimate"] == pytest.approx(0.4)
    assert found["gain"]["interval"] == [-found["drop"]["interval"][1], -found["drop"]["interval"][0]]
    assert found["accuracy"]["floor"] == pytest.approx(0.2)


def test_questions_without_anything_to_do_are_left_out_and_none_at_all_is_said() -> None:
    given = answers("mistake", ["barn"] * 5)
    given["q0"]["mistake"] = None
    assert faithfulness(PREDICTIONS, given, 0)["mistake"]["n"] == 4
    nothing = {f"q{at}": {"mistake": None} for at in range(5)}
    found = faithfulness(PREDICTIONS, nothing, 0)["mistake"]
    assert found["n"] == 0
    assert "not_applicable" in found
    assert "drop" not in found


def test_area_over_the_curve_is_by_trapezoids() -> None:
    steps = {0: "attic", 25: "attic", 50: "barn", 75: "barn", 100: "barn"}  # settled at half of the rationale
    given = merged(*(answers(f"truncation-{part}", [said] * 5) for part, said in steps.items()))
    found = faithfulness(PREDICTIONS, given, 0)["truncation"]
    assert found["area_over_curve"]["estimate"] == pytest.approx(0.375)  # the mean over points would give 0.4
    assert [point["kept"] for point in found["curve"]] == [part / 100 for part in TRUNCATIONS]


def test_a_rationale_that_concludes_nothing_is_no_disagreement() -> None:
    said = [prediction(0, "barn"), prediction(1, "barn"), prediction(2, "attic")]
    rationales = {"q0": "So the answer is barn.", "q1": "Things are kept somewhere.", "q2": "So the answer is barn."}
    found = consistency(said, rationales, {})
    assert found["headline"] == "conclusion"
    found = found["conclusion"]
    assert (found["n"], found["without_conclusion"]) == (2, 1)
    assert found["estimate"] == 0.5
    assert found["floor"] == 0.25


def test_the_worlds_checker_reads_what_the_extractor_cannot() -> None:
    row = world.rows("kinds", "shift", 1)[0]
    proof, other = row["rationale"], next(c for c in row["choices"] if c != row["answer"])
    base = {"question": row["question"], "choices": tuple(row["choices"]), "gold": row["answer"]}
    said = [prediction(0, row["answer"], **base), prediction(1, other, **base)]
    found = consistency(said, {"q0": proof, "q1": proof}, {"q0": probed(row["answer"]), "q1": probed(row["answer"])})
    assert found["headline"] == "supports"
    assert found["supports"]["estimate"] == 0.5
    assert found["checker"]["sound"] == 1.0
    assert found["agrees_without"]["estimate"] == 0.5


def test_no_rationale_at_all_is_not_applicable() -> None:
    assert "not_applicable" in consistency(PREDICTIONS, {}, {})
