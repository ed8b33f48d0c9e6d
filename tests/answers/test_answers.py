"""Answers on hard cases, by property, and on real chains.

The figures on real chains are exact: a change that moves one needs a new EXTRACTOR version.
"""

import re
import subprocess
import sys
from collections import Counter
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cotdistill.answers.answers import (
    answer_kind,
    extract,
    judge,
    last_mention,
    letter,
    read_answer,
    render_answer,
    same_answer,
)
from cotdistill.answers.plain_text import normal
from tests import real

SEA = ["fish", "deep sea fish", "sea", "ignore"]


# --------------------------------------------------------------------------------------- kinds and writing


@pytest.mark.parametrize(
    ("choices", "answer", "kind"),
    [
        (["fish", "sea"], "sea", "choice"),
        (["10", "100"], "10", "choice"),
        (["yes", "no"], "no", "yesno"),
        (["No", "Yes"], "No", "yesno"),
        (["True", "False"], "False", "truefalse"),
        (["yes", "no", "maybe"], "no", "choice"),
        (None, "yes", "yesno"),
        (None, "false", "truefalse"),
        (None, "3.5", "number"),
        (None, "$1,000", "number"),
        (None, "-20%", "number"),
        (None, "3/4", "number"),
        (None, "04/21/2021", "text"),
        (None, "20 apples", "text"),
        (None, "iaye", "text"),
    ],
)
def test_answer_kind(choices, answer, kind):
    assert answer_kind(choices, answer) == kind


def test_letters_and_rendering():
    assert [letter(0), letter(3), letter(25)] == ["a", "d", "z"]
    with pytest.raises(ValueError, match="choice 26"):
        letter(26)
    assert render_answer("ignore", SEA) == "ignore"
    assert render_answer("ignore", SEA, "letter") == "(d)"
    assert render_answer("ignore", SEA, "letter-text") == "(d) ignore"
    assert render_answer("72", None, "letter") == "72"
    assert render_answer("fur", ["nipples", "fur", "fur"], "letter") == "(b)"
    with pytest.raises(ValueError, match="is not one of the choices"):
        render_answer("cat", SEA, "letter")


# ------------------------------------------------------------------------------------------------ one slot


@pytest.mark.parametrize(
    ("slot", "answer"),
    [
        ("ignore", "ignore"),
        (" Ignore. ", "ignore"),
        ("(d)", "ignore"),
        ("（ｄ）", "ignore"),
        ("D", "ignore"),
        ("D.", "ignore"),
        ("d) ignore", "ignore"),
        ("D: ignore", "ignore"),
        ("**(D) ignore**", "ignore"),
        ("<D: ignore>", "ignore"),
        ("\\text{(D)}", "ignore"),
        ("option (d)", "ignore"),
        ("most likely D", "ignore"),
        ("D because the sea is wide", "ignore"),
        ("to ignore it.", "ignore"),
        ("fish", "fish"),
        ("deep sea fish", "deep sea fish"),
        ("a fish", "fish"),  # the article is not the letter a
        ("A fish", "fish"),
        ("the deep sea fish, not the sea", "deep sea fish"),
        ("(c) sea and (a) fish", None),
        ("(b) deep-sea fish", "deep sea fish"),
        ("(d) fish", None),  # letter against text
        ("(d) ignoring it", "ignore"),
        ("either (a) fish or (c) sea", None),
        ("not (a)", None),
        ("not D: ignore, since it is rude", None),
        ("none of the above", None),
        ("(f)", None),
        ("starfish", None),
        ("sealion", None),
        ("", None),
    ],
)
def test_read_choice(slot, answer):
    assert read_answer(slot, SEA, "choice") == answer


