"""Simulators foresee students whose habits are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotdistill.data.records import Example
from cotdistill.evaluation.las import las
from cotdistill.evaluation.simulator import Observation, TfidfSimulator, TransformerSimulator, simulate
from cotdistill.seeds import rng
from tests.models import student

PLACES = ["workshop", "kitchen", "garden", "barn", "attic", "harbor", "office", "church"]


def follower(count: int, follows: bool = True) -> list[Observation]:
    """A student that answers what its rationale ends with; or one whose rationale has nothing to do with it."""
    seen = []
    for at in range(count):
        draw = rng(0, "test", at)
        choices = draw.sample(PLACES, 4)
        said, argued = draw.choice(choices), draw.choice(choices)
        example = Example(
            id=f"q{at}", question=f"Where is thing {at}?", choices=tuple(choices), answer=choices[0], task="t"
        )
        seen.append(Observation(example, f"Things like that are kept in the {said if follows else argued}.", said))
    return seen


def test_tfidf_tells_a_student_that_follows_its_rationale() -> None:
    found = las(simulate(follower(200), TfidfSimulator, 5, 0))
    assert found["with_rationale"] > 0.95
    assert found["question_alone"] < 0.5
    assert found["leaking"]["n"] > 180


def test_tfidf_finds_nothing_where_there_is_nothing() -> None:
    found = las(simulate(follower(200, follows=False), TfidfSimulator, 5, 0))
    low, high = found["las"]["interval"]
    assert low < 0.1
    assert high < 0.35
    assert found["with_rationale"] < 0.55


def test_free_answers_are_foreseen_among_the_numbers_that_are_seen() -> None:
    seen = []
    for at in range(120):
        draw = rng(1, "test", at)
        a, b = draw.randint(2, 60), draw.randint(2, 60)
        example = Example(
            id=f"q{at}", question=f"What is {a} and {b} together?", choices=None, answer=str(a + b), task="t"
        )
        seen.append(Observation(example, f"{a} plus {b} is {a + b}", str(a + b)))
    found = las(simulate(seen, TfidfSimulator, 3, 0))
    assert found["simulator_accuracy"]["rationale"]["estimate"] > 0.9
    assert found["simulator_accuracy"]["question"]["estimate"] < 0.2


def test_no_simulator_is_asked_about_a_question_it_has_seen() -> None:
    asked: list[tuple[set[str], set[str]]] = []

    class Spy(TfidfSimulator):
        def fit(self, seen: list[Observation]) -> None:  # type: ignore[override]
            asked.append(({one.example.id for one in seen}, set()))
            super().fit(seen)

        def predict(self, those: list[Observation]) -> list[str | None]:  # type: ignore[override]
            asked[-1][1].update(one.example.id for one in those)
            return super().predict(those)

    simulate(follower(40), Spy, 4, 0)
    assert len(asked) == 4
    assert all(not seen & held for seen, held in asked)
    assert set.union(*(held for _, held in asked)) == {f"q{at}" for at in range(40)}


def test_what_is_left_out_is_not_shown() -> None:
    both, question, rationale = follower(1)[0].variants()
    assert question.rationale is None
    assert "thing 0" not in rationale.shown.text()
    assert "(a)" in rationale.shown.text()  # the choices stay
    assert both.shown.question == "Where is thing 0?"


@pytest.mark.slow
def test_a_transformer_learns_to_follow_the_rationale(tmp_path: Path) -> None:
    made = follower(60)
    simulator = TransformerSimulator(student("llama", width=64), 0, steps=250, lr=3e-3)
    simulator.fit([variant for one in made[:50] for variant in one.variants()])
    told = [one.foreseen(answer) for one, answer in zip(made[:50], simulator.predict(made[:50]), strict=True)]
    assert sum(told) > 40
