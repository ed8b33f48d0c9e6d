"""A checkable task of your own in one file: its question rows, and a checker of its rationales.

    cotdistill elicit --plugin examples/checker_plugin.py --data sums --teacher rows -o rows.jsonl
    cotdistill distill rows.jsonl --strategy cot -o runs/sums
    cotdistill evaluate runs/sums --plugin examples/checker_plugin.py --data sums

`elicit` says how many rationales support their answer, `evaluate` which share of the student's steps is true
(`steps_true`) and how many of its rationales are sound proofs (`sound`). Test yours with `cotdistill.testing`:

    check_data_set("sums"); check_checker("sums", "sums")
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from cotdistill.plugins import Checker, RationaleCheck, Step, checker, data_set
from cotdistill.seeds import rng

SIZES = {"train": 200, "dev": 50, "test": 50}
LONG = "long"  # more terms than were trained on
QUESTION = re.compile(r"What is ((?:\d+ \+ )+\d+)\?")
STEP = re.compile(r"(\d+) \+ (\d+) = (\d+)\.")


@data_set("sums", evaluated=("test", LONG), dev="dev")
def sums(split: str, seed: int) -> Iterator[dict[str, Any]]:
    """Sums of three numbers, of five in `long`."""
    for number in range(SIZES.get(split, 50)):
        draw = rng(seed, "sums", split, number)
        terms = [draw.randint(1, 99) for _ in range(5 if split == LONG else 3)]
        yield {
            "question": f"What is {' + '.join(map(str, terms))}?",
            "answer": str(sum(terms)),
            "rationale": proof(terms),
        }


@checker("sums")
class Sums(Checker):
    """Adds up, term by term: "2 + 3 = 5. 5 + 4 = 9." """

    def check(self, question: str, choices: Sequence[str] | None, rationale: str) -> RationaleCheck | None:
        found = QUESTION.fullmatch(question)
        if found is None:
            return None  # a question of another task
        total, *rest = terms_of(found[1])
        steps: list[Step] = []
        for place, sentence in enumerate(re.findall(r"[^.]+\.", rationale)):
            step = STEP.fullmatch(sentence.strip())
            if step is None:
                steps.append(Step(sentence.strip(), true=None))
                continue
            left, right, result = map(int, step.groups())
            linked = place < len(rest) and (left, right) == (total, rest[place])
            steps.append(Step(step[0], left + right == result, linked, str(result)))
            total = result
        complete = len(steps) == len(rest) and all(step.linked for step in steps)
        return RationaleCheck(tuple(steps), steps[-1].says if steps else None, complete)

    def argue(self, question: str, answer: str, seed: int = 0) -> str | None:
        """The proof; for a wrong answer its last step is false."""
        found = QUESTION.fullmatch(question)
        if found is None or not answer.isdigit():
            return None
        return re.sub(r"\d+\.$", f"{answer}.", proof(terms_of(found[1])))


def terms_of(text: str) -> list[int]:
    """The numbers of "2 + 3 + 4"."""
    return [int(term) for term in text.split(" + ")]


def proof(terms: Sequence[int]) -> str:
    """ "2 + 3 = 5. 5 + 4 = 9." """
    total, steps = terms[0], []
    for term in terms[1:]:
        steps.append(f"{total} + {term} = {total + term}.")
        total += term
    return " ".join(steps)