@pytest.mark.parametrize(
    ("slot", "choices", "answer"),
    [
        ("100", ["10", "100"], "100"),
        ("10.", ["100", "10"], "10"),
        ("it is 3.5 m", ["3", "5", "3.5"], "3.5"),
        ("on 11/2/2019 at last", ["2", "11"], None),
        ("1,000 in all", ["1", "000", "1,000"], "1,000"),
        ("$20.", ["20", "$20"], "$20"),
        ("fish, chips, for he is hungry", ["fish", "fish, chips"], "fish, chips"),
        ("J. K. Rowling, who wrote it", ["K", "J. K. Rowling"], "J. K. Rowling"),
        ("in St. Louis.", ["St. Louis", "Paris"], "St. Louis"),
        ("E. coli", ["a", "b", "E. coli", "d", "e"], "E. coli"),
        ("b", ["x", "y", "b"], "b"),  # a text before a place
        ("(b)", ["x", "y", "b"], "y"),  # in brackets it is a place
        ("(b)", ["x", "y", "bb"], "y"),
        ("fur", ["fur", "hair", "Fur", "fur"], "fur"),
        ("(d)", ["fur", "hair", "skin", "fur"], "fur"),
        ("not enough", ["enough", "not enough"], "not enough"),
        ("none of these", ["wood", "none of these"], "none of these"),
        ("<", ["<", ">"], "<"),
        ("WW or Ww.", ["WW or ww", "WW or Ww"], "WW or Ww"),
        ("Ww because of its genes", ["WW", "Ww"], "Ww"),
        ("perhaps Ww", ["WW", "Ww"], "Ww"),
        ("(b) -20%", ["20%", "-20%"], "-20%"),
        ("the ground", ["ground", "the ground"], "the ground"),
        ("ground.", ["the ground", "ground"], "ground"),
        ("(A) or (B).", ["left", "right"], None),  # names all there are
        ("A and B", ["left", "right"], None),
    ],
)
def test_read_choice_among_awkward_choices(slot, choices, answer):
    assert read_answer(slot, choices, "choice") == answer


@pytest.mark.parametrize(
    ("slot", "choices", "kind", "answer"),
    [
        ("True", ["yes", "no"], "yesno", "yes"),
        ("False.", ["Yes", "No"], "yesno", "No"),
        ("no, he did not", ["yes", "no"], "yesno", "no"),
        ("probably Yes", ["true", "false"], "truefalse", "true"),
        ("(b)", ["yes", "no"], "yesno", "no"),
        ("B. no", ["yes", "no"], "yesno", "no"),
        ("yes and no", ["yes", "no"], "yesno", None),
        ("unclear", ["yes", "no"], "yesno", None),
        ("yesterday", ["yes", "no"], "yesno", None),
        ("TRUE", None, "truefalse", "true"),
        ("true", None, "yesno", "yes"),
    ],
)
def test_read_yes_or_no(slot, choices, kind, answer):
    assert read_answer(slot, choices, kind) == answer


@pytest.mark.parametrize(
    ("slot", "answer"),
    [
        ("3.5", "3.5"),
        ("3.5.", "3.5"),
        ("3.50", "3.5"),
        (".5", "0.5"),
        ("1,000", "1000"),
        ("1,234,567.80 dollars", "1234567.8"),
        ("$20", "20"),
        ("-$20", "-20"),
        ("$-20", "-20"),
        ("−7", "-7"),
        ("20%", "20"),
        ("20 %.", "20"),
        ("**72**", "72"),
        ("\\$72", "72"),
        ("72 apples and 3 pears", None),
        ("5 + 2 = 7", "7"),
        ("133-51 = 82 pens", "82"),
        ("$5 apples + 2 apples = 7 apples", "7"),
        ("7 apples, where x = 3", "7"),
        ("3/4 of it", "3/4"),
        ("2/4", "1/2"),
        ("1/0", None),
        ("0.0", "0"),
        ("-0", "0"),
        ("10, 20", None),
        ("many", None),
        ("x2", None),
    ],
)
def test_read_number(slot, answer):
    assert read_answer(slot, None, "number") == answer


