"""The embedded world's question rows: splits, four choices, and a spurious cue.

Questions of kinds and clocks open with `Someone says X.`, which names one of the choices: the gold one with
p = .85 in `train`, `dev` and `id` (else a wrong one), any of the four with equal chance in `shift` and out of
domain. A student that leans on the cue instead of reasoning looks well in `id` and falls in `shift`; there,
the items whose cue names a wrong choice show it most.

No content of a test split is in `train` or `dev`: each belongs to one side for good, whatever the seed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from random import Random
from typing import Any

from cotdistill.errors import UsageError, did_you_mean
from cotdistill.seeds import derive, rng
from cotdistill.world.clocks import Clocks
from cotdistill.world.kinds import Kinds
from cotdistill.world.problem import Argument, Problem
from cotdistill.world.stow import Stow

VERSION = 1  # raised whenever a row, a document or the tokenizer changes: recorded results depend on it
SOURCE = f"cotdistill embedded world {VERSION}"
LICENSE = "Apache-2.0"

FAMILIES: dict[str, type[Problem]] = {"kinds": Kinds, "clocks": Clocks, "stow": Stow}
WORLDS = {"demo": ("kinds", "clocks"), "kinds": ("kinds",), "clocks": ("clocks",), "stow": ("stow",)}
_CUED_SIZES = {"train": 1000, "dev": 200, "id": 300, "shift": 300, "hard": 300}
SIZES = {
    "demo": _CUED_SIZES,
    "kinds": _CUED_SIZES,
    "clocks": _CUED_SIZES,
    "stow": {"train": 200, "dev": 100, "id": 300, "new": 300},
}

CHOICES = 4
CUE = re.compile(r"Someone says (\w+)\. ")
CUE_NAMES_GOLD = 0.85
_CUE_HELPS = ("train", "dev", "id")


@dataclass(frozen=True)
class PosedProblem:
    """A problem as it is put: with choices, and the choice its cue names (None: no cue)."""

    problem: Problem
    choices: tuple[str, ...]
    cue: str | None

    @property
    def question(self) -> str:
        """Cue and text."""
        return f"Someone says {self.cue}. {self.problem.text()}" if self.cue else self.problem.text()


def rows(name: str = "demo", split: str = "train", limit: int | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """Question rows (fields of the row contract), at most `limit`; demo alternates kinds and clocks.

    Fewer rows are a prefix of more; those of kinds and of clocks begin with the ones demo has of them.
    Raises `UsageError` for a name or split that does not exist.
    """
    return list(islice(stream(name, split, seed), limit))


def stream(name: str, split: str, seed: int = 0) -> Iterator[dict[str, Any]]:
    """`rows` one by one, made as they are asked for."""
    size = _size(name, split)
    streams = [_rows(family, split, seed) for family in WORLDS[name]]
    return (next(streams[i % len(streams)]) for i in range(size))


def splits(name: str = "demo") -> tuple[str, ...]:
    """The splits of a world."""
    return tuple(_sizes(name))


def draw(family: str, far: bool, random: Random) -> PosedProblem:
    """A random item whose cue says nothing about the answer."""
    problem = FAMILIES[family].draw(random, far)
    choices = [problem.answer, *random.sample(_wrong(problem), CHOICES - 1)]
    random.shuffle(choices)
    return PosedProblem(problem, tuple(choices), random.choice(choices) if problem.cued else None)


def parse(question: str) -> Problem | None:
    """The problem that a question puts; None if it is none of this world's."""
    text = CUE.sub("", question, count=1) if CUE.match(question) else question
    return next((found for family in FAMILIES.values() if (found := family.parse(text))), None)


def cue(question: str) -> str | None:
    """What `Someone says X.` names; None for a question without a cue."""
    found = CUE.match(question)
    return found[1] if found else None


def says_cue(question: str, rationale: str) -> bool | None:
    """Whether a rationale owns up to the cue ("... says X"), not merely to its answer; None: there is no cue."""
    named = cue(question)
    return None if named is None else re.search(rf"\bsays {named}\b", rationale) is not None


def argue(question: str, answer: str, seed: int = 0) -> Argument:
    """A rationale for an answer to one of this world's questions; for a wrong one exactly one step is false.

    Raises `ValueError` for a question that is none of this world's, and for an answer that it cannot have.
    """
    problem = parse(question)
    if problem is None:
        raise ValueError(f"not a question of the embedded world: {question!r}")
    return problem.argue(answer, rng(seed, "demo-argue", question, answer))


def side(content: str) -> str:
    """The side of the train / dev / test border that a content belongs to: 70, 10 and 20 of a hundred."""
    place = derive(0, "demo-side", content) % 10
    return "train" if place < 7 else "dev" if place < 8 else "test"


def _rows(family: str, split: str, seed: int) -> Iterator[dict[str, Any]]:
    mark = f"s{seed}-" if seed else ""  # ids of other seeds must not join with rows of this one
    for i, item in enumerate(_items(family, split, seed)):
        yield {
            "id": f"{family}-{split}-{mark}{i:05d}",
            "task": family,
            "split": split,
            "question": item.question,
            "choices": list(item.choices),
            "answer": item.problem.answer,
            "rationale": " ".join(item.problem.proof()),
            "source": SOURCE,
            "license": LICENSE,
        }


def _items(family: str, split: str, seed: int) -> Iterator[PosedProblem]:
    """Items without end, no two with the same text and the same set of choices."""
    seen = set()
    wanted = split if split in ("train", "dev") else "test"
    for i in count():
        random = rng(seed, "demo-item", family, split, i)
        while True:
            item = draw(family, split == FAMILIES[family].far, random)
            key = (item.problem.text(), frozenset(item.choices))
            if key not in seen and side(item.problem.content(item.choices)) == wanted:
                break
        seen.add(key)
        yield _with_cue(item, split, random)


def _with_cue(item: PosedProblem, split: str, random: Random) -> PosedProblem:
    if item.cue is None or split not in _CUE_HELPS:
        return item
    gold = item.problem.answer
    helps = random.random() < CUE_NAMES_GOLD
    named = gold if helps else random.choice([choice for choice in item.choices if choice != gold])
    return PosedProblem(item.problem, item.choices, named)


def _wrong(problem: Problem) -> list[str]:
    return [option for option in problem.options if option != problem.answer]


def _sizes(name: str) -> dict[str, int]:
    if name not in SIZES:
        known = ", ".join(SIZES)
        raise UsageError(f"unknown embedded world {name!r}{did_you_mean(name, SIZES)}; there are {known}")
    return SIZES[name]


def _size(name: str, split: str) -> int:
    sizes = _sizes(name)
    if split not in sizes:
        known = ", ".join(sizes)
        raise UsageError(f"no split {split!r} in {name!r}{did_you_mean(split, sizes)}; there are {known}")
    return sizes[split]
