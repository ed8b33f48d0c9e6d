"""Wrong answers to argue for: another *text* than the gold answer, drawn from (seed, id).

SCOTT (arXiv 2305.01879) draws from a global generator, so that its wrong answers depend on the order of rows;
here a row's draw depends on that row alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from cotdistill.answers.answers import same_answer
from cotdistill.answers.numbers import first_number
from cotdistill.data.records import Example
from cotdistill.errors import DataError
from cotdistill.seeds import derive, rng

OPPOSITES = {"yes": "no", "no": "yes", "true": "false", "false": "true"}
NEAR = 10  # a wrong number lies within a tenth of the right one, at least within 10


def wrong_choices(example: Example) -> list[str]:
    """The wrong texts a question offers, each once, in order: one if it is binary, none for free answers."""
    kind = example.kind_of_answer
    if example.choices is not None:
        texts: dict[str, str] = {}
        for text in example.choices:
            texts.setdefault(_words(text), text)
        texts.pop(_words(example.answer))
        return [text for text in texts.values() if not same_answer(text, example.answer, example.choices, kind)]
    opposite = OPPOSITES.get(example.answer.strip().lower())
    return [_like(opposite, example.answer)] if opposite and kind in ("yesno", "truefalse") else []


def wrong_answer(example: Example, pool: Sequence[Example] = (), seed: int = 0) -> str:
    """A wrong answer: a wrong choice, the opposite, a nearby number, else another row's answer of `pool`."""
    offered = wrong_choices(example)
    if offered:
        return rng(seed, "wrong-answer", example.id).choice(offered)
    if example.kind_of_answer == "number":
        return _near_number(example, seed)
    return _answer_of_another(example, pool, seed)


def _near_number(example: Example, seed: int) -> str:
    """A number near gold, with as many decimals: 18 -> 21, 3.50 -> 3.57; below zero only if gold is."""
    gold, _, over = (first_number(example.answer) or "0").partition("/")
    number = Decimal(gold)
    unit = Decimal(1).scaleb(int(number.as_tuple().exponent))
    most = max(NEAR, int(abs(number / unit)) // NEAR)
    below = most if number < 0 else min(most, int(number / unit))
    step = rng(seed, "wrong-answer", example.id).randint(-below, most - 1)
    near = format(number + (step if step < 0 else step + 1) * unit, "f")
    return f"{near}/{over}" if over else near


def _answer_of_another(example: Example, pool: Sequence[Example], seed: int) -> str:
    """Another row's answer, the first in an order drawn for this row, so that adding rows seldom changes it."""
    answers = {
        other.answer
        for other in pool
        if other.task == example.task and not same_answer(other.answer, example.answer, None, "text")
    }
    if not answers:
        raise DataError(
            f"row {example.id!r}: no wrong answer can be drawn, because no other row of the task "
            f"{example.task!r} has another answer; give more rows, or rows with choices"
        )
    return min(answers, key=lambda answer: derive(seed, "wrong-answer", example.id, answer))


def _like(word: str, model: str) -> str:
    """`word` in the case of `model`: Yes -> No, TRUE -> FALSE."""
    return word.upper() if model.isupper() else word.capitalize() if model[:1].isupper() else word


def _words(text: str) -> str:
    return " ".join(text.casefold().split())
