"""Asking a student: walks, samples, explanations, probes. The model is loaded when the first question is
asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from cotdistill.config import EvaluateConfig
from cotdistill.console import warn_once
from cotdistill.data.records import Example
from cotdistill.errors import DataError
from cotdistill.evaluation.answers import AnswerStyle, render_answer
from cotdistill.evaluation.cost import flops_per_token
from cotdistill.evaluation.faithfulness import Explained, ProbeAnswer, Probed
from cotdistill.evaluation.judging import judge_by
from cotdistill.evaluation.metrics import Prediction, options
from cotdistill.evaluation.probes import FILLER, Case, Intervention, Probe, Sources, counterfactual_plan
from cotdistill.evaluation.samples import Sampled
from cotdistill.seeds import rng
from cotdistill.strategies.forms import Part, Slot, SlotValue, Strategy, Tokens
from cotdistill.students.choices import Candidate, score_choices
from cotdistill.students.decode import Prompt
from cotdistill.students.encode import Encoder
from cotdistill.students.families import Student
from cotdistill.students.fitness import decoder_for
from cotdistill.students.sampling import Sampling
from cotdistill.students.unknown import unknown_characters
from cotdistill.students.walk import Goal, Walked, walk

ROOM = 4  # tokens beyond the longest answer: "the", a full stop; what goes on after that is no answer


class Walker:
    """A student that walks one strategy; `answers` is how its answers are written."""

    def __init__(
        self, load: Callable[[], Student], strategy: Strategy, answers: AnswerStyle, config: EvaluateConfig
    ) -> None:
        self.load, self.strategy, self.answers, self.config = load, strategy, answers, config

    @cached_property
    def student(self) -> Student:
        """The model, loaded at the first use."""
        return self.load()

    @cached_property
    def encoder(self) -> Encoder:
        """Renders the strategy's forms for this student."""
        return self.student.encoder(self.answers, share="none")

    def notes(self) -> dict[str, float]:
        """What a store notes of the model, so that figures need none."""
        return {"flops_per_token": flops_per_token(self.student.model)}

    def predict(self, examples: Sequence[Example], batch_size: int) -> list[Prediction]:
        """The plan walked for every question; with `--score choices` up to the answer, which the likelihoods
        give."""
        if characters := unknown_characters((example.text() for example in examples), self.student.tokens):
            warn_once(f"the questions hold characters unknown to the student's tokenizer: {characters}")
        goal: Goal = "choices" if self.config.score == "choices" else "answer"
        decoder = decoder_for(self.student, batch_size=batch_size)
        walked = walk(
            decoder,
            self.encoder,
            self.strategy,
            examples,
            goal=goal,
            connectors=self.config.connectors,
            max_new_tokens=self.config.max_new_tokens,
        )
        likelihoods = self._likelihoods(examples, walked)
        return [
            _prediction(example, one, batch_size, scored, self.config.score == "choices")
            for example, one, scored in zip(examples, walked, likelihoods, strict=True)
        ]

    def _likelihoods(self, examples: Sequence[Example], walked: Sequence[Walked]) -> list[Scored | None]:
        """How likely each choice is in the place of the answer; the answer given where it is free."""
        if not self.config.calibrate and self.config.score != "choices":
            return [None] * len(examples)
        asked: list[tuple[int, Prompt, list[Candidate]]] = []
        for at, (example, one) in enumerate(zip(examples, walked, strict=True)):
            candidates = self._candidates(example, one.answer)
            if one.asked is not None and candidates:
                asked.append((at, one.asked, candidates))
        scores = score_choices(
            self.student, [prompt for _, prompt, _ in asked], [listed for *_, listed in asked]
        )
        found: list[Scored | None] = [None] * len(examples)
        for (at, prompt, listed), scored in zip(asked, scores, strict=True):
            found[at] = Scored(
                tuple(candidate.text for candidate in listed),
                tuple((round(one.log_likelihood, 6), one.tokens) for one in scored),
                len(prompt.ids) + len(prompt.source or ()) + sum(len(one.ids) - 1 for one in listed),
            )
        return found

    def _candidates(self, example: Example, output: str | None) -> list[Candidate]:
        """The choices as this student writes them; the answer it gave, where there are none."""
        texts = options(example.choices, example.kind_of_answer)
        if texts is None:
            if self.config.score == "choices":
                raise DataError(f"row {example.id!r} has no choices to score; use --score walk")
            rendered = [output] if output and output.strip() else []
        else:
            rendered = [render_answer(text, example.choices, self.answers) for text in texts]
        ids = [self.encoder.part_ids(self._answer_part, {"answer": text}) for text in rendered]
        return [Candidate(text, one) for text, one in zip(rendered, ids, strict=True) if one]

    @cached_property
    def _answer_part(self) -> Part:
        """The part of the plan that holds {answer}."""
        parts = [part for name in self.strategy.plan for part in self.strategy.form(name).target]
        return next(part for part in parts if part.slot == "answer")

    def sample(self, examples: Sequence[Example], count: int) -> list[Sampled]:
        """`count` sampled walks of every question; a draw depends on (seed, question, its number) alone."""
        asked = [(example, k) for example in examples for k in range(count)]
        rule = Sampling(self.config.temperature, self.config.top_p)
        walked = walk(
            decoder_for(self.student, rule, self.config.batch_size),
            self.encoder,
            self.strategy,
            [example for example, _ in asked],
            connectors=self.config.connectors,
            max_new_tokens=self.config.max_new_tokens,
            draws=[rng(self.config.seed, "evaluate-sample", example.id, k) for example, k in asked],
        )
        made = []
        for at, example in enumerate(examples):
            outputs = tuple(one.answer for one in walked[at * count : (at + 1) * count])
            judged = [
                judge_by(self.config.extractor)(
                    output, example.answer, example.choices, example.kind_of_answer
                )
                for output in outputs
            ]
            made.append(
                Sampled(
                    id=example.id,
                    outputs=outputs,
                    answers=tuple(answer for answer, _ in judged),
                    verdicts=tuple(verdict for _, verdict in judged),
                )
            )
        return made

    def explain(self, examples: Sequence[Example], predictions: Mapping[str, Prediction]) -> list[Explained]:
        """The rationale given by the `explain` plan for the student's own answer.

        Where that plan reasons before it answers, the answer is its own: what the student says when it reasons.
        """
        assert self.strategy.explain is not None
        reasons = replace(self.strategy, plan=self.strategy.explain).answers_after_rationale
        own: list[Mapping[Slot, SlotValue]] = [
            {"answer": predictions[one.id].output or ""} for one in examples
        ]
        walked = walk(
            decoder_for(self.student, batch_size=self.config.batch_size),
            self.encoder,
            self.strategy,
            examples,
            None if reasons else own,
            goal="answer" if reasons else "rationale",
            max_new_tokens=self.config.max_new_tokens,
            plan=self.strategy.explain,
        )
        return [
            Explained(
                id=example.id,
                rationale=one.rationale,
                reasoned=self._answer(example, one, one.rationale or "", None) if reasons else None,
            )
            for example, one in zip(examples, walked, strict=True)
        ]

    def probe(
        self,
        examples: Sequence[Example],
        predictions: Mapping[str, Prediction],
        probes: Sequence[Probe],
        sources: Sources,
        donors: Mapping[str, str],
    ) -> list[Probed]:
        """Every probe of every question: all in one walk, so that a question's computation is shared by its
        probes."""
        cases = {
            example.id: self._case(example, predictions[example.id], sources, donors) for example in examples
        }
        asked = [
            (probe, example, probe.intervene(cases[example.id])) for example in examples for probe in probes
        ]
        found: dict[str, dict[str, ProbeAnswer | None]] = {example.id: {} for example in examples}
        limit = self._answer_limit(predictions.values())
        for swap in (False, True):
            walks = [
                (probe, example, made) for probe, example, made in asked if made and probe.swap_tag == swap
            ]
            answers = self._answers(
                [example for _, example, _ in walks],
                [made for *_, made in walks],
                counterfactual_plan(self.strategy) if swap else None,
                limit,
            )
            for (probe, example, _), answer in zip(walks, answers, strict=True):
                found[example.id][probe.name] = answer
        return [
            Probed(id=id_, probes={probe.name: answers.get(probe.name) for probe in probes})
            for id_, answers in found.items()
        ]

    def _answers(
        self,
        examples: Sequence[Example],
        made: Sequence[Intervention],
        plan: Sequence[str] | None,
        limit: int,
    ) -> list[ProbeAnswer]:
        """The plan walked from each intervention's rationale, to an answer of at most `limit` tokens."""
        if not examples:
            return []
        # One walk for what is the same: a good student's own rationale often is the teacher's.
        asked = {(example.id, one.rationale): example for example, one in zip(examples, made, strict=True)}
        walked = walk(
            decoder_for(self.student, batch_size=self.config.batch_size),
            self.encoder,
            self.strategy,
            list(asked.values()),
            [{"rationale": rationale} for _, rationale in asked],
            max_new_tokens=limit,
            plan=plan,
        )
        found = dict(zip(asked, walked, strict=True))
        return [
            self._answer(example, found[example.id, one.rationale], self._text(one.rationale), one.target)
            for example, one in zip(examples, made, strict=True)
        ]

    def _answer(self, example: Example, walked: Walked, given: str, target: str | None) -> ProbeAnswer:
        """What was answered after the rationale `given`, which argues for `target`."""
        judge = judge_by(self.config.extractor)
        answer, verdict = judge(walked.answer, example.answer, example.choices, example.kind_of_answer)
        return ProbeAnswer(
            given=given,
            output=walked.answer,
            answer=answer,
            verdict=verdict,
            target=target,
            generated=walked.generated,
            forwarded=walked.forwarded,
        )

    def _answer_limit(self, predictions: Iterable[Prediction]) -> int:
        """Tokens an answer may have: those of the longest there is to any question of the set, and some room.

        Of the whole set, so that an answer depends neither on a batch nor on where a run was interrupted.
        """
        texts = {
            render_answer(text, p.choices, self.answers) for p in predictions for text in p.options or (p.gold,)
        }
        longest = max(len(self.student.tokens.segment(" " + text)) for text in texts)
        return min(self.config.max_new_tokens, longest + ROOM)

    def _case(self, example: Example, own: Prediction, sources: Sources, donors: Mapping[str, str]) -> Case:
        tokens = self.student.tokens
        ids = tokens.segment(" " + own.rationale.strip()) if own.rationale else ()
        return Case(
            example,
            own.rationale,
            ids,
            donors.get(example.id),
            sources.oracle.get(example.id),
            sources.counterfactual.get(example.id),
            self._vocabulary,
            tokens.segment(FILLER),
            self.config.data_seed,
        )

    @cached_property
    def _vocabulary(self) -> list[int]:
        """Ids that random tokens are drawn from: no special ones, which would end or blank out a text."""
        tokenizer = self.student.tokenizer
        special = {*tokenizer.all_special_ids, *self.student.tokens.stops, self.student.tokens.pad}
        return [token for token in range(len(tokenizer)) if token not in special]

    def _text(self, value: SlotValue) -> str:
        return self.student.tokens.text(value.ids).strip() if isinstance(value, Tokens) else value


