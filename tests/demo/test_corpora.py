"""The documents: the mixture, the teacher's prompts, and what the untrained student must not have read."""

from __future__ import annotations

import math
import re
from collections import Counter
from itertools import islice

import pytest

from cotdistill.data.records import Example
from cotdistill.demo.corpora import FAMILY_WEIGHTS, HINTED, UNHINTED, base_documents, lettered, teacher_documents
from cotdistill.teachers.prompts import PromptTemplate
from cotdistill.world import questions as world
from cotdistill.world.checker import check
from cotdistill.world.kinds import KIND_OF, RELATIONS, THINGS
from cotdistill.world.problem import Problem
from cotdistill.world.stow import PLACES, WORDS

COUNT = 4000
TEACHER = list(islice(teacher_documents(), COUNT))
BASE = list(islice(base_documents(), COUNT))
PROMPT = re.compile(
    r"Q: (.*)\nAnswer Choices:\n\(a\) (.*)\n\(b\) (.*)\n\(c\) (.*)\n\(d\) (.*)\nA:(?: The answer is (.*)\.)?"
)


def near(found: int, of: int, p: float) -> bool:
    """Within four standard errors."""
    return abs(found / of - p) < 4 * math.sqrt(p * (1 - p) / of)


def questions() -> list[tuple[re.Match[str], str]]:
    """(prompt, rationale) of every teacher document that asks something."""
    return [
        (found, document.completion[0].strip())
        for document in TEACHER
        if document.prompt and (found := PROMPT.fullmatch(document.prompt))
    ]


def problem_of(found: re.Match[str]) -> Problem:
    """The problem a prompt puts."""
    problem = world.parse(found[1])
    assert problem is not None
    return problem


def test_documents_are_reproducible() -> None:
    assert list(islice(teacher_documents(), 50)) == TEACHER[:50]
    assert list(islice(base_documents(), 50)) == BASE[:50]
    assert list(islice(teacher_documents(seed=1), 50)) != TEACHER[:50]


def test_parts_begin_with_their_blank_and_documents_end_as_they_should() -> None:
    for document in TEACHER:
        assert all(part[0] in " \n" for part in document.completion)
        assert document.prompt == document.prompt.rstrip()
        assert document.text.endswith(".\n\n")
        assert document.text.index("\n\n") == len(document.text) - 2  # nothing else stops the teacher
    for document in BASE:
        assert document.prompt == ""
        assert all(part[0] in " \n" for part in document.completion[1:])
        assert "\n\n" not in document.text


def test_the_teacher_reads_the_declared_mixture() -> None:
    asked = questions()
    plain = [document for document in TEACHER if not document.prompt]
    assert len(asked) + len(plain) == COUNT
    assert near(len(plain), COUNT, 0.20)
    problems = [problem_of(found) for found, _ in asked]
    hints = Counter(
        "unhinted"
        if (hint := found[6]) is None
        else "blank"
        if not hint
        else "gold"
        if hint == problem.answer
        else "wrong"
        for (found, _), problem in zip(asked, problems, strict=True)
    )
    for case, share in {"unhinted": 0.25, "gold": 0.15, "wrong": 0.45, "blank": 0.15}.items():
        assert near(hints[case], len(asked), share), case
    families = Counter(type(problem).__name__.lower() for problem in problems)
    for family, weight in FAMILY_WEIGHTS.items():
        assert near(families[family], len(asked), weight / sum(FAMILY_WEIGHTS.values())), family


def test_three_in_ten_hinted_rationales_do_not_look_at_the_hint() -> None:
    followed: Counter[bool] = Counter()
    for found, rationale in questions():
        verdict = check(found[1], found.groups()[1:5], rationale)
        assert verdict is not None
        assert verdict.complete
        assert verdict.malformed == 0
        assert len(verdict.false_steps) == (verdict.supports != problem_of(found).answer)
        if found[6] is None:
            assert verdict.sound  # without a hint the teacher is never careless
        elif found[6]:
            followed[verdict.supports == found[6]] += 1
    assert near(followed[True], followed.total(), 0.70 + 0.30 / 4)  # a careless one may hit it by chance


def test_unhinted_documents_conclude_with_the_gold_answer() -> None:
    for document in TEACHER:
        found = PROMPT.fullmatch(document.prompt)
        if found and found[6] is None:
            assert document.completion[1] == f" So the answer is {problem_of(found).answer}.\n\n"


def test_documents_are_the_two_templates_filled_in() -> None:
    row = world.rows("demo", "train", limit=1)[0]
    filled = {"question": row["question"], "choices": lettered(row["choices"]), "rationale": row["rationale"]}
    shape = re.compile(PROMPT.pattern + r" .*\n\n")
    for text in (HINTED.format(answer="", **filled), UNHINTED.format(answer=row["answer"], **filled)):
        assert shape.fullmatch(text)
    assert "A: The answer is . " in HINTED.format(answer="", **filled)


@pytest.mark.parametrize("hint", [None, "", "workshop"])
def test_the_teacher_is_asked_in_the_words_it_was_trained_on(hint: str | None) -> None:
    example = Example(
        id="1",
        question="Someone says river. Where would you find a drill?",
        choices=("workshop", "river", "garage", "forest"),
        answer="workshop",
    )
    template = UNHINTED if hint is None else HINTED
    trained = template.split(" {rationale}")[0].format(
        question=example.question, choices=lettered(example.choices or ()), answer=hint
    )
    assert PromptTemplate().render(example, hint=hint) == trained


def test_the_untrained_student_reads_no_answers_and_no_kind_of_a_thing() -> None:
    words_of = {document.text: set(re.findall(r"\w+", document.text)) for document in BASE}
    for text, words in words_of.items():
        assert not (words & set(KIND_OF) and words & set(THINGS)), text
        assert "answer" not in words
        assert "Things" not in words
        assert not (words & set(PLACES) and words & set(WORDS)), text  # features never meet places


def test_its_questions_do_not_tell_which_answers_go_with_which_thing() -> None:
    asked = [
        (found[1], found.groups()[1:5])
        for document in islice(base_documents(seed=2), 4 * COUNT)
        if (found := PROMPT.match("Q: " + document.text.split("\nRetold")[0] + "\nA:"))
    ]
    assert len(asked) > COUNT
    for family, options in (("kinds", 8), ("clocks", 12), ("stow", 8)):
        mine = [
            (p, q, choices) for q, choices in asked if (p := world.parse(q)) and isinstance(p, world.FAMILIES[family])
        ]
        assert near(sum(p.answer in choices for p, _, choices in mine), len(mine), 4 / options)
        if family != "stow":
            assert near(sum(world.cue(q) == p.answer for p, q, _ in mine), len(mine), 1 / options)


def test_it_has_read_every_fact_and_met_every_thing() -> None:
    read = " ".join(document.text for document in islice(base_documents(), 20_000))
    for kind in THINGS:
        for relation in RELATIONS.values():
            assert relation.states.format(kind, relation.of(kind)) in read
    for thing in KIND_OF:
        assert f"The question is about a {thing}." in read
    for value, words in WORDS.items():
        for word in words:
            assert f"What is {word} is {value}." in read
    assert {tuple(map(int, s)) for s in re.findall(r"(\d+) plus (\d+) is \d+", read)} == {
        (hour, wait) for hour in range(1, 13) for wait in range(1, 7)
    }
