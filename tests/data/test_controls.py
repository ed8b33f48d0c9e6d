"""Controls take one thing away and leave everything else; draws depend on (seed, id) only."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotdistill.data.controls import CONTROLS, Control, controlled
from cotdistill.data.records import Item, Rationale


def rationale(kind: str, text: str, answer: str, label: str = "keep") -> Rationale:
    return Rationale.model_validate(
        {
            "kind": kind,
            "text": text,
            "answer": answer,
            "correct": True,
            "label": label,
            "teacher": "t",
            "decoding": {},
            "prompt": None,
            "finished": True,
        }
    )


def items(count: int, free: bool = False) -> list[Item]:
    return [
        Item(
            id=f"q{n}",
            task="t",
            split=None,
            question=f"Question {n}?",
            answer=f"gold{n}",
            choices=None if free else (f"gold{n}", f"wrong{n}", f"other{n}"),
            rationales=(
                rationale("factual", f"Fact {n} has {'very ' * n}own words.", f"gold{n}"),
                rationale("factual", f"Dropped {n}.", f"gold{n}", "wrong"),
                rationale("counterfactual", f"Lie {n} in words.", f"wrong{n}"),
            ),
        )
        for n in range(count)
    ]


def texts(rows: list[Item], kind: str = "factual") -> list[str]:
    return [r.text for item in rows for r in item.kept(kind)]  # type: ignore[arg-type]


@pytest.mark.parametrize("control", CONTROLS)
@given(count=st.integers(2, 9), seed=st.integers(0, 3))
def test_questions_choices_and_ids_stay(control: Control, count: int, seed: int) -> None:
    before, after = items(count), controlled(items(count), control, seed)
    assert [(i.id, i.question, i.choices) for i in after] == [(i.id, i.question, i.choices) for i in before]
    assert controlled(items(count), control, seed) == after  # the same draw again
    assert all(item.answer in (item.choices or ()) for item in after)


@given(count=st.integers(2, 9), seed=st.integers(0, 3))
def test_swapped_gives_every_question_another_ones_rationale(count: int, seed: int) -> None:
    before, after = items(count), controlled(items(count), "swapped", seed)
    for kind in ("factual", "counterfactual"):
        assert Counter(texts(after, kind)) == Counter(texts(before, kind))
        assert all(old != new for old, new in zip(texts(before, kind), texts(after, kind), strict=True))
    assert [item.answer for item in after] == [item.answer for item in before]


@given(count=st.integers(1, 6), seed=st.integers(0, 3))
def test_random_words_keep_each_length_and_come_from_the_rationales(count: int, seed: int) -> None:
    before, after = items(count), controlled(items(count), "random", seed)
    words = {word for kind in ("factual", "counterfactual") for text in texts(before, kind) for word in text.split()}
    assert [len(t.split()) for t in texts(after)] == [len(t.split()) for t in texts(before)]
    assert {word for text in texts(after) for word in text.split()} <= words
    assert "Dropped" not in " ".join(texts(after))


def test_shuffled_labels_hit_gold_as_often_as_chance() -> None:
    after = controlled(items(600), "shuffled", 0)
    hits = sum(item.answer.startswith("gold") for item in after)
    assert 150 < hits < 250  # a third of 600
    assert texts(after) == texts(items(600))


def test_shuffled_labels_of_free_answers_are_another_questions() -> None:
    after = controlled(items(7, free=True), "shuffled", 1)
    assert sorted(item.answer for item in after) == sorted(f"gold{n}" for n in range(7))
    assert all(item.answer != f"gold{n}" for n, item in enumerate(after))


def test_random_words_of_a_row_do_not_depend_on_its_place() -> None:
    rows = items(5)
    forward = {item.id: item for item in controlled(rows, "random", 0)}
    assert len({item.rationales[0].text for item in forward.values()}) == 5
    shuffled = {item.id: item for item in controlled(rows, "shuffled", 0)}
    assert {item.id: item.answer for item in controlled(rows[::-1], "shuffled", 0)} == {
        name: item.answer for name, item in shuffled.items()
    }
