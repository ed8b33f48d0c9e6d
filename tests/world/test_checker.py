"""The checker: proofs pass, one false step is found where it stands, and detours are told from proofs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotdistill.world import questions as world
from cotdistill.world.checker import check, sentences

DRILL = "Someone says river. Where would you find a drill?"
PLACES = ["workshop", "river", "garage", "forest"]
CLOCK = "Someone says 4. A clock shows 9. Leo waits 1 hour. Hal waits 4 hours. What does it show?"
HOURS = ["2", "4", "10", "7"]
THING = "Ann has a thing near the door. It is hot, muffled, knobby and massive. Where is it stowed?"
STOWED = ["cellar", "attic", "drawer", "chest"]
GO = "Things that are {} go in the {}."
SETS = [(name, split) for name in world.FAMILIES for split in world.splits(name)]
ROWS = [row for name, split in SETS for row in world.rows(name, split, limit=100)]


@pytest.mark.parametrize("family", world.FAMILIES)
def test_gold_rationales_are_proofs(family: str) -> None:
    for split in world.splits(family):
        for row in world.rows(family, split):
            verdict = check(row["question"], row["choices"], row["rationale"])
            assert verdict is not None
            assert verdict.sound, row
            assert (verdict.supports, verdict.share_true, verdict.malformed) == (row["answer"], 1.0, 0)


@pytest.mark.parametrize("family", world.FAMILIES)
def test_a_falsified_rationale_is_rejected_at_its_false_step(family: str) -> None:
    places = set()
    for row in (row for row in ROWS if row["task"] == family):
        for wrong in set(row["choices"]) - {row["answer"]}:
            argument = world.argue(row["question"], wrong)
            verdict = check(row["question"], row["choices"], argument.text)
            assert verdict is not None
            assert verdict.false_steps == (argument.false_step,), argument
            assert verdict.supports == wrong
            assert verdict.complete  # well linked: nothing but the one false step is wrong with it
            assert not verdict.sound
            assert verdict.true == len(argument.sentences) - 1
            places.add(argument.false_step)
    assert len(places) >= 2  # the false step is not always the same one


def test_an_argument_for_the_gold_answer_is_the_gold_rationale() -> None:
    for row in ROWS[::7]:
        argument = world.argue(row["question"], row["answer"])
        assert (argument.text, argument.false_step) == (row["rationale"], None)


# steps: t true, f false, m malformed; a capital: linked to the step before
@pytest.mark.parametrize(
    ("question", "choices", "rationale", "steps", "supports", "complete"),
    [
        (DRILL, PLACES, "A drill is a tool. A tool is found in the workshop.", "TT", "workshop", True),
        (DRILL, PLACES, "A drill is a tool. A tool is found in the workshop", "TT", "workshop", True),
        (DRILL, PLACES, "A tool is found in the workshop.", "t", "workshop", False),
        (DRILL, PLACES, "A drill is found in the workshop.", "t", "workshop", False),
        (DRILL, PLACES, "A trout is a fish. A fish is found in the river.", "tT", "river", False),
        (DRILL, PLACES, "A drill is a tool. A fish is found in the river.", "Tt", "river", False),
        (DRILL, PLACES, "A drill is a tool. A tool needs oil.", "Tt", None, False),
        (DRILL, PLACES, "A drill is a tool.", "T", None, False),
        (DRILL, PLACES, "A drill is a tool. A tool makes a clang. A tool needs oil.", "Ttt", None, False),
        (DRILL, PLACES, "A drill is a fish. A fish is found in the river.", "FT", "river", True),
        (DRILL, PLACES, "A drill is a banana. A banana is found in the river.", "FF", "river", True),
        (DRILL, PLACES, "Drills hum. A tool is found in the workshop.", "mt", "workshop", False),
        (DRILL, PLACES, "A drill is a tool. A tool is found in the", "Tm", None, False),
        (DRILL, PLACES, "It is heavy and dull. 9 plus 1 is 10.", "mm", None, False),
        (DRILL, PLACES, "  ", "", None, False),
        (CLOCK, HOURS, "9 plus 1 is 10. 10 plus 4 is 2.", "TT", "2", True),
        (CLOCK, HOURS, "9 plus 1 is 11. 11 plus 4 is 3.", "FT", None, True),
        (CLOCK, HOURS, "9 plus 1 is 10. 10 plus 4 is 4.", "TF", "4", True),
        (CLOCK, HOURS, "9 plus 4 is 1. 1 plus 1 is 2.", "tt", "2", False),  # right sum, other order than asked
        (CLOCK, HOURS, "9 plus 1 is 10. 3 plus 4 is 7.", "Tt", "7", False),
        (CLOCK, HOURS, "9 plus 1 is 10.", "T", "10", False),
        (CLOCK, HOURS, "9 plus 1 is 10. 10 plus 4 is 2. 2 plus 2 is 4.", "TTt", "4", False),
        (CLOCK, HOURS, "9 plus 1 is 22.", "m", None, False),
        (THING, STOWED, f"It is heavy and dull. {GO.format('heavy and dull', 'cellar')}", "TT", "cellar", True),
        (THING, STOWED, f"It is dull and heavy. {GO.format('heavy and dull', 'cellar')}", "TT", "cellar", True),
        (THING, STOWED, f"It is warm and rough. {GO.format('warm and rough', 'cupboard')}", "tT", None, False),
        (THING, STOWED, f"It is light and dull. {GO.format('light and dull', 'basket')}", "FT", None, True),
        (THING, STOWED, f"It is heavy and dull. {GO.format('heavy and dull', 'attic')}", "TF", "attic", True),
        (THING, STOWED, f"It is odd and dull. {GO.format('odd and dull', 'attic')}", "fF", "attic", False),
    ],
)
def test_verdicts(
    question: str, choices: list[str], rationale: str, steps: str, supports: str | None, complete: bool
) -> None:
    verdict = check(question, choices, rationale)
    assert verdict is not None
    letters = ["m" if step.true is None else "ft"[step.true] for step in verdict.steps]
    pairs = zip(letters, verdict.steps, strict=True)
    shown = "".join(letter.upper() if step.linked else letter for letter, step in pairs)
    assert (shown, verdict.supports, verdict.complete) == (steps, supports, complete)
    assert verdict.malformed == steps.count("m")
    assert verdict.share_true == (steps.lower().count("t") / len(steps) if steps else 0)
    assert verdict.fully_true == (set(steps.lower()) == {"t"})


def test_without_choices_any_option_may_be_supported() -> None:
    verdict = check(CLOCK, None, "9 plus 1 is 11. 11 plus 4 is 3.")
    assert verdict is not None
    assert verdict.supports == "3"


def test_other_questions_have_no_verdict() -> None:
    assert check("What is the capital of France?", ["Paris", "Rome"], "Paris is a city.") is None


@given(row=st.sampled_from(ROWS), data=st.data())
def test_a_sound_rationale_supports_the_right_answer(row: dict[str, Any], data: st.DataObject) -> None:
    arguments = [world.argue(row["question"], choice) for choice in row["choices"]]
    told = sorted({sentence for argument in arguments for sentence in argument.sentences} | {"Nonsense."})
    chain = " ".join(data.draw(st.lists(st.sampled_from(told), max_size=3)))
    verdict = check(row["question"], row["choices"], chain)
    assert verdict is not None
    assert verdict.sound == (chain == row["rationale"])
    assert not verdict.sound or verdict.supports == row["answer"]


@given(row=st.sampled_from(ROWS), text=st.text())
def test_no_text_breaks_the_checker(row: dict[str, Any], text: str) -> None:
    verdict = check(row["question"], row["choices"], text)
    assert verdict is not None
    assert len(verdict.steps) == len(sentences(text))
