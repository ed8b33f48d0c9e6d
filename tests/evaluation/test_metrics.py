"""Figures of predictions, each with a case where the obvious formula gives another number."""

from __future__ import annotations

import pytest

from cotdistill.evaluation.metrics import compute_metrics, judged_again, likeliest
from tests.evaluation.predictions import prediction


def test_macro_is_the_mean_of_tasks_not_of_questions() -> None:
    large = [prediction(at, "barn", task="easy") for at in range(9)]
    small = [prediction(9, "attic", task="hard")]
    found = compute_metrics(large + small)
    assert found["accuracy"] == 0.9
    assert found["macro"] == 0.5
    assert found["by_task"] == {"easy": 1.0, "hard": 0.0}


def test_unparsed_stays_in_the_denominator_and_apart_from_wrong() -> None:
    found = compute_metrics([prediction(0, "barn"), prediction(1, "attic"), prediction(2, None), prediction(3, None)])
    assert (found["right"], found["wrong"], found["unparsed"]) == (1, 1, 2)
    assert found["accuracy"] == 0.25  # not 1 of the 2 that were parsed


def test_free_accuracy_counts_a_forced_connector_as_no_answer() -> None:
    found = compute_metrics([prediction(0, "barn"), prediction(1, "barn", unprompted=False)])
    assert found["accuracy"] == 1.0
    assert found["accuracy_free"] == 0.5
    assert found["connectors_forced"] == 1
    assert "accuracy_free" not in compute_metrics([prediction(0, "barn")])


def test_the_second_extractor_is_reported_beside_the_first() -> None:
    text = "barn. It is not the attic"  # the last mention is another choice
    found = compute_metrics(judged_again([prediction(0, None, output=text)], "answers"))
    assert found["accuracy"] == 1.0
    assert found["sensitivity"]["accuracy"] == 0.0
    assert found["sensitivity"]["verdicts_differ"] == 1.0


def test_verdicts_are_read_again_from_what_was_generated() -> None:
    stale = prediction(0, "attic").model_copy(update={"output": "the barn", "answer": "attic", "verdict": "wrong"})
    assert judged_again([stale], "answers")[0].verdict == "right"


def test_normalisation_changes_which_choice_is_likeliest() -> None:
    p = prediction(
        0,
        "barn",
        choices=("a", "on the other hand"),
        gold="a",
        likelihoods=((-2.0, 1), (-4.0, 4)),
        rendered=("a", "on the other hand"),
    )
    assert likeliest(p, "sum") == "a"
    assert likeliest(p, "token") == "on the other hand"
    assert likeliest(p, "character") == "on the other hand"
    found = compute_metrics([p])["accuracy_by_likelihood"]
    assert found == {"n": 1, "sum": 1.0, "token": 0.0, "character": 0.0}


def test_confidence_is_the_given_answers_share_not_the_best_choices() -> None:
    p = prediction(0, "attic", likelihoods=((-0.1, 1), (-5.0, 1), (-5.0, 1), (-3.0, 1)))
    assert p.confidence == pytest.approx(0.0514, abs=1e-4)
    assert prediction(1, None, likelihoods=((-1.0, 1),) * 4).confidence is None
    free = prediction(2, "12", gold="12", choices=None, likelihoods=((-2.0, 4),))
    assert free.confidence == pytest.approx(0.60653, abs=1e-5)  # exp(-2 / 4), not exp(-2)


def test_yes_and_no_are_options_even_where_no_choices_are_listed() -> None:
    p = prediction(0, "no", gold="yes", choices=None, likelihoods=((-1.0, 1), (-0.5, 1)))
    assert p.options == ("yes", "no")
    assert p.confidence == pytest.approx(0.6225, abs=1e-4)


def test_cost_counts_every_forwarded_token() -> None:
    found = compute_metrics(
        [prediction(0, "barn", forwarded=30), prediction(1, "barn", forwarded=50)], flops_per_token=1e6
    )
    assert found["flops_per_question"] == 40e6
    assert found["seconds_per_question"] is None


def test_math_verify_reads_what_plain_reading_cannot() -> None:
    pytest.importorskip("math_verify")
    p = prediction(0, None, gold="\\frac{1}{\\sqrt{2}}", choices=None, output="\\boxed{\\frac{\\sqrt{2}}{2}}")
    assert judged_again([p], "answers")[0].verdict != "right"
    assert judged_again([p], "math-verify")[0].verdict == "right"
    assert judged_again([p.model_copy(update={"output": "\\boxed{\\frac{2}{3}}"})], "math-verify")[0].verdict == "wrong"
    assert judged_again([p.model_copy(update={"output": ""})], "math-verify")[0].verdict == "unparsed"
    assert "math-verify" in compute_metrics([p], "math-verify")["extractor"]
