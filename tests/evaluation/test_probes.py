"""Probes as data: which there are, what they fill in, whom they take from."""

from __future__ import annotations

import pytest

from cotdistill.data.records import Example
from cotdistill.data.tasks import load_examples
from cotdistill.errors import DataError, UsageError
from cotdistill.evaluation.probes import (
    NAMES,
    REPLAY,
    Case,
    chosen,
    counterfactual_plan,
    donors,
    labels,
    probes,
    read_sources,
    sources,
)
from cotdistill.strategies.forms import Tokens
from cotdistill.strategies.registry import create, entries
from cotdistill.world import checker
from cotdistill.world import questions as world
from tests.evaluation.predictions import prediction
from tests.models import items

EXAMPLE = Example(id="q0", question="Where is it?", choices=("barn", "kitchen", "attic"), answer="barn", task="places")
CASE = Case(
    EXAMPLE,
    "It is kept in the barn.",
    (11, 12, 13, 14),
    "Another one's rationale.",
    "The teacher's.",
    ("A false one.", "attic"),
    range(100, 200),
    (7,),
    0,
)
STRATEGIES = [create(entry.name) for entry in entries() if entry.value is not None]


def made(name: str) -> object:
    (probe,) = [one for one in probes(NAMES, (0.5,), create("cot")) if one.name == name]
    return probe.intervene(CASE)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_a_strategy_is_probed_exactly_if_it_answers_after_its_rationale(strategy) -> None:  # type: ignore[no-untyped-def]
    assert bool(probes(NAMES, (0.5,), strategy)) == strategy.answers_after_rationale


def test_all_probes_are_thirteen_walks_and_a_tag_two_more() -> None:
    assert len(probes(NAMES, (0.5,), create("cot"))) == 13
    names = [probe.name for probe in probes(NAMES, (0.5,), create("scott"))]
    assert len(names) == 15
    assert {"tag-swap", "tag-swap-counterfactual"} < set(names)
    assert counterfactual_plan(create("scott")) == ("counterfactual",)
    assert counterfactual_plan(create("cot")) is None


def test_the_replay_is_the_rationale_as_it_was() -> None:
    assert made(REPLAY).rationale == Tokens((11, 12, 13, 14))  # type: ignore[attr-defined]
    assert made("truncation-50").rationale == Tokens((11, 12))  # type: ignore[attr-defined]
    assert made("truncation-0").rationale == Tokens(())  # type: ignore[attr-defined]
    assert made("filler").rationale == Tokens((7, 7, 7, 7))  # type: ignore[attr-defined]


def test_targets_are_what_is_argued_for() -> None:
    assert made("counterfactual").target == "attic"  # type: ignore[attr-defined]
    assert made("swapped").target is None  # type: ignore[attr-defined]
    assert made("mistake").target in ("kitchen", "attic")  # type: ignore[attr-defined]


def test_a_question_without_a_rationale_is_not_probed_but_may_get_the_teachers() -> None:
    silent = Case(EXAMPLE, None, (), "another", "oracle", None, range(5), (7,), 0)
    names = {probe.name for probe in probes(NAMES, (0.5,), create("cot")) if probe.intervene(silent) is not None}
    assert names == {"oracle"}


def test_unknown_probes_are_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="counterfactual"):
        chosen(["conterfactual"])
    assert chosen(["las", "oracle"]) == ("oracle", "las")
    assert labels(("corrupt", "las"), (0.25, 0.5)) == ["corrupt-0.25", "corrupt-0.5"]


def test_donors_give_to_others_within_their_task_whatever_the_order() -> None:
    said = [prediction(at, "barn", task="a" if at < 6 else "b", rationale=f"rationale {at}") for at in range(8)]
    found = donors(said, 0)
    tasks = {p.rationale: p.task for p in said}
    assert all(found[p.id] != p.rationale and tasks[found[p.id]] == p.task for p in said)
    assert found == donors(said[::-1], 0)
    lonely = [*said[:6], prediction(9, "barn", task="c", rationale="rationale 9")]
    assert donors(lonely, 0)["q9"] in tasks
    assert donors([prediction(0, "barn")], 0) == {}


def test_a_teachers_rationales_win_over_the_rows_own() -> None:
    rows = items(2)
    examples = [row.example().model_copy(update={"rationale": "the row's own"}) for row in rows]
    found = sources(examples, rows, 0)
    assert found.oracle["row-0"] == rows[0].rationales[0].text
    assert found.counterfactual["row-0"] == (rows[0].rationales[1].text, rows[0].rationales[1].answer)
    assert sources(examples, [], 0).oracle["row-0"] == "the row's own"
    assert sources(examples, [], 0).counterfactual == {}


def test_the_embedded_world_argues_falsely_for_exactly_the_target() -> None:
    examples = load_examples("demo", "shift", 12)
    found = sources(examples, [], 0)
    for example in examples:
        text, wrong = found.counterfactual[example.id]
        verdict = checker.check(example.question, example.choices, text)
        assert verdict is not None
        assert wrong != example.answer
        assert verdict.supports == wrong
        assert world.parse(example.question) is not None
        assert found.oracle[example.id] == example.rationale


def test_rationales_of_other_questions_are_refused() -> None:
    with pytest.raises(DataError, match="none of its 2 rows"):
        read_sources([EXAMPLE], items(2), "r.jsonl")