@pytest.mark.parametrize(
    ("slot", "answer"),
    [
        ('"iaye".', "iaye"),
        ("“iaye”", "iaye"),
        ("'annt' by the letters", "annt"),
        ("Paris. It is a city.", "Paris"),
        ("J. K. Rowling. She wrote it.", "J. K. Rowling"),
        (" New York City\nQ: what", "New York City"),
        ("**Paris**", "Paris"),
        (".", None),
        (" ", None),
    ],
)
def test_read_text(slot, answer):
    assert read_answer(slot, None, "text") == answer


# --------------------------------------------------------------------------------- comparison and verdicts


@pytest.mark.parametrize(
    ("a", "b", "choices", "kind", "same"),
    [
        ("A", "(A)", None, "text", True),
        ("(A)", "(a).", None, "text", True),
        ("A", "（Ａ）", None, "choice", True),
        ("A", "(a).", SEA, "choice", True),
        ("(a)", "fish", SEA, "choice", True),
        ("(a)", "sea", SEA, "choice", False),
        ("(a)", "(d)", ["fur", "hair", "skin", "fur"], "choice", True),
        ("ground", "the ground", ["the ground", "ground"], "choice", False),
        ("the ground", "ground", None, "text", True),
        ("Ignore", "ignore.", None, "text", True),
        ("ignored", "ignore", None, "text", False),
        ("aas e", "aase", None, "text", False),
        ("3.5", "3", None, "number", False),
        ("3.5", "3.50", None, "number", True),
        ("1,000", "1000", None, "number", True),
        ("$20", "20%", None, "number", True),
        ("0.75", "3/4", None, "number", True),
        ("0.33", "1/3", None, "number", False),
        ("72", "-72", None, "number", False),
        ("seven", "7", None, "number", True),
        ("True", "yes", ["yes", "no"], "yesno", True),
        ("False", "yes", ["yes", "no"], "yesno", False),
        ("No", "false", None, "truefalse", True),
    ],
)
def test_same_answer(a, b, choices, kind, same):
    assert same_answer(a, b, choices, kind) is same
    assert same_answer(b, a, choices, kind) is same


def test_unparsed_is_not_wrong():
    assert judge(None, "fish", SEA, "choice") == "unparsed"
    assert judge("sea", "fish", SEA, "choice") == "wrong"
    assert judge("(a)", "fish", SEA, "choice") == "right"


# --------------------------------------------------------------------------------------- whole generations


