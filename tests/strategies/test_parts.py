"""Weights and shares of parts: the coefs of an optimizer step against the formula written out plainly."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from cotdistill.data.card_shape import StrategyShape
from cotdistill.errors import UsageError
from cotdistill.strategies.description import dump_strategy, load_strategy
from cotdistill.strategies.forms import FillContext, Part, Strategy
from cotdistill.strategies.join import join
from cotdistill.strategies.registry import create
from cotdistill.training.batches import step_trees
from tests.models import items, student

ROWS = items(3)


def coefs(strategy: Strategy, family: str = "llama") -> dict[str, float]:
    """What each learned token of the rows' step counts, by "row/position of the target in its sequence"."""
    pupil = student(family)
    encoder = pupil.encoder(sharing="none")
    data = encoder.encode(join(ROWS, strategy)[0], strategy, FillContext(0, pupil.tokens.segment))
    found: dict[str, float] = {}
    for row, sample in enumerate(data.samples):
        for tree in step_trees(data.samples, data.forms)[row * len(sample) : (row + 1) * len(sample)]:
            for position, weight in zip(tree.positions.tolist(), tree.weights.tolist(), strict=True):
                found[f"{row}/{position}"] = found.get(f"{row}/{position}", 0.0) + weight
    return found


def lengths() -> list[tuple[int, int, int, int]]:
    """Tokens of (prompt, rationale, connector, answer) of cot, row by row."""
    tokens = student("llama").tokens
    made = []
    for item in ROWS:
        prompt = len(tokens.before) + len(tokens.first(item.example().text())) + len(tokens.segment("\nReason:"))
        parts = (item.kept("factual")[0].text, "So the answer is", item.answer)
        made.append((prompt, *(len(tokens.segment(" " + text)) for text in parts)))
    return made  # type: ignore[return-value]


def expected(weights: list[NDArray[np.float64]]) -> dict[str, float]:
    """coef = weight / sum of all weights of the step; position = first learned position + index."""
    total = sum(one.sum() for one in weights)
    return {
        f"{row}/{lengths()[row][0] - 1 + at}": weight / total
        for row, one in enumerate(weights)
        for at, weight in enumerate(one)
        if weight
    }


def test_weights_multiply_those_of_a_part() -> None:
    plain = [np.concatenate([np.full(r, 0.5), np.ones(t), np.full(a + 1, 2.0)]) for _, r, t, a in lengths()]
    assert coefs(create("cot", {"weigh": "rationale=0.5+answer=2"})) == pytest.approx(expected(plain))
    assert coefs(create("cot")) != pytest.approx(expected(plain))


def test_only_the_first_half_of_the_rationale_is_learned() -> None:
    halves = [
        np.concatenate([(np.arange(r) + 0.5) / r < 0.5, np.ones(t + a + 1)]).astype(float) for _, r, t, a in lengths()
    ]
    assert coefs(create("cot", {"weigh": "rationale@50-100=0"})) == pytest.approx(expected(halves))
    other = coefs(create("cot", {"weigh": "rationale@0-50=0"}))
    assert other != pytest.approx(expected(halves))
    assert len(other) + len(expected(halves)) == len(coefs(create("cot"))) + sum(t + a + 1 for _, _, t, a in lengths())


def test_the_prompt_is_learned_too() -> None:
    found = coefs(create("cot", {"weigh": "prompt=0.1"}))
    total = sum(0.1 * (p - 1) + r + t + a + 1 for p, r, t, a in lengths())
    assert found["0/0"] == pytest.approx(0.1 / total)
    assert found[f"0/{lengths()[0][0] - 1}"] == pytest.approx(1 / total)
    assert len(found) == sum(p - 1 + r + t + a + 1 for p, r, t, a in lengths())
    with pytest.raises(UsageError, match="encoder-decoder"):
        coefs(create("cot", {"weigh": "prompt=0.1"}), "t5")


def test_shares_divide_the_loss_of_a_form() -> None:
    found = coefs(create("cot", {"shares": "rationale=0.3+answer=0.7"}))
    rationale, answer = sum(r for _, r, _, _ in lengths()), sum(t + a + 1 for _, _, t, a in lengths())
    prompt, length, *_ = lengths()[0]
    assert found[f"0/{prompt - 1}"] == pytest.approx(0.3 / rationale)
    assert found[f"0/{prompt - 1 + length}"] == pytest.approx(0.7 / answer)
    assert sum(found.values()) == pytest.approx(1)


def test_post_cots_own_share_is_the_same() -> None:
    assert coefs(create("post-cot", {"label_share": 0.3})) == pytest.approx(
        coefs(create("post-cot", {"shares": "answer=0.3+rationale=0.7"}))
    )


def test_a_divided_form_is_walked_as_before_and_read_back_from_a_card() -> None:
    made = create("cot", {"shares": "rationale=0.3+answer=0.7", "weigh": "rationale@0-25=2+prompt=0.1"})
    assert made.plan == create("cot").plan
    card = json.dumps(dump_strategy(made))
    StrategyShape.model_validate_json(card)
    again = load_strategy(json.loads(card), "run")
    assert again.forms == made.forms
    assert dump_strategy(create("cot")) == dump_strategy(load_strategy(dump_strategy(create("cot")), "run"))


def test_weights_of_a_parts_fractions() -> None:
    part = Part(" {rationale}", 1.0, fractions=((0.0, 0.5, 3.0), (0.25, 1.0, 0.5)))
    assert part.weights(4) == [3.0, 1.5, 0.5, 0.5]
    assert part.weights(0) == []


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("cot", {"weigh": "rationale"}, "is not PART=WEIGHT"),
        ("cot", {"weigh": "reason=1"}, "is not PART=WEIGHT"),
        ("cot", {"weigh": "rationale@50-20=1"}, "the smaller first"),
        ("cot", {"weigh": "prompt@0-50=1"}, "not of the prompt"),
        ("cot", {"weigh": "rationale=0+answer=0+text=0"}, "nothing to learn"),
        ("answer-only", {"weigh": "rationale=0.5"}, "changes none of its parts"),
        ("cot", {"shares": "rationale=0.3+answer=0.3"}, "sum to 1"),
        ("cot", {"shares": "text=1"}, "of rationale and answer"),
        ("cascod", {"shares": "rationale=0.3+answer=0.7"}, "no form of it learns both"),
    ],
)
def test_bad_weights_are_refused(name: str, params: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create(name, params)