@dataclass(frozen=True)
class Scored:
    """Texts in the answer's place with (log likelihood, tokens) of each, and how many tokens it took."""

    texts: tuple[str, ...]
    likelihoods: tuple[tuple[float, int], ...]
    forwarded: int


def _prediction(
    example: Example, walked: Walked, batch_size: int, scored: Scored | None, by_likelihood: bool
) -> Prediction:
    """What was walked, as generated; the verdict is the shipped extractor's (figures read the output
    again)."""
    kind = example.kind_of_answer
    texts, output, forwarded = options(example.choices, kind), walked.answer, walked.forwarded
    if by_likelihood:
        forwarded += scored.forwarded if scored else 0
        sums = [total for total, _ in scored.likelihoods] if scored else []
        output = texts[sums.index(max(sums))] if texts and sums else None
    answer, verdict = judge_by("answers")(output, example.answer, example.choices, kind)
    return Prediction(
        id=example.id,
        task=example.task,
        question=example.question,
        choices=example.choices,
        gold=example.answer,
        rationale=walked.rationale,
        output=output,
        answer=answer,
        verdict=verdict,
        finished=walked.finished,
        generated=walked.generated,
        forwarded=forwarded,
        unprompted=walked.unprompted,
        batch_size=batch_size,
        likelihoods=scored.likelihoods if scored else None,
        rendered=scored.texts if scored else None,
    )