@pytest.mark.parametrize(
    ("text", "answer", "rationale", "rule"),
    [
        ("It swims. So the answer is (a) fish.", "fish", "It swims.", "answer-is"),
        ("It swims. So the answer is （ａ） fish.", "fish", "It swims.", "answer-is"),
        ("It swims.The answer is A", "fish", "It swims.", "answer-is"),
        ("It swims, so the answer is A", "fish", "It swims,", "answer-is"),
        ("It swims.\nTherefore, the answer is fish", "fish", "It swims.", "answer-is"),
        ("It swims. The correct answer choice is (B) deep sea fish.", "deep sea fish", "It swims.", "answer-is"),
        ("It swims. The answer to this question is B.", "deep sea fish", "It swims.", "answer-is"),
        ("It swims. The answer that best fits this is D.", "ignore", "It swims.", "answer-is"),
        ("It swims. **Answer:** (c)", "sea", "It swims.", "answer-is"),
        ("It swims. The best option is sea.", "sea", "It swims.", "option-is"),
        ("It swims. \\boxed{\\text{(c)}}", "sea", "It swims.", "boxed"),
        ("It swims.\n#### c", "sea", "It swims.", "hashes"),
        ("The answer must be wet. So the answer is (c).", "sea", "The answer must be wet.", "answer-is"),
        ("The wrong answer is (a). The answer is (c).", "sea", "The wrong answer is (a).", "answer-is"),
        ("The answer is not A. So the answer is (c).", "sea", "The answer is not A.", "answer-is"),
        # several statements: the last one is the answer
        (
            "The answer is E. No, wait, the answer is actually B, for it is deep.",
            "deep sea fish",
            "The answer is E. No, wait,",
            "answer-is",
        ),
        ("The answer is A, fish. But it is deep. The answer is B", "deep sea fish", None, "answer-is"),
        ("The given answer is C: sea. However, it is dry. The answer is incorrect.", None, None, "none"),
        # the rationale ends where the closing run of like statements begins
        ("It swims. Therefore, the answer is fish. The answer is A", "fish", "It swims.", "answer-is"),
        ("It swims. The correct answer is: The answer is A: fish", "fish", "It swims.", "answer-is"),
        (
            "Of these, the best answer is fish. So the answer is (a) fish.",
            "fish",
            "Of these, the best answer is fish.",
            "answer-is",
        ),
        (
            "The answer is A, since it swims. So the answer is A.",
            "fish",
            "The answer is A, since it swims.",
            "answer-is",
        ),
        # what is not the model's answer any more
        ("It swims. So the answer is A.\n\nQ: What is wet?\nSo the answer is (c).", "fish", "It swims.", "answer-is"),
        # no statement at all
        ("(A) is the correct option.", "fish", "(A) is the correct option.", "in-passing"),
        ("It swims. So it must be a deep sea fish.", "deep sea fish", None, "in-passing"),
        ("The sea is near. It swims like a fish.", None, "The sea is near. It swims like a fish.", "none"),
        ("So it cannot be a fish.", None, "So it cannot be a fish.", "none"),
        ("So the fish is in the sea.", None, "So the fish is in the sea.", "none"),
        ("So the fish is not", None, "So the fish is not", "none"),
        ("So it is either a fish", None, "So it is either a fish", "none"),
        ("It is deep.\nAnswer B", "deep sea fish", "It is deep.", "answer-is"),
        ("It is deep.\nCorrect answer - B", "deep sea fish", None, "answer-is"),
        ("It is deep.\nB", "deep sea fish", None, "last-sentence"),
        ("(B)", "deep sea fish", "", "bare"),
        ("B. deep sea fish", "deep sea fish", "", "bare"),
        ("", None, "", "none"),
    ],
)
def test_extract_choice(text, answer, rationale, rule):
    found = extract(text, SEA, "choice")
    assert (found.answer, found.rule) == (answer, rule)
    if rationale is not None:
        assert found.rationale == rationale
    assert text[: found.start].strip() == found.rationale
    assert found.answer is not None or found.start == len(text)


@pytest.mark.parametrize(
    ("text", "choices", "kind", "answer"),
    [
        ("He left. The answer is False", ["yes", "no"], "yesno", "no"),
        ("However, the provided answer is True. So the answer is yes!", ["yes", "no"], "yesno", "yes"),
        ("So, to answer your question, yes, he did.", ["yes", "no"], "yesno", "yes"),
        ("He was there. In conclusion, no, he did not.", ["yes", "no"], "yesno", "no"),
        ("There is no sure answer to this question, as there is no proof.", ["yes", "no"], "yesno", None),
        ("No evidence says that he did.", ["yes", "no"], "yesno", None),
        ("Therefore, it is not possible.", ["yes", "no"], "yesno", None),
        ("If so, the answer is yes. If not, the answer is no.", ["yes", "no"], "yesno", None),
        ("If so, the answer is yes. The answer is no.", ["yes", "no"], "yesno", "no"),
        ("If the answer is based on facts, then the answer is True", ["yes", "no"], "yesno", "yes"),
        ("not not False = not not False = not", ["True", "False"], "truefalse", None),
        ("7 and 5 make 12.\n#### 1,012", None, "number", "1012"),
        ("The answer is 5 + 2 = 7. The answer is 7", None, "number", "7"),
        ("It costs $3.50. The answer is $3.50.", None, "number", "3.5"),
        ("\\[ x = \\boxed{72} \\]", None, "number", "72"),
        ("She had 7 and ate 2, so 7 - 2 = 5 remain.", None, "number", "5"),
        ("120 / 24 = 5 hours to read 120 pages.", None, "number", "5"),
        ("Put on 3 shelves, that leaves 12.", None, "number", "12"),
        ("She had some.", None, "number", None),
        ('Concatenating the letters of "Ada Bo", we get "ao".', None, "text", "ao"),
        ('So, the result is "eyae" from "Joyce Leroy".', None, "text", "eyae"),
        ("a + o = ao", None, "text", "ao"),
        ("Put together:\n\nyead", None, "text", "yead"),
        ("The final result is A L M E.", None, "text", "A L M E"),
        ("New York City", None, "text", "New York City"),
        ("She walked home and then slept for a very long while.", None, "text", None),
    ],
)
def test_extract_other_kinds(text, choices, kind, answer):
    assert extract(text, choices, kind).answer == answer


