"""Simulators for LAS: they learn to foresee what a student answers from question, rationale, or both.

One simulator serves all three inputs: it is trained on each question three times, with both, without the
rationale and without the question (explanation dropout); the choices are always shown. It is trained on the
student's answers to *other* questions: the set is cut into folds by question, and each fold is foreseen by a
simulator that has not seen it.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from cotdistill.config import DistillConfig
from cotdistill.data.records import Example
from cotdistill.evaluation.answers import read_answer, same_answer
from cotdistill.evaluation.las import Simulated
from cotdistill.evaluation.numbers import numbers
from cotdistill.seeds import derive
from cotdistill.strategies.forms import Draft, FillContext, Form, Strategy, learn
from cotdistill.strategies.join import Sample
from cotdistill.strategies.rewrites import bare

if TYPE_CHECKING:
    from cotdistill.students.families import Student

SimulatorName = Literal["tfidf", "transformer"]
FOLDS = {"tfidf": 5, "transformer": 2}
NOTHING = "-"  # stands where question or rationale is left out
COMMON = 20  # answers of others that are candidates for a free answer


@dataclass(frozen=True)
class Observation:
    """What an observer sees of one question (None: not shown), and what the student answered."""

    example: Example
    rationale: str | None
    answer: str
    with_question: bool = True

    @property
    def shown(self) -> Example:
        """The question as the observer sees it; its choices stay."""
        return self.example if self.with_question else self.example.model_copy(update={"question": NOTHING})

    def variants(self) -> tuple[Observation, Observation, Observation]:
        """With both, with the question alone, with the rationale alone."""
        return (
            self,
            Observation(self.example, None, self.answer),
            Observation(self.example, self.rationale, self.answer, with_question=False),
        )

    def foreseen(self, predicted: str | None) -> bool:
        """Whether the prediction is what the student answered."""
        example = self.example
        return predicted is not None and same_answer(
            predicted, self.answer, example.choices, example.kind_of_answer
        )


class Simulator(Protocol):
    """Learns from observations, then foresees the answers of others."""

    def fit(self, seen: Sequence[Observation]) -> None:
        """Learn from observations in all three variants."""

    def predict(self, asked: Sequence[Observation]) -> list[str | None]:
        """An answer for each; None where none can be told."""


def simulate(
    observations: Sequence[Observation], make: Callable[[], Simulator], folds: int, seed: int
) -> list[Simulated]:
    """Cross-fitted predictions for every observation, in their order; folds are drawn from (seed, id)."""
    places = [derive(seed, "las-fold", one.example.id) % folds for one in observations]
    found: dict[int, Simulated] = {}
    for fold in sorted(set(places)):
        held = [at for at, place in enumerate(places) if place == fold]
        seen = [
            variant
            for one, place in zip(observations, places, strict=True)
            if place != fold
            for variant in one.variants()
        ]
        if not seen:
            continue
        simulator = make()
        simulator.fit(seen)
        asked = [variant for at in held for variant in observations[at].variants()]
        hits = [one.foreseen(answer) for one, answer in zip(asked, simulator.predict(asked), strict=True)]
        found |= {at: Simulated(*hits[3 * n : 3 * n + 3]) for n, at in enumerate(held)}
    return [found[at] for at in sorted(found)]


class TfidfSimulator:
    """The quick one: logistic regression on tf-idf, asked of each candidate "is this the student's answer?".

    The words of a (text, candidate) pair: each word of question and of rationale joined with the candidate
    (what goes with which answer), a mark for each word the candidate shares with either (what is mentioned),
    and one where the text ends in it (what is concluded).
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.common: list[str] = []

    def fit(self, seen: Sequence[Observation]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        self.common = [answer for answer, _ in Counter(one.answer for one in seen).most_common(COMMON)]
        pairs = [(one, candidate) for one in seen for candidate in self._candidates(one)]
        labels = [one.foreseen(candidate) for one, candidate in pairs]
        self.vectorizer = TfidfVectorizer(analyzer=list, sublinear_tf=True)
        features = self.vectorizer.fit_transform([_pair_words(one, candidate) for one, candidate in pairs])
        # Nothing to tell apart where every candidate was the answer, or none: then any is as good.
        self.model = (
            LogisticRegression(C=10.0, max_iter=1000, random_state=self.seed)
            if len(set(labels)) == 2
            else None
        )
        if self.model is not None:
            self.model.fit(features, labels)

    def predict(self, asked: Sequence[Observation]) -> list[str | None]:
        pairs = [(at, candidate) for at, one in enumerate(asked) for candidate in self._candidates(one)]
        best: list[tuple[float, str] | None] = [None] * len(asked)
        if pairs:
            features = self.vectorizer.transform(
                [_pair_words(asked[at], candidate) for at, candidate in pairs]
            )
            scores = (
                [0.0] * len(pairs) if self.model is None else self.model.decision_function(features).tolist()
            )
            for (at, candidate), score in zip(pairs, scores, strict=True):
                held = best[at]
                if held is None or score > held[0]:
                    best[at] = (score, candidate)
        return [None if held is None else held[1] for held in best]

    def _candidates(self, one: Observation) -> list[str]:
        """The choices; for a free answer the numbers that the observer sees and the most common answers."""
        if one.example.choices is not None:
            return list(dict.fromkeys(one.example.choices))
        mentioned = [
            *numbers(one.rationale or ""),
            *(numbers(one.example.question) if one.with_question else ()),
        ]
        return list(
            dict.fromkeys([*(mentioned if one.example.kind_of_answer == "number" else ()), *self.common])
        )


def _pair_words(one: Observation, candidate: str) -> list[str]:
    own = {bare(word) for word in candidate.split()}
    name = bare(candidate)
    words = []
    for source, text in (("x", one.example.question if one.with_question else None), ("e", one.rationale)):
        said = [bare(word) for word in (text or "").split()]
        words += [f"{source}:{word}>{name}" for word in said]
        words += [f"{source}:same" for word in said if word in own]
        words += [f"{source}:ends"] if said and said[-1] in own else []
        words += [f"{source}:absent"] if text is not None and not own & set(said) else []
    return words


class TransformerSimulator:
    """A small language model trained on the shared loop: question and rationale in, the student's answer
    out."""

    FORM = Form("simulate", "{question}\nReason: {rationale}\nAnswer:", (learn(" {answer}"),))

    def __init__(self, student: Student, seed: int, steps: int, lr: float) -> None:
        self.student, self.seed, self.steps, self.lr = student, seed, steps, lr
        self.strategy = Strategy("simulator", "LAS, arXiv 2010.04119", (self.FORM,), plan=("simulate",))

    def fit(self, seen: Sequence[Observation]) -> None:
        from cotdistill.students.train import train

        samples = [
            Sample(
                f"{one.example.id}-{at}", {"factual": Draft(one.shown, one.rationale or NOTHING, one.answer)}
            )
            for at, one in enumerate(seen)
        ]
        self.encoder = self.student.encoder()
        data = self.encoder.encode(
            samples, self.strategy, FillContext(self.seed, self.student.tokens.segment)
        )
        config = DistillConfig(
            steps=self.steps, batch_size=24, lr=self.lr, seed=self.seed, device=str(self.student.device)
        )
        with tempfile.TemporaryDirectory() as scratch:
            train(self.student, data, config, Path(scratch))

    def predict(self, asked: Sequence[Observation]) -> list[str | None]:
        from cotdistill.students.fitness import decoder_for
        from cotdistill.students.walk import walk

        walked = walk(
            decoder_for(self.student, batch_size=32),
            self.encoder,
            self.strategy,
            [one.shown for one in asked],
            [{"rationale": one.rationale or NOTHING} for one in asked],
            max_new_tokens=32,
        )
        return [
            None
            if found.answer is None
            else read_answer(found.answer, one.example.choices, one.example.kind_of_answer)
            for one, found in zip(asked, walked, strict=True)
        ]


def make_simulator(
    name: SimulatorName, load: Callable[[], Student], seed: int, count: int
) -> Callable[[], Simulator]:
    """Makes fresh simulators; `load`: what the transformer starts from, `count`: questions there are."""
    if name == "tfidf":
        return lambda: TfidfSimulator(seed)

    def transformer() -> TransformerSimulator:
        student = load()
        # Small models need many steps at a high rate, large ones few at a low one: ten passes, at most 500.
        lr = 2e-3 if student.model.num_parameters() < 5_000_000 else 5e-5
        return TransformerSimulator(student, seed, min(500, max(100, count * 3 * 10 // 24)), lr)

    return transformer
