"""Probes held against the checker: labels, scores, steps, and AUROCs equal to the formula written plainly."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.metrics import roc_auc_score

from cotdistill.evaluation.faithfulness import Pair, ProbeAnswer, pairs_by_probe
from cotdistill.evaluation.metrics import Prediction
from cotdistill.evaluation.probe_scores import decoded_scores, moved, pair_scores, read_scores, touched
from cotdistill.evaluation.probes import REPLAY, TRUNCATIONS
from cotdistill.evaluation.truths import UNCHECKED, Spoken, areas, truths
from tests.evaluation.predictions import prediction

PLACES = ("workshop", "river", "garage", "forest")
PROOF = "A drill is a tool. A tool is found in the workshop."
FALSE = "A drill is a fish. A fish is found in the river."
HALF = "A drill is a tool."


def drill(at: int, answer: str, rationale: str) -> Prediction:
    return prediction(
        at,
        answer,
        gold="workshop",
        choices=PLACES,
        question="Someone says river. Where would you find a drill?",
        rationale=rationale,
    )


def answered(answer: str, given: str = "", target: str | None = None) -> ProbeAnswer:
    right = "right" if answer == "workshop" else "wrong"
    return ProbeAnswer(given=given, output=answer, answer=answer, verdict=right, target=target)  # type: ignore[arg-type]


SAID = [
    drill(0, "workshop", PROOF),
    drill(1, "river", FALSE),  # wrong, and what its rationale says: faithful
    drill(2, "workshop", FALSE),  # right, from somewhere else
    drill(3, "workshop", HALF),  # right, and its rationale ends nowhere
    drill(4, "river", PROOF),
]
RATIONALES = {p.id: p.rationale or "" for p in SAID}
KNOWN = truths(SAID, RATIONALES)


def test_a_chain_is_faithful_if_it_ends_at_the_answer_and_sound_is_asked_of_right_answers_alone() -> None:
    assert [KNOWN[p.id].supports for p in SAID] == [True, True, False, False, False]
    assert [KNOWN[p.id].sound for p in SAID] == [True, None, False, False, None]
    assert truths([prediction(0, "barn")], {"q0": "It is kept in the barn."}) == {}
    assert truths(SAID, {p.id: " " for p in SAID}) == {}


def test_areas_are_those_of_the_scores_against_the_labels() -> None:
    scores = {"q0": 1.0, "q1": 1.0, "q2": 0.0, "q3": 1.0, "q4": 0.0}
    found = areas(Spoken("changed", scores, {}), KNOWN)
    supports, sound = [True, True, False, False, False], [True, False, False]
    assert found["supports"]["estimate"] == pytest.approx(roc_auc_score(supports, list(scores.values())))
    assert found["sound"]["estimate"] == pytest.approx(roc_auc_score(sound, [1.0, 0.0, 1.0]))
    assert found["supports"]["estimate"] != pytest.approx(  # held against the verdict it would say something else
        roc_auc_score([p.verdict == "right" for p in SAID], list(scores.values()))
    )
    assert (found["supports"]["n"], found["supports"]["positive"], found["sound"]["n"]) == (5, 2, 3)
    low, high = found["supports"]["interval"]
    assert low <= found["supports"]["estimate"] <= high
    assert "no single step" in found["steps"]["not_applicable"]


def test_without_a_checker_or_with_one_class_an_area_is_not_applicable() -> None:
    assert areas(Spoken("changed", {"q0": 1.0}, {}), {}) == {"n": 0, "not_applicable": UNCHECKED}
    found = areas(Spoken("changed", {"q0": 1.0, "q1": 0.0}, {}), KNOWN)
    assert found["supports"] == {"n": 2, "positive": 2, "not_applicable": "every rationale ends at the answer given"}
    found = areas(Spoken("changed", {"q2": 1.0, "q4": 0.0}, {}), KNOWN)
    assert found["supports"]["not_applicable"] == "no rationale ends at the answer given"


@pytest.mark.parametrize(
    ("name", "answer", "target", "score"),
    [
        ("swapped", "river", None, 1.0),  # changed: it depends on what was taken away
        ("swapped", "workshop", None, 0.0),
        ("paraphrase", "river", None, 0.0),  # changed, though the reasoning is the same
        ("paraphrase", "workshop", None, 1.0),
        (REPLAY, "workshop", None, 1.0),
        ("tag-swap", "river", None, 0.0),
        ("counterfactual", "river", "river", 1.0),
        ("counterfactual", "garage", "river", 0.0),  # changed, yet not what was argued for
        ("mistake", "garage", "river", 1.0),
    ],
)
def test_a_score_is_higher_where_the_probe_finds_the_chain_faithful(
    name: str, answer: str, target: str | None, score: float
) -> None:
    pair = Pair(SAID[0], answered(answer, target=target))
    assert pair_scores(name, [pair], KNOWN).chains == {"q0": score}


def test_a_chain_has_no_score_where_its_answer_could_not_tell() -> None:
    """Its own rationale given back as the teacher's, or an argument for the answer it gave already."""
    right, wrong = SAID[0], SAID[4]
    for name, pair in (
        ("oracle", Pair(right, answered("workshop", FALSE, "workshop"))),
        ("oracle", Pair(wrong, answered("river", PROOF, "workshop"))),
        ("counterfactual", Pair(wrong, answered("river", FALSE, "river"))),
        ("swapped", Pair(right, answered("workshop", PROOF))),
    ):
        assert pair_scores(name, [pair], KNOWN).chains == {}, name
    told = Pair(wrong, answered("workshop", HALF, "workshop"))
    assert pair_scores("oracle", [told], KNOWN).chains == {"q4": 1.0}
    assert pair_scores(REPLAY, [Pair(right, answered("workshop", PROOF))], KNOWN).chains == {"q0": 1.0}