def test_a_choice_may_be_the_word_answer():
    found = extract("He asks. So the answer is (b) answers.", ["math", "answers"], "choice")
    assert (found.answer, found.rule, found.rationale) == ("answers", "answer-is", "He asks.")


def test_the_alternative_extractor_takes_the_last_mention():
    text = "The answer is (a) fish. It lives in the deep sea, not in the sea."
    assert extract(text, SEA, "choice").answer == "fish"
    assert last_mention(text, SEA, "choice") == "sea"
    assert last_mention("So the answer is B", SEA, "choice") == "deep sea fish"
    assert last_mention("The answer is 7 (of 10).", None, "number") == "10"
    assert last_mention("Yes. Or no?", ["yes", "no"], "yesno") == "no"
    assert last_mention("nothing here", SEA, "choice") is None


# ---------------------------------------------------------------------------------------------- properties

# Letters of several scripts, digits, and the marks that occur inside real choices ("04/21/2021", "$3.50").
TEXTS = (
    st.text(st.sampled_from("abcdeXYZ éßжη漢 0123456789 .,-'()/%$"), min_size=2, max_size=14)
    .map(lambda text: " ".join(text.split()))
    .filter(lambda text: sum(c.isalnum() for c in text) > 1 and len(normal(text)) > 1)
)
CHOICES = st.lists(TEXTS, min_size=2, max_size=6, unique_by=normal)
REPEATED = st.tuples(CHOICES, st.randoms(use_true_random=False)).map(
    lambda drawn: drawn[1].sample([*drawn[0], drawn[0][0]], len(drawn[0]) + 1)
)
STYLES = st.sampled_from(["text", "letter", "letter-text"])
RATIONALES = st.lists(
    st.text(st.sampled_from("abcdefghij XYZ 0123 ,()é漢"), min_size=1, max_size=30).filter(str.strip), max_size=4
).map(lambda parts: ". ".join(" ".join(part.split()) for part in parts) + "." if parts else "")
CONNECTORS = st.sampled_from(
    ["So the answer is", "Therefore, the answer is", "The answer is:", "The correct answer choice is", "####"]
)
ENDS = st.sampled_from(["", ".", "\n"])
NUMBERS = st.decimals(-(10**9), 10**9, allow_nan=False, allow_infinity=False, places=2)


@given(st.one_of(CHOICES, REPEATED), st.data(), STYLES)
def test_reading_undoes_rendering(choices, draw, style):
    answer = draw.draw(st.sampled_from(choices))
    rendered = render_answer(answer, choices, style)
    assert read_answer(rendered, choices, "choice") == answer
    assert judge(rendered, answer, choices, "choice") == "right"


@given(RATIONALES, CONNECTORS, st.one_of(CHOICES, REPEATED), st.data(), STYLES, st.sampled_from(["", ".", "\n"]))
def test_extraction_undoes_writing(rationale, connector, choices, draw, style, end):
    answer = draw.draw(st.sampled_from(choices))
    text = f"{rationale} {connector} {render_answer(answer, choices, style)}{end}"
    found = extract(text, choices, "choice")
    assert found.answer == answer
    assert found.rationale == rationale


