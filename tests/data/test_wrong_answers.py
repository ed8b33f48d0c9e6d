"""Wrong means another text, drawn from (seed, id) alone."""

from __future__ import annotations

from fractions import Fraction

import pytest

from cotdistill.answers.answers import same_answer
from cotdistill.data.records import Example
from cotdistill.data.wrong_answers import wrong_answer, wrong_choices
from cotdistill.errors import DataError


def row(answer: str, choices: tuple[str, ...] | None = None, name: str = "r", task: str = "t") -> Example:
    return Example(id=name, question="q", choices=choices, answer=answer, task=task)


def test_another_text_not_another_index() -> None:
    example = row("pond", ("pond", "sky", "pond", "Pond", "sky"))
    assert wrong_choices(example) == ["sky"]
    assert {wrong_answer(example, seed=seed) for seed in range(20)} == {"sky"}


@pytest.mark.parametrize(
    ("answer", "choices", "wrong"),
    [
        ("yes", ("yes", "no"), "no"),
        ("false", ("true", "false"), "true"),
        ("yes", None, "no"),
        ("True", None, "False"),
        ("NO", None, "YES"),
        ("Yes", ("No", "Yes"), "No"),
    ],
)
def test_binary_questions_give_the_opposite(answer: str, choices: tuple[str, ...] | None, wrong: str) -> None:
    assert [wrong_answer(row(answer, choices), seed=seed) for seed in range(5)] == [wrong] * 5


@pytest.mark.parametrize("answer", ["18", "0", "1", "3.50", "-7", "1,000", "$20", "123456789", "0.05", "3/4"])
def test_a_wrong_number_is_near_and_never_equal(answer: str) -> None:
    example = row(answer)
    assert example.kind_of_answer == "number"
    drawn = {wrong_answer(example, seed=seed) for seed in range(50)}
    assert len(drawn) > 5
    gold = abs(Fraction(answer.replace(",", "").replace("$", "")))
    for wrong in drawn:
        assert not same_answer(wrong, answer, None, "number")
        value = Fraction(wrong)
        assert abs(value - Fraction(answer.replace(",", "").replace("$", ""))) <= max(10, gold / 10)
        assert (value >= 0) or answer == "-7"


def test_a_free_text_takes_the_answer_of_another_row_of_its_task() -> None:
    pool = [row(answer, name=f"r{at}") for at, answer in enumerate(["honey", "Honey", "wax", "milk"])]
    pool.append(row("Rome", name="other", task="capitals"))
    drawn = {wrong_answer(pool[0], pool, seed) for seed in range(30)}
    assert drawn == {"wax", "milk"}


def test_more_rows_seldom_change_a_draw_and_order_never() -> None:
    pool = [row(f"word{chr(97 + at)}", name=f"r{at}") for at in range(20)]
    before = [wrong_answer(example, pool, 3) for example in pool]
    assert [wrong_answer(example, pool[::-1], 3) for example in pool] == before
    grown = [*pool, row("another", name="new")]
    assert sum(wrong_answer(example, grown, 3) != old for example, old in zip(pool, before, strict=True)) <= 4


def test_a_lonely_free_text_has_no_wrong_answer() -> None:
    with pytest.raises(DataError, match="no other row of the task 't' has another answer"):
        wrong_answer(row("honey"), [row("honey")])
