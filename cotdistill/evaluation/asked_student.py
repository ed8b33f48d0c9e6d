"""A student that is asked questions: its plan walked, its choices scored, its answers sampled.

The model is loaded when the first question is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from cotdistill.answers.answers import AnswerStyle, render_answer
from cotdistill.config import StudentOptions
from cotdistill.console import warn_once
from cotdistill.data.records import Question
from cotdistill.decoding.choice_scoring import Candidate, score_choices
from cotdistill.decoding.choose_decoder import decoder_for
from cotdistill.decoding.decode import Prompt
from cotdistill.decoding.sampling import Sampling
from cotdistill.decoding.walk import Goal, Walked, walk
from cotdistill.errors import DataError
from cotdistill.evaluation.metrics import options
from cotdistill.seeds import rng
from cotdistill.strategies.forms import Part, Slot, SlotValue, Strategy
from cotdistill.students.encode import Encoder
from cotdistill.students.student import Student
from cotdistill.students.tokens import SegmentTokenizer
from cotdistill.students.unknown import unknown_characters


@dataclass(frozen=True)
class ScoredChoices:
    """Texts in the answer's place with (log likelihood, tokens) of each, and how many tokens it took."""

    texts: tuple[str, ...]
    likelihoods: tuple[tuple[float, int], ...]
    forwarded: int

    @property
    def likeliest(self) -> int:
        """The index of the text with the largest likelihood; the first of equals."""
        sums = [total for total, _ in self.likelihoods]
        return sums.index(max(sums))


class AskedStudent:
    """A student that walks one strategy; `answers` is how its answers are written."""

    def __init__(
        self, load: Callable[[], Student], strategy: Strategy, answers: AnswerStyle, config: StudentOptions
    ) -> None:
        self.load, self.strategy, self.answers = load, strategy, answers
        self.asking = config

    @cached_property
    def student(self) -> Student:
        """The model, loaded at the first use."""
        return self.load()

    @cached_property
    def encoder(self) -> Encoder:
        """Renders the strategy's forms for this student."""
        return self.student.encoder(self.answers)

    @property
    def tokens(self) -> SegmentTokenizer:
        """Its tokenizer."""
        return self.student.tokens

    def walk(
        self,
        questions: Sequence[Question],
        filled: Sequence[Mapping[Slot, SlotValue]] | None = None,
        goal: Goal = "answer",
        *,
        limit: int | None = None,
        plan: Sequence[str] | None = None,
        batch_size: int | None = None,
    ) -> list[Walked]:
        """`plan` (the strategy's own where None) walked greedily for every question, from the slots that are filled.

        `limit`: tokens per slot, where it is not --max-new-tokens.
        """
        return walk(
            decoder_for(self.student, batch_size=batch_size or self.asking.batch_size),
            self.encoder,
            self.strategy,
            questions,
            filled,
            goal,
            # A slot that is given, or asked for by itself, is no whole walk: its connectors are always inserted.
            connectors="forced" if filled is not None or plan is not None else self.asking.connectors,
            max_new_tokens=limit or self.asking.max_new_tokens,
            plan=plan,
            think_budget=self.asking.think_budget,
        )

    def walk_samples(self, questions: Sequence[Question], count: int) -> list[list[Walked]]:
        """`count` sampled walks of every question; a draw depends on (seed, question, its number) alone."""
        asked = [(question, k) for question in questions for k in range(count)]
        rule = Sampling(self.asking.temperature, self.asking.top_p)
        walked = walk(
            decoder_for(self.student, rule, self.asking.batch_size),
            self.encoder,
            self.strategy,
            [question for question, _ in asked],
            connectors=self.asking.connectors,
            max_new_tokens=self.asking.max_new_tokens,
            think_budget=self.asking.think_budget,
            draws=[rng(self.asking.seed, "evaluate-sample", question.id, k) for question, k in asked],
        )
        return [walked[at * count : (at + 1) * count] for at in range(len(questions))]

    def answer(
        self, questions: Sequence[Question], batch_size: int | None = None
    ) -> list[tuple[Walked, ScoredChoices | None]]:
        """The plan walked for every question, and how likely its choices are (`--score choices`, `--calibrate`).

        With `--score choices` the walk ends where the answer would begin.
        """
        self.warn_unknown(questions)
        goal: Goal = "choices" if self.asking.score == "choices" else "answer"
        walked = self.walk(questions, goal=goal, batch_size=batch_size)
        return list(zip(walked, self._likelihoods(questions, walked), strict=True))

    def warn_unknown(self, questions: Sequence[Question]) -> None:
        """Say once which characters of the questions the student cannot read."""
        if characters := unknown_characters((question.text() for question in questions), self.tokens):
            warn_once(f"the questions hold characters unknown to the student's tokenizer: {characters}")

    def _likelihoods(self, questions: Sequence[Question], walked: Sequence[Walked]) -> list[ScoredChoices | None]:
        """How likely each choice is in the place of the answer; the answer given where it is free."""
        if not self.asking.calibrate and self.asking.score != "choices":
            return [None] * len(questions)
        asked: list[tuple[int, Prompt, list[Candidate]]] = []
        for at, (question, one) in enumerate(zip(questions, walked, strict=True)):
            candidates = self._candidates(question, one.answer)
            if one.asked is not None and candidates:
                asked.append((at, one.asked, candidates))
        scores = score_choices(self.student, [prompt for _, prompt, _ in asked], [listed for *_, listed in asked])
        likelihoods: list[ScoredChoices | None] = [None] * len(questions)
        for (at, prompt, listed), scored in zip(asked, scores, strict=True):
            likelihoods[at] = ScoredChoices(
                tuple(candidate.text for candidate in listed),
                tuple((round(one.log_likelihood, 6), one.tokens) for one in scored),
                len(prompt.ids) + len(prompt.source or ()) + sum(len(one.ids) - 1 for one in listed),
            )
        return likelihoods

    def _candidates(self, question: Question, output: str | None) -> list[Candidate]:
        """The choices as this student writes them; the answer it gave, where there are none."""
        texts = options(question.choices, question.kind_of_answer)
        if texts is None:
            if self.asking.score == "choices":
                raise DataError(f"row {question.id!r} has no choices to score; use --score walk")
            rendered = [output] if output and output.strip() else []
        else:
            rendered = [render_answer(text, question.choices, self.answers) for text in texts]
        ids = [self.encoder.part_ids(self._answer_part, {"answer": text}) for text in rendered]
        return [Candidate(text, one) for text, one in zip(rendered, ids, strict=True) if one]

    @cached_property
    def _answer_part(self) -> Part:
        """The part of the plan that holds {answer}."""
        parts = [part for name in self.strategy.plan for part in self.strategy.form(name).target]
        return next(part for part in parts if part.slot == "answer")