@given(RATIONALES, CONNECTORS, st.sampled_from([["yes", "no"], ["No", "Yes"], ["True", "False"]]), st.data(), STYLES)
def test_extraction_undoes_writing_of_yes_and_no(rationale, connector, choices, draw, style):
    answer = draw.draw(st.sampled_from(choices))
    kind = answer_kind(choices, answer)
    rendered = render_answer(answer, choices, style)
    assert read_answer(rendered, choices, kind) == answer
    found = extract(f"{rationale} {connector} {rendered}.", choices, kind)
    assert (found.answer, found.rationale) == (answer, rationale)


@given(RATIONALES, CONNECTORS, NUMBERS, st.sampled_from(["{}", "{:,}", "${:,}", "{}%", "{} apples"]))
def test_extraction_undoes_writing_of_numbers(rationale, connector, number, writing):
    text = f"{rationale} {connector} {writing.format(number)}."
    found = extract(text, None, "number")
    assert found.answer is not None
    assert found.rationale == rationale
    assert same_answer(found.answer, str(number), None, "number")
    assert read_answer(found.answer, None, "number") == found.answer
    assert judge(str(number + 1), str(number), None, "number") == "wrong"


@given(st.text(max_size=200), st.one_of(st.none(), st.lists(st.text(max_size=5), min_size=1, max_size=4)))
@settings(max_examples=300)
def test_no_text_breaks_the_extractors(text, choices):
    kinds = ["yesno", "truefalse", "number", "text", "choice"]
    for kind in kinds:
        found = extract(text, choices, kind)
        assert 0 <= found.start <= len(text)
        for answer in (found.answer, last_mention(text, choices, kind)):
            if kind == "choice" and choices and answer is not None:
                assert answer in choices


