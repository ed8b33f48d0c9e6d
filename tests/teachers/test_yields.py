"""The tables at the end: labels, quality, tokens and money."""

from __future__ import annotations

import pytest

from cotdistill.config import ElicitConfig
from cotdistill.data.records import Item
from cotdistill.data.tasks import load_examples
from cotdistill.teachers.filters import item_of, labelled_rationale
from cotdistill.teachers.yields import Bill, Yield, dollars, money, names_answer, supported
from cotdistill.world.questions import argue

GOLD = {"decode": "greedy", "hint": "gold"}


def an_item(argued: str) -> Item:
    example = load_examples("demo", limit=1)[0]
    text = argue(example.question, argued).text
    rationale = labelled_rationale(example, "factual", example.answer, text, teacher="t", decoding=GOLD)
    return item_of(example, [rationale])


def test_the_checker_tells_which_answer_a_rationale_supports() -> None:
    example = load_examples("demo", limit=1)[0]
    wrong = next(choice for choice in example.choices or () if choice != example.answer)
    for argued, verdict in ((example.answer, True), (wrong, False)):
        item = an_item(argued)
        assert supported(item, item.rationales[0]) is verdict
    elsewhere = an_item(example.answer).model_copy(update={"question": "Why?"})
    assert supported(elsewhere, elsewhere.rationales[0]) is None


@pytest.mark.parametrize(
    ("answer", "text", "named"),
    [
        ("shed", "It lies in the Shed.", True),
        ("shed", "It was watershed.", False),
        ("3.5", "That is 3.5 km.", True),
        ("(x", "an (x here", True),
    ],
)
def test_leakage_is_the_answers_own_words(answer: str, text: str, named: bool) -> None:
    rationale = an_item(load_examples("demo", limit=1)[0].answer).rationales[0]
    assert names_answer(rationale.model_copy(update={"answer": answer, "text": text})) is named


def test_the_tables_and_the_bill(capsys: pytest.CaptureFixture[str]) -> None:
    config = ElicitConfig.build(None, price_in=0.5, price_out=2.0)
    bill = Bill.of([(100, 10), (300, 40)], config.price_in, config.price_out)
    found = Yield()
    assert len([*found.counted([an_item(load_examples("demo", limit=1)[0].answer)])]) == 1
    found.show(2, bill)
    said = capsys.readouterr()
    assert said.out == ""
    assert "100.0%" in said.err
    assert "1 rows, 2 calls failed; 400 prompt and 50 completion tokens, $0.0003" in said.err


def test_money() -> None:
    assert money(10, 10, None, None) is None
    assert money(1_000_000, 500_000, 2.0, None) == 2.0
    assert [dollars(cost) for cost in (12.5, 0.00123)] == ["$12.50", "$0.0012"]
