"""The plain documents from which the embedded teacher and the untrained student are made.

The teacher reads the whole world, held-out pairs and new words included, and every form in which a teacher is
prompted: its own row in a table is a ceiling, not a result. Three in ten of its hinted documents are careless
by design: the rationale argues for a choice drawn regardless of the hint. So it hallucinates as large
teachers do, and contrastive decoding has something to fix.

The untrained student has read single facts, sums, and questions without answers. It never meets which kind
a thing is, nor where things go: whatever reasoning it does later comes from distillation. The choices and the
cue of its questions are drawn without regard to the answer, or they would tell which answers go with what.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from random import Random
from string import ascii_lowercase
from typing import NamedTuple

from cotdistill.seeds import rng
from cotdistill.world.questions import CHOICES, FAMILIES, PosedProblem, draw

# SCOTT's prompts (arXiv 2305.01879, public code); {answer} may be empty. The teacher writes from {rationale}.
HINTED = "Q: {question}\nAnswer Choices:\n{choices}\nA: The answer is {answer}. {rationale}\n\n"
UNHINTED = "Q: {question}\nAnswer Choices:\n{choices}\nA: {rationale} So the answer is {answer}.\n\n"

FAMILY_WEIGHTS: Mapping[str, float] = {"kinds": 2.0, "clocks": 2.0, "stow": 1.0}
TEACHER_PLAIN = 0.20
# Shares of prompts with hints. More are wrong than gold: with equal shares the teacher always argues for the truth.
TEACHER_QUESTIONS = {"unhinted": 0.25, "gold": 0.15, "wrong": 0.45, "blank": 0.15}
CARELESS = 0.30
BASE_SHARES = {"facts": 0.4, "question": 0.2, "retelling": 0.4}
FAR = 0.25  # share of out-of-domain problems
SENTENCES = 5  # in a document of facts


class Document(NamedTuple):
    """One document: what is given and what is to be written after it; joined, they are the text.

    Parts begin with their blank or newline, so that they may be tokenised apart.
    """

    prompt: str
    completion: tuple[str, ...]

    @property
    def text(self) -> str:
        """The whole document."""
        return self.prompt + "".join(self.completion)


def lettered(choices: Sequence[str]) -> str:
    """`(a) x`, one choice per line."""
    return "\n".join(f"({letter}) {choice}" for letter, choice in zip(ascii_lowercase, choices, strict=False))


def teacher_documents(seed: int = 0, families: Mapping[str, float] = FAMILY_WEIGHTS) -> Iterator[Document]:
    """The teacher's documents, without end; each depends on (seed, index) alone."""
    for i in count():
        random = rng(seed, "teacher-document", i)
        family = _pick(families, random)
        yield _plain(family, random) if random.random() < TEACHER_PLAIN else _explained(family, random)


def base_documents(seed: int = 0, families: Mapping[str, float] = FAMILY_WEIGHTS) -> Iterator[Document]:
    """The untrained student's documents, without end; each depends on (seed, index) alone."""
    for i in count():
        random = rng(seed, "base-document", i)
        family = _pick(families, random)
        part = _pick(BASE_SHARES, random)
        yield _facts(family, random) if part == "facts" else _unanswered(family, part == "retelling", random)


def _plain(family: str, random: Random) -> Document:
    read = FAMILIES[family].fact, FAMILIES[family].lesson
    return Document("", (*(" " + random.choice(read)(random) for _ in range(SENTENCES)), "\n\n"))


def _explained(family: str, random: Random) -> Document:
    item = draw(family, random.random() < FAR, random)
    gold = item.problem.answer
    case = _pick(TEACHER_QUESTIONS, random)
    if case == "unhinted":
        return _document(UNHINTED, item, gold, item.problem.argue(gold, random).text)
    wrong = random.choice([choice for choice in item.choices if choice != gold])
    hint = {"gold": gold, "wrong": wrong, "blank": ""}[case]
    aim = random.choice(item.choices) if random.random() < CARELESS else hint or gold
    return _document(HINTED, item, hint, item.problem.argue(aim, random).text)


def _document(template: str, item: PosedProblem, answer: str, rationale: str) -> Document:
    before, after = template.split(" {rationale}")
    prompt = before.format(question=item.question, choices=lettered(item.choices), answer=answer)
    return Document(prompt, (" " + rationale, after.format(answer=answer)))


def _facts(family: str, random: Random) -> Document:
    return Document("", tuple(" " + FAMILIES[family].fact(random) for _ in range(SENTENCES)))


def _unanswered(family: str, retold: bool, random: Random) -> Document:
    problem = FAMILIES[family].draw(random, random.random() < FAR)
    choices = tuple(random.sample(problem.options, CHOICES))
    item = PosedProblem(problem, choices, random.choice(choices) if problem.cued else None)
    question = f"{item.question}\nAnswer Choices:\n{lettered(choices)}"
    if not retold:
        return Document("", (question,))
    listed = f" The choices are {', '.join(choices[:-1])} and {choices[-1]}."
    return Document("", (question, "\nRetold:", " " + problem.retelling(), listed))


def _pick(weights: Mapping[str, float], random: Random) -> str:
    return random.choices(list(weights), list(weights.values()))[0]