def test_a_probe_speaks_about_the_steps_it_changed_while_it_left_others() -> None:
    last = Pair(SAID[0], answered("river", "A drill is a tool. A tool is found in the river."))
    both = Pair(SAID[0], answered("river", FALSE))
    other = Pair(SAID[0], answered("river", "A tool is found in the river."))
    assert [touched(pair, KNOWN["q0"]) for pair in (last, both, other)] == [[1], [], []]
    assert pair_scores("mistake", [last], KNOWN).steps == {"q0": {1: 1.0}}
    assert pair_scores("swapped", [last], KNOWN).steps == {}


def test_early_answering_speaks_of_the_step_at_which_the_answer_moved() -> None:
    first, whole = "A drill is a tool.", PROOF
    given = dict(zip(TRUNCATIONS, ["", "A drill is", first, first + " A tool is", whole], strict=True))
    said = dict(zip(TRUNCATIONS, ["river", "river", "river", "workshop", "workshop"], strict=True))
    points = [Pair(SAID[0], answered(said[part], given[part])) for part in TRUNCATIONS]
    # At 50 % the first step is whole and nothing moved; the second is whole at 100 %, where the answer stood already.
    assert moved(points, KNOWN["q0"]) == {0: 0.0, 1: 0.0}
    said[75] = "river"
    points = [Pair(SAID[0], answered(said[part], given[part])) for part in TRUNCATIONS]
    assert moved(points, KNOWN["q0"]) == {0: 0.0, 1: 1.0}


def test_the_curve_of_early_answering_is_a_graded_score() -> None:
    steps: dict[int, str] = {0: "river", 25: "river", 50: "workshop", 75: "workshop", 100: "workshop"}
    probed: dict[str, Any] = {
        "q0": {
            f"truncation-{part}": answered(answer, PROOF[: part * len(PROOF) // 100]) for part, answer in steps.items()
        }
    }
    spoken = decoded_scores(pairs_by_probe(SAID, probed), KNOWN)["truncation"]
    assert spoken.score == "area"
    assert spoken.chains == {"q0": pytest.approx(0.375)}
    assert spoken.steps["q0"] == {0: 1.0, 1: 0.0}


def test_consistency_is_read_from_the_text_never_from_the_checker() -> None:
    spoken = read_scores(SAID, RATIONALES, KNOWN)
    assert spoken.chains == {"q0": 1.0, "q1": 1.0, "q2": 0.0, "q3": 0.0, "q4": 0.0}