@pytest.mark.parametrize(
    "loop",
    [
        "1 2 ",
        "1 + 2 ",
        "1 + 2 = ",
        "the most ",
        "the answer is ",
        "So the answer is (a) fish. ",
        "if ",
        "(",
        "{",
        "\\boxed{",
        "\n",
        '"',
        "1,000,",
        "not False = ",
        "therefore ",
        ". A",
        "\nQ: ",
    ],
)
def test_a_student_caught_in_a_loop_costs_no_more_than_a_moment(loop):
    """Patterns that backtrack would take minutes here, and the suite's time limit would end them."""
    for kind, choices in [("choice", SEA), ("yesno", ["yes", "no"]), ("number", None), ("text", None)]:
        extract(loop * (8000 // len(loop)), choices, kind)


# --------------------------------------------------------------------------------------------- real chains


def answered(text, choices, kind) -> str | None:
    return extract(text, choices, kind).answer


@cache
def verdicts(questions: str, teacher: str, read) -> dict[str, Counter]:
    """Verdicts on every chain of a teacher, by task ("all" is their sum)."""
    by_id = {row["id"]: row for row in real.rows(f"normalised/{questions}.jsonl")}
    counts: dict[str, Counter] = {"all": Counter()}
    for row in real.rows(f"teacher/{questions}.{teacher}.jsonl"):
        question = by_id[row["id"]]
        choices, gold = question["choices"], question["answer"]
        kind = answer_kind(choices, gold)
        for sample in row["samples"]:
            verdict = judge(read(sample["text"], choices, kind), gold, choices, kind)
            for task in ("all", row["id"].rsplit("-", 1)[0]):
                counts.setdefault(task, Counter())[verdict] += 1
    return counts


@pytest.mark.parametrize("style", ["text", "letter", "letter-text"])
def test_every_real_choice_reads_back_in_every_style(style):
    """Every choice of every question, and every free gold answer, as written: itself, and nothing else."""
    for path in sorted(real.data("normalised").glob("*.jsonl")):
        for row in real.rows(f"normalised/{path.name}"):
            choices, gold = row["choices"], row["answer"]
            kind = answer_kind(choices, gold)
            for choice in choices or [gold]:
                rendered = render_answer(choice, choices, style)
                assert same_answer(rendered, choice, choices, kind), (row["id"], rendered)
                verdict = judge(read_answer(rendered, choices, kind), gold, choices, kind)
                assert (verdict == "right") == (choice == gold), (row["id"], rendered)


@pytest.mark.parametrize(
    ("questions", "teacher", "right", "wrong", "unparsed"),
    [
        # 75.4 %. The recorded 7,413 (76.1 %) has 25 more: it reads "either (b) couch or (e) bed" as (e), from
        # the first letter of "either", and 44 more: it reads "(a) movies or (c) theatre" as (a). All are unparsed.
        ("commonsenseqa.train", "palm-540b", 7344, 2109, 288),
        ("commonsenseqa.train", "llama3-70b-L3", 9726, 6, 0),
        ("openbookqa.train", "gpt-4o-0shot-nogold", 4644, 266, 45),
        ("openbookqa.train", "gpt-4o-L3", 4930, 19, 6),
        ("strategyqa.train", "gpt-4o-L3", 1335, 56, 0),
        # its chains end before any answer: only those that say yes or no can be judged
        ("strategyqa.train", "mentor-kd-gpt-3.5-turbo", 120, 34, 3482),
        ("svamp.train", "gpt-4o-L3", 478, 7, 1),
        # the wrong ones are spelled apart ("aas e") or misspelled
        ("last_letter_concatenation.train", "mentor-kd-gpt-3.5-turbo", 993, 55, 2),
    ],
)
def test_real_chains(questions, teacher, right, wrong, unparsed):
    counts = verdicts(questions, teacher, answered)["all"]
    assert dict(counts) == {
        k: n for k, n in zip(("right", "wrong", "unparsed"), (right, wrong, unparsed), strict=True) if n
    }


@pytest.mark.parametrize(
    ("task", "published"),
    [
        ("boolean_expressions", 92.8),
        ("causal_judgement", 54.0),
        ("date_understanding", 87.2),
        ("disambiguation_qa", 76.0),
        ("geometric_shapes", 54.4),
        ("hyperbaton", 66.4),
        ("navigate", 96.4),
        ("sports_understanding", 97.6),
        ("tracking_shuffled_objects_five_objects", 89.6),
        ("tracking_shuffled_objects_seven_objects", 85.6),
        ("tracking_shuffled_objects_three_objects", 78.4),
    ],
)
def test_big_bench_hard_as_published(task, published):
    counts = verdicts("bbh_shared.test", "code-davinci-002", answered)[f"bbh-{task}"]
    assert round(100 * counts["right"] / counts.total(), 1) == published


def test_palm_figure_with_undecided_answers_read_as_recorded():
    """The gap to the recorded 76.1 % is "either", read as the letter e, and the first of several letters."""
    by_id = {row["id"]: row for row in real.rows("normalised/commonsenseqa.train.jsonl")}
    right = total = 0
    for row in real.rows("teacher/commonsenseqa.train.palm-540b.jsonl"):
        question, text = by_id[row["id"]], row["samples"][0]["text"]
        choices, gold = question["choices"], question["answer"]
        found = extract(text.replace("So the answer is either", "So the answer is (e)"), choices, "choice")
        if found.answer is None and (several := re.search(r"So the answer is \(([a-e])\)[^.]*(?: or | and |, )", text)):
            found = extract(f"The answer is ({several[1]}).", choices, "choice")
        right += judge(found.answer, gold, choices, "choice") == "right"
        total += 1
    assert (right, total) == (7413, 9741)
    assert round(100 * right / total, 1) == 76.1


def test_two_extractors_differ_where_chains_talk_on():
    """Sensitivity is real: over the same chains the last mention gives other figures."""
    first = verdicts("openbookqa.train", "gpt-4o-0shot-nogold", answered)["all"]
    last = verdicts("openbookqa.train", "gpt-4o-0shot-nogold", last_mention)["all"]
    assert (last["right"], last["wrong"], last["unparsed"]) == (4651, 300, 4)
    assert first.total() == last.total() == 4955


def test_the_bottom_layer_stays_light():
    code = "import sys, cotdistill.answers.answers; print({'torch', 'pydantic', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
