"""Controls: training rows with one thing removed, so that it shows where a gain comes from.

swapped     every rationale is another question's: same style and lengths, nothing about this question
random      every rationale becomes as many words, drawn from all rationales' words by their frequency
shuffled    every label is drawn among its choices (without choices: another question's); rationales stay

Every draw comes from (seed, control, id): it is the same after filtering or reordering. Question and choices stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Literal

from cotdistill.data.records import Item, Rationale, RationaleKind
from cotdistill.seeds import rng

Control = Literal["swapped", "random", "shuffled"]
TITLES: dict[Control, str] = {"swapped": "swapped rationales", "random": "random words", "shuffled": "shuffled labels"}


def controlled(items: Sequence[Item], control: Control, seed: int) -> list[Item]:
    """The rows under one control."""
    return CONTROLS[control](items, seed)


def swapped_rationales(items: Sequence[Item], seed: int) -> list[Item]:
    """Every kept rationale replaced by the kept rationales of the next question in a drawn circle of all questions.

    In a circle no question keeps its own (unless it is the only one). Answers argued for stay.
    """
    circle = sorted(items, key=lambda item: (rng(seed, "swapped", item.id).random(), item.id))
    after = {item.id: circle[(at + 1) % len(circle)] for at, item in enumerate(circle)}

    def of_another(item: Item) -> Callable[[RationaleKind, int, str], str]:
        return lambda kind, at, text: _text_of(after[item.id], kind, at, text)

    return [_with_texts(item, of_another(item)) for item in items]


def random_words(items: Sequence[Item], seed: int) -> list[Item]:
    """Every kept rationale replaced by the same number of words drawn from all kept rationales."""
    pool = [
        word
        for item in items
        for rationale in item.rationales
        if rationale.label == "keep"
        for word in rationale.text.split()
    ]

    def drawn(item: Item) -> Callable[[RationaleKind, int, str], str]:
        return lambda kind, at, text: " ".join(
            rng(seed, "random-words", item.id, kind, at).choices(pool, k=len(text.split()))
        )

    return [_with_texts(item, drawn(item)) for item in items]


def shuffled_labels(items: Sequence[Item], seed: int) -> list[Item]:
    """Gold answers drawn among the choices; where there are none, the answers of a drawn circle of questions.

    Only factual rows change: a counterfactual one argues for its own wrong answer already.
    """
    free = sorted(
        (item for item in items if item.choices is None),
        key=lambda item: (rng(seed, "shuffled", item.id).random(), item.id),
    )
    after = {item.id: free[(at + 1) % len(free)].answer for at, item in enumerate(free)}

    def drawn(item: Item, draw: Random) -> str:
        return after[item.id] if item.choices is None else draw.choice(item.choices)

    return [item.model_copy(update={"answer": drawn(item, rng(seed, "shuffled", item.id))}) for item in items]


CONTROLS: dict[Control, Callable[[Sequence[Item], int], list[Item]]] = {
    "swapped": swapped_rationales,
    "random": random_words,
    "shuffled": shuffled_labels,
}


def _with_texts(item: Item, text_of: Callable[[RationaleKind, int, str], str]) -> Item:
    """The item with new texts for its kept rationales, numbered by kind; the others are left out."""
    rationales: list[Rationale] = []
    kinds: tuple[RationaleKind, RationaleKind] = ("factual", "counterfactual")
    for kind in kinds:
        rationales += [
            rationale.model_copy(update={"text": text_of(kind, at, rationale.text)})
            for at, rationale in enumerate(item.kept(kind))
        ]
    return item.model_copy(update={"rationales": tuple(rationales)})


def _text_of(item: Item, kind: RationaleKind, at: int, otherwise: str) -> str:
    usable = item.kept(kind)
    return usable[at % len(usable)].text if usable else otherwise
