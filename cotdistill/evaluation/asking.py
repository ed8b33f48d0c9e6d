"""A student under evaluation: predictions, samples, explanations, probes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from cotdistill.answers.answers import AnswerStyle, render_answer
from cotdistill.answers.judging import judge_by
from cotdistill.config import EvaluateConfig
from cotdistill.data.records import Example
from cotdistill.decoding.walk import Walked
from cotdistill.evaluation.asked_student import AskedStudent, ScoredChoices
from cotdistill.evaluation.cost import flops_per_token
from cotdistill.evaluation.faithfulness import Explained, ProbeAnswer, ProbedQuestion
from cotdistill.evaluation.metrics import Prediction, options
from cotdistill.evaluation.probes import FILLER, Case, Intervention, Probe, Sources, counterfactual_plan
from cotdistill.evaluation.samples import Sampled
from cotdistill.strategies.forms import Slot, SlotValue, Strategy, Tokens
from cotdistill.students.student import Student

ROOM = 4  # tokens beyond the longest answer: "the", a full stop; whatever is longer is not an answer


class Walker(AskedStudent):
    """A student under evaluation: what it answers is judged, explained and probed."""

    def __init__(
        self, load: Callable[[], Student], strategy: Strategy, answers: AnswerStyle, config: EvaluateConfig
    ) -> None:
        super().__init__(load, strategy, answers, config)
        self.config = config

    def notes(self) -> dict[str, float]:
        """What a store notes about the model, so that metrics can be computed without it."""
        return {"flops_per_token": flops_per_token(self.student.model)}

    def predict(self, examples: Sequence[Example], batch_size: int) -> list[Prediction]:
        """The plan walked for every question; with `--score choices` up to the answer, which the likelihoods give."""
        by_likelihood = self.config.score == "choices"
        return [
            _prediction(example, one, batch_size, scored, by_likelihood)
            for example, (one, scored) in zip(examples, self.answer(examples, batch_size), strict=True)
        ]

    def sample(self, examples: Sequence[Example], count: int) -> list[Sampled]:
        """`count` sampled walks of every question, judged."""
        sampled = []
        for example, walked in zip(examples, self.walk_samples(examples, count), strict=True):
            outputs = tuple(one.answer for one in walked)
            judged = [
                judge_by(self.config.extractor)(output, example.answer, example.choices, example.kind_of_answer)
                for output in outputs
            ]
            sampled.append(
                Sampled(
                    id=example.id,
                    outputs=outputs,
                    answers=tuple(answer for answer, _ in judged),
                    verdicts=tuple(verdict for _, verdict in judged),
                )
            )
        return sampled

    def explain(self, examples: Sequence[Example], predictions: Mapping[str, Prediction]) -> list[Explained]:
        """The rationale given by the `explain` plan for the student's own answer.

        Where that plan reasons before it answers, the answer is the one the student gives after reasoning.
        """
        assert self.strategy.explain is not None
        reasons = replace(self.strategy, plan=self.strategy.explain).answers_after_rationale
        own: list[Mapping[Slot, SlotValue]] = [{"answer": predictions[one.id].output or ""} for one in examples]
        walked = self.walk(
            examples, None if reasons else own, goal="answer" if reasons else "rationale", plan=self.strategy.explain
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
    ) -> list[ProbedQuestion]:
        """Every probe of every question: all in one walk, so that a question's computation is shared by its probes."""
        cases = {example.id: self._case(example, predictions[example.id], sources, donors) for example in examples}
        asked = [(probe, example, probe.intervene(cases[example.id])) for example in examples for probe in probes]
        by_question: dict[str, dict[str, ProbeAnswer | None]] = {example.id: {} for example in examples}
        limit = self._answer_limit(predictions.values())
        for swap in (False, True):
            walks = [(probe, example, made) for probe, example, made in asked if made and probe.swap_tag == swap]
            answers = self._answers(
                [example for _, example, _ in walks],
                [made for *_, made in walks],
                counterfactual_plan(self.strategy) if swap else None,
                limit,
            )
            for (probe, example, _), answer in zip(walks, answers, strict=True):
                by_question[example.id][probe.name] = answer
        return [
            ProbedQuestion(id=id_, probes={probe.name: answers.get(probe.name) for probe in probes})
            for id_, answers in by_question.items()
        ]

    def _answers(
        self, examples: Sequence[Example], made: Sequence[Intervention], plan: Sequence[str] | None, limit: int
    ) -> list[ProbeAnswer]:
        """The plan walked from each intervention's rationale, to an answer of at most `limit` tokens."""
        if not examples:
            return []
        # Equal rationales are decoded once: a good student's own is often the teacher's.
        asked = {(example.id, one.rationale): example for example, one in zip(examples, made, strict=True)}
        walked = self.walk(
            list(asked.values()), [{"rationale": rationale} for _, rationale in asked], limit=limit, plan=plan
        )
        walks = dict(zip(asked, walked, strict=True))
        return [
            self._answer(example, walks[example.id, one.rationale], self._text(one.rationale), one.target)
            for example, one in zip(examples, made, strict=True)
        ]

    def _answer(self, example: Example, walked: Walked, given: str, target: str | None) -> ProbeAnswer:
        """The answer given after the rationale `given`, which argues for `target`."""
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
        """Tokens an answer may have: those of the longest answer to any question of the set, and some room.

        Of the whole set, so that an answer depends neither on a batch nor on where a run was interrupted.
        """
        texts = {render_answer(text, p.choices, self.answers) for p in predictions for text in p.options or (p.gold,)}
        longest = max(len(self.tokens.segment(" " + text)) for text in texts)
        return min(self.config.max_new_tokens, longest + ROOM)

    def _case(self, example: Example, own: Prediction, sources: Sources, donors: Mapping[str, str]) -> Case:
        tokens = self.tokens
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
        """Ids that random tokens are drawn from: not special ones, which would end or blank out a text."""
        tokenizer = self.tokens.tokenizer
        special = {*tokenizer.all_special_ids, *self.tokens.stops, self.tokens.pad}
        return [token for token in range(len(tokenizer)) if token not in special]

    def _text(self, value: SlotValue) -> str:
        return self.tokens.text(value.ids).strip() if isinstance(value, Tokens) else value


def _prediction(
    example: Example, walked: Walked, batch_size: int, scored: ScoredChoices | None, by_likelihood: bool
) -> Prediction:
    """What was walked, as generated; the verdict is the shipped extractor's (figures read the output again)."""
    texts = options(example.choices, example.kind_of_answer)
    output, forwarded = walked.answer, walked.forwarded
    if by_likelihood:
        forwarded += scored.forwarded if scored else 0
        output = texts[scored.likeliest] if texts and scored else None
    return Prediction.of(
        example,
        output,
        judge_by("answers"),
        rationale=walked.rationale,
        finished=walked.finished,
        generated=walked.generated,
        forwarded=forwarded,
        unprompted=walked.unprompted,
        batch_size=batch_size,
        likelihoods=scored.likelihoods if scored else None,
        rendered=scored.texts if scored else None,
    )
