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

from cotdistill.answers.answers import read_answer, same_answer
from cotdistill.answers.numbers import numbers
from cotdistill.config import DistillConfig
from cotdistill.data.records import Example
from cotdistill.evaluation.las import Simulated
from cotdistill.seeds import derive
from cotdistill.strategies.forms import Draft, FillContext, Form, Strategy, learn
from cotdistill.strategies.join import Sample
from cotdistill.strategies.units import bare

if TYPE_CHECKING:
    from cotdistill.students.student import Student

SimulatorName = Literal["tfidf", "transformer"]
FOLDS = {"tfidf": 5, "transformer": 2}
NOTHING = "-"  # replaces a question or rationale that is left out
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
        return predicted is not None and same_answer(predicted, self.answer, example.choices, example.kind_of_answer)


class Simulator(Protocol):
    """Learns from observations, then foresees the answers of others."""

    def fit(self, seen: Sequence[Observation]) -> None:
        """Learn from observations in all three variants."""

    def predict(self, observations: Sequence[Observation]) -> list[str | None]:
        """An answer for each; None where none can be told."""


def simulate(
    observations: Sequence[Observation], make: Callable[[], Simulator], folds: int, seed: int
) -> list[Simulated]:
    """Cross-fitted predictions for every observation, in their order; folds are drawn from (seed, id)."""
    places = [derive(seed, "las-fold", observation.example.id) % folds for observation in observations]
    simulated: dict[int, Simulated] = {}
    for fold in sorted(set(places)):
        held_out = [at for at, place in enumerate(places) if place == fold]
        seen = [
            variant
            for observation, place in zip(observations, places, strict=True)
            if place != fold
            for variant in observation.variants()
        ]
        if not seen:
            continue
        simulator = make()
        simulator.fit(seen)
        variants = [variant for at in held_out for variant in observations[at].variants()]
        hits = [
            observation.foreseen(answer)
            for observation, answer in zip(variants, simulator.predict(variants), strict=True)
        ]
        simulated |= {at: Simulated(*hits[3 * n : 3 * n + 3]) for n, at in enumerate(held_out)}
    return [simulated[at] for at in sorted(simulated)]


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

        self.common = [answer for answer, _ in Counter(observation.answer for observation in seen).most_common(COMMON)]
        pairs = [(observation, candidate) for observation in seen for candidate in self._candidates(observation)]
        labels = [observation.foreseen(candidate) for observation, candidate in pairs]
        self.vectorizer = TfidfVectorizer(analyzer=list, sublinear_tf=True)
        features = self.vectorizer.fit_transform(
            [_pair_words(observation, candidate) for observation, candidate in pairs]
        )
        # Nothing to tell apart where every candidate was the answer, or none: then any is as good.
        self.model = (
            LogisticRegression(C=10.0, max_iter=1000, random_state=self.seed) if len(set(labels)) == 2 else None
        )
        if self.model is not None:
            self.model.fit(features, labels)

    def predict(self, observations: Sequence[Observation]) -> list[str | None]:
        pairs = [
            (at, candidate)
            for at, observation in enumerate(observations)
            for candidate in self._candidates(observation)
        ]
        best: list[tuple[float, str] | None] = [None] * len(observations)
        if pairs:
            features = self.vectorizer.transform([_pair_words(observations[at], candidate) for at, candidate in pairs])
            scores = [0.0] * len(pairs) if self.model is None else self.model.decision_function(features).tolist()
            for (at, candidate), score in zip(pairs, scores, strict=True):
                leader = best[at]
                if leader is None or score > leader[0]:
                    best[at] = (score, candidate)
        return [None if leader is None else leader[1] for leader in best]

    def _candidates(self, observation: Observation) -> list[str]:
        """The choices; for a free answer the numbers that the observer sees and the most common answers."""
        if observation.example.choices is not None:
            return list(dict.fromkeys(observation.example.choices))
        mentioned = [
            *numbers(observation.rationale or ""),
            *(numbers(observation.example.question) if observation.with_question else ()),
        ]
        return list(
            dict.fromkeys([*(mentioned if observation.example.kind_of_answer == "number" else ()), *self.common])
        )


def _pair_words(observation: Observation, candidate: str) -> list[str]:
    own = {bare(word) for word in candidate.split()}
    name = bare(candidate)
    words = []
    for source, text in (
        ("x", observation.example.question if observation.with_question else None),
        ("e", observation.rationale),
    ):
        tokens = [bare(word) for word in (text or "").split()]
        words += [f"{source}:{word}>{name}" for word in tokens]
        words += [f"{source}:same" for word in tokens if word in own]
        words += [f"{source}:ends"] if tokens and tokens[-1] in own else []
        words += [f"{source}:absent"] if text is not None and not own & set(tokens) else []
    return words


class TransformerSimulator:
    """A small language model trained on the shared loop: question and rationale in, the student's answer out."""

    FORM = Form("simulate", "{question}\nReason: {rationale}\nAnswer:", (learn(" {answer}"),))

    def __init__(self, student: Student, seed: int, steps: int, lr: float) -> None:
        self.student, self.seed, self.steps, self.lr = student, seed, steps, lr
        self.strategy = Strategy("simulator", "LAS, arXiv 2010.04119", (self.FORM,), plan=("simulate",))

    def fit(self, seen: Sequence[Observation]) -> None:
        from cotdistill.training.objective import training_encoder
        from cotdistill.training.train import Loop

        samples = [
            Sample(
                f"{observation.example.id}-{at}",
                {"factual": Draft(observation.shown, observation.rationale or NOTHING, observation.answer)},
            )
            for at, observation in enumerate(seen)
        ]
        self.encoder = training_encoder(self.student)
        data = self.encoder.encode(samples, self.strategy, FillContext(self.seed, self.student.tokens.segment))
        config = DistillConfig(
            steps=self.steps, batch_size=24, lr=self.lr, seed=self.seed, device=str(self.student.device)
        )
        with tempfile.TemporaryDirectory() as scratch:
            Loop(self.student, data, config, Path(scratch)).run()

    def predict(self, observations: Sequence[Observation]) -> list[str | None]:
        from cotdistill.decoding.choose_decoder import decoder_for
        from cotdistill.decoding.walk import walk

        walked = walk(
            decoder_for(self.student, batch_size=32),
            self.encoder,
            self.strategy,
            [observation.shown for observation in observations],
            [{"rationale": observation.rationale or NOTHING} for observation in observations],
            max_new_tokens=32,
        )
        return [
            None
            if answered.answer is None
            else read_answer(answered.answer, observation.example.choices, observation.example.kind_of_answer)
            for observation, answered in zip(observations, walked, strict=True)
        ]


def make_simulator(name: SimulatorName, load: Callable[[], Student], seed: int, count: int) -> Callable[[], Simulator]:
    """Makes fresh simulators; `load`: what the transformer starts from, `count`: questions there are."""
    if name == "tfidf":
        return lambda: TfidfSimulator(seed)

    def transformer() -> TransformerSimulator:
        student = load()
        # Small models need many steps at a high rate, large ones few at a low one: ten passes, at most 500.
        lr = 2e-3 if student.model.num_parameters() < 5_000_000 else 5e-5
        return TransformerSimulator(student, seed, min(500, max(100, count * 3 * 10 // 24)), lr)

    return transformer
