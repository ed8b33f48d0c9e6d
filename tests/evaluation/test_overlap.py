"""Overlap of training and test questions, and the gap between domains."""

from __future__ import annotations

import pytest

from cotdistill.evaluation.domains import domains
from cotdistill.evaluation.overlap import Asked, contamination
from cotdistill.statistics.intervals import newcombe


def test_exact_ignores_case_and_punctuation_but_not_words() -> None:
    found = contamination(
        [Asked("Where is it?", ("here", "there"))],
        [Asked("where  is it", ("there", "here")), Asked("Where is it?", ("up", "down")), Asked("Where it is?")],
    )
    assert found["exact"] == pytest.approx(2 / 3)
    assert found["with_choices"] == pytest.approx(1 / 3)


def test_a_template_shares_runs_without_sharing_questions() -> None:
    train = [Asked("a clock shows nine and somebody waits for three more hours today")]
    test = [Asked("a clock shows nine and somebody waits for eleven minutes before he goes out")]
    found = contamination(train, test)
    assert (found["exact"], found["ngram"]) == (0.0, 1.0)
    assert 0 < found["covered"] < 0.2
    assert contamination(train, [Asked("a clock shows ten and somebody waits for three hours")])["ngram"] == 0.0


def test_short_questions_count_as_one_run() -> None:
    assert contamination([Asked("Is it?")], [Asked("Is it?"), Asked("It is?")])["ngram"] == 0.5


def test_macro_over_tasks_of_all_sets_and_a_gap_with_its_interval() -> None:
    found = domains({"id": {"t": (9, 10)}, "ood-a": {"u": (90, 100)}, "ood-b": {"v": (0, 10)}}, ["id"])
    assert found["out"]["micro"] == pytest.approx(90 / 110)
    assert found["out"]["macro"] == pytest.approx(0.45)  # the small task weighs as much as the large one
    expected = newcombe(9, 10, 90, 110)
    assert found["gap"]["interval"] == [expected.low, expected.high]
    assert "gap" not in domains({"id": {"t": (9, 10)}}, ["id"])
