"""What a text is worth: every label, for hinted and unhinted rationales."""

from __future__ import annotations

from typing import Any

import pytest

from cotdistill.data.records import Example, Rationale
from cotdistill.teachers.filters import labelled_rationale, loops, relabel

DRILL = Example(id="1", question="Where is a drill?", choices=("shed", "pond", "sky"), answer="shed", task="t")
NONE: dict[str, Any] = {"decode": "greedy", "hint": "none"}
GOLD: dict[str, Any] = {"decode": "greedy", "hint": "gold"}
WRONG: dict[str, Any] = {"decode": "greedy", "hint": "wrong"}


def one(
    text: str,
    decoding: dict[str, Any] = NONE,
    finished: bool = True,
    kind: Any = "factual",
    supports: str = "shed",
    thoughts: str | None = None,
) -> Rationale:
    return labelled_rationale(
        DRILL, kind, supports, text, teacher="t", decoding=decoding, finished=finished, thoughts=thoughts
    )


@pytest.mark.parametrize(
    ("text", "decoding", "finished", "label", "answer", "correct"),
    [
        ("Tools lie in sheds. So the answer is shed.", NONE, True, "keep", "shed", True),
        ("It floats. So the answer is (b).", NONE, True, "wrong", "pond", False),
        ("Tools lie in sheds.", NONE, True, "unparsed", None, None),
        ("", NONE, True, "unparsed", None, None),
        ("Tools lie in sheds. So the", NONE, False, "truncated", None, None),
        ("Tools lie in sheds.", GOLD, True, "keep", "shed", None),
        ("Tools lie in sheds. So the answer is shed.", GOLD, True, "keep", "shed", True),
        ("It floats. So the answer is pond.", GOLD, True, "wrong", "shed", False),
        ("The answer is shed because tools lie there.", GOLD, True, "leaked", "shed", True),
        ("A tool. A tool. A tool. A tool.", GOLD, True, "repeated", "shed", None),
        ("", GOLD, True, "unparsed", "shed", None),
    ],
)
def test_labels(
    text: str, decoding: dict[str, Any], finished: bool, label: str, answer: str | None, correct: bool | None
) -> None:
    rationale = one(text, decoding, finished)
    assert (rationale.label, rationale.answer, rationale.correct) == (label, answer, correct)


def test_the_answer_sentence_is_no_part_of_the_rationale() -> None:
    assert one("Tools lie in sheds. So the answer is shed.").text == "Tools lie in sheds."


def test_a_counterfactual_is_right_where_it_argues_for_its_wrong_answer() -> None:
    floats = one("It floats. So the answer is pond.", WRONG, kind="counterfactual", supports="pond")
    assert (floats.label, floats.answer, floats.correct) == ("keep", "pond", True)
    stubborn = one("It lies there. So the answer is shed.", WRONG, kind="counterfactual", supports="pond")
    assert (stubborn.label, stubborn.answer, stubborn.correct) == ("wrong", "pond", False)


def test_the_second_of_two_that_say_the_same_is_repeated() -> None:
    twice = relabel(DRILL, [one("Tools lie in sheds.", GOLD), one("tools  lie in sheds.", GOLD)])
    assert [rationale.label for rationale in twice] == ["keep", "repeated"]


def test_words_that_argue_for_two_answers_argue_for_neither_wrong_one() -> None:
    both = relabel(
        DRILL, [one("It lies there.", GOLD), one("It lies there.", WRONG, kind="counterfactual", supports="pond")]
    )
    assert [rationale.label for rationale in both] == ["keep", "repeated"]


def test_keep_all_keeps_whatever_can_be_learned_from_and_nothing_is_dropped() -> None:
    every = [one("It floats. So the answer is pond."), one("Cut o", GOLD, finished=False), one("")]
    assert [rationale.label for rationale in relabel(DRILL, every)] == ["wrong", "truncated", "unparsed"]
    assert [rationale.label for rationale in relabel(DRILL, every, keep_all=("factual",))] == [
        "keep",
        "keep",
        "unparsed",
    ]
    assert [rationale.text for rationale in relabel(DRILL, every)] == ["It floats.", "Cut o", ""]


def test_thoughts_are_the_rationale_and_the_text_its_answer() -> None:
    rationale = one("So the answer is shed.", thoughts="A drill is a tool.")
    assert (rationale.text, rationale.answer, rationale.label) == ("A drill is a tool.", "shed", "keep")


@pytest.mark.parametrize(
    ("text", "round"),
    [
        ("and so and so and so", True),
        ("One two three four. Then. One two three four. Else. One two three four.", True),
        ("10 plus 1 is 11. 11 plus 1 is 12. 12 plus 1 is 1.", False),
        ("a b a b", False),
        ("", False),
        ("No, no, that is not it.", False),
    ],
)
def test_loops(text: str, round: bool) -> None:
    assert loops(text) is round
