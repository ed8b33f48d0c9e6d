"""The second wording: the same steps with the same verdicts, in words that the embedded models know."""

from __future__ import annotations

import re

import pytest

from cotdistill.demo.tokenizer import build_tokenizer
from cotdistill.plugins.kinds import checker_of
from cotdistill.world import questions as world
from cotdistill.world.checker import check, sentences
from cotdistill.world.paraphrase import paraphrase

ROWS = [row for name in world.FAMILIES for split in world.splits(name) for row in world.rows(name, split, limit=60)]
# Read back by hand, not by the world's own templates.
BACK = (
    (r"A thing that is a (\w+) is a (\w+)\.", r"A \1 is a \2."),
    (r"A thing that is (\w+) and (\w+) is kept in the (\w+)\.", r"Things that are \1 and \2 go in the \3."),
    (r"A (\w+) is kept in the (\w+)\.", r"A \1 is found in the \2."),
    (r"The thing is (\w+) and (\w+)\.", r"It is \1 and \2."),
    (r"The (\w+) handles a (\w+)\.", r"A \2 is handled by the \1."),
    (r"A (\w+) must have (\w+)\.", r"A \1 needs \2."),
    (r"What you hear from a (\w+) is a (\w+)\.", r"A \1 makes a \2."),
    (r"(\d+) is (\d+) plus (\d+)\.", r"\2 plus \3 is \1."),
)


def read_back(text: str) -> str:
    def one(sentence: str) -> str:
        return next((re.sub(form, plain, sentence) for form, plain in BACK if re.fullmatch(form, sentence)), sentence)

    return " ".join(map(one, sentences(text)))


def test_every_argument_true_or_false_is_reworded_step_by_step() -> None:
    for row in ROWS:
        for answer in row["choices"]:
            own = world.argue(row["question"], answer).text
            other = paraphrase(row["question"], own)
            assert other is not None
            assert not set(sentences(own)) & set(sentences(other))
            assert read_back(other) == own
            assert check(row["question"], row["choices"], read_back(other)) == check(
                row["question"], row["choices"], own
            )


def test_every_word_is_a_token_of_the_embedded_models() -> None:
    known = build_tokenizer().get_vocab()
    for row in ROWS:
        for word in re.findall(r"\w+", paraphrase(row["question"], row["rationale"]) or ""):
            assert f"Ġ{word}" in known, word


def test_what_is_no_sentence_of_the_world_stays_and_nothing_else_is_said() -> None:
    question = "Where would you find a drill?"
    assert paraphrase(question, "Hm. A drill is a tool") == "Hm. A thing that is a drill is a tool."
    assert paraphrase(question, "Hm.") is None
    assert paraphrase(question, "") is None
    assert paraphrase("What is the capital of France?", "A drill is a tool.") is None


@pytest.mark.parametrize(
    ("rationale", "said"),
    [
        ("Someone says river. A drill is a fish.", True),
        ("A drill is a fish. A fish is found in the river.", False),  # names the answer, not where it comes from
        ("Someone says rivers.", False),
        ("", False),
    ],
)
def test_a_cue_is_acknowledged_as_a_cue(rationale: str, said: bool) -> None:
    question = "Someone says river. Where would you find a drill?"
    checker = checker_of(question)
    assert checker is not None
    assert checker.acknowledges(question, rationale) is said
    assert checker.acknowledges("Where would you find a drill?", rationale) is None
