"""What `evaluate` asks of a model about one set, each kind of answer in a file of its own beside the predictions:

    SET.jsonl                 predictions
    SET.samples.jsonl         sampled answers (`--samples`)
    SET.probes.jsonl          answers under the probes' interventions (`--probe`)
    SET.explanations.jsonl    rationales given for the answers
    SET.batch-N.jsonl         predictions at another batch size (`--flip-rate`)

Answers that are there already are not asked again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cotdistill.answers.judging import judge_by
from cotdistill.data.files import json_digest
from cotdistill.data.records import Example, Item, digest
from cotdistill.evaluation.faithfulness import Explained, ProbeAnswer, ProbedQuestion, read_again
from cotdistill.evaluation.metrics import Prediction, judged_again
from cotdistill.evaluation.probes import chosen, code_of, donors, probes, read_sources, sources
from cotdistill.evaluation.samples import Sampled
from cotdistill.evaluation.store import R, Store
from cotdistill.statistics.intervals import wilson

if TYPE_CHECKING:  # stored predictions are read without torch
    from cotdistill.evaluation.asking import Walker

CHUNK = 8  # batches per chunk: answers are written after each


@dataclass(frozen=True)
class Examination:
    """A model, asked as its walker's options say, and where its predictions on one set lie."""

    walker: Walker
    store: Store[Prediction]
    examples: Sequence[Example]

    def predictions(self, batch_size: int) -> list[Prediction]:
        """The stored predictions, completed, read by the extractor."""
        done = self.store.completed(
            self.examples,
            lambda asked: self.walker.predict(asked, batch_size),
            CHUNK * batch_size,
            self.walker.config.from_predictions,
            self.walker.notes,
        )
        return judged_again([done[example.id] for example in self.examples], self.walker.config.extractor)

    def samples(self, count: int) -> list[Sampled]:
        """`count` sampled walks of every question."""
        config = self.walker.config
        settings = json_digest([self.store.settings, count, config.temperature, config.top_p, config.seed])
        done = self._beside("samples", Sampled, settings).completed(
            self.examples, lambda asked: self.walker.sample(asked, count), config.batch_size, config.from_predictions
        )
        return [done[example.id] for example in self.examples]

    def probes(
        self, predictions: Sequence[Prediction], items: Sequence[Item]
    ) -> dict[str, dict[str, ProbeAnswer | None]]:
        """{question: {probe: its answer, or None where there was nothing to do}} of the probes that are named.
        `items`: a teacher's rationales for the questions."""
        config = self.walker.config
        wanted = probes(chosen(config.probe), config.ratios, self.walker.strategy)
        if not wanted:
            return {}
        read_sources(self.examples, items, config.rationales or "rows")
        settings = json_digest([self.store.settings, config.data_seed, digest(items), *code_of(config.probe)])
        kept = self._beside("probes", ProbedQuestion, settings)
        answers: dict[str, dict[str, ProbeAnswer | None]] = {}
        for line in kept.read():  # a later line adds the probes of a later call
            answers.setdefault(line.id, {}).update(line.probes)
        given, others = sources(self.examples, items, config.data_seed), donors(predictions, config.data_seed)
        by_id = {p.id: p for p in predictions}
        for line in kept.complete(
            self.examples,
            lambda id_: all(one.name in answers.get(id_, {}) for one in wanted),
            lambda asked: self.walker.probe(asked, by_id, wanted, given, others),
            2 * config.batch_size,
            config.from_predictions,
        ):
            answers.setdefault(line.id, {}).update(line.probes)
        judge = judge_by(config.extractor)
        return {
            id_: {
                one.name: answer and read_again(answer, by_id[id_], judge)
                for one in wanted
                for answer in [answers[id_][one.name]]
            }
            for id_ in by_id
        }

    def explanations(self, predictions: Sequence[Prediction]) -> list[Explained]:
        """The rationale for each answer; none where the strategy gives none."""
        if self.walker.strategy.explain is None:
            return []
        config, by_id = self.walker.config, {p.id: p for p in predictions}
        lines = self._beside("explanations", Explained, self.store.settings).completed(
            self.examples,
            lambda asked: self.walker.explain(asked, by_id),
            CHUNK * config.batch_size,
            config.from_predictions,
        )
        return [lines[example.id] for example in self.examples]

    def flips(
        self, predictions: Sequence[Prediction], batch_size: int | list[int] | None, other_size: int
    ) -> dict[str, Any]:
        """How many answers and outputs differ between two batch sizes: greedy decoding in floats depends on it."""
        other = replace(self, store=self._beside(f"batch-{other_size}", Prediction, self.store.settings))
        pairs = list(zip(predictions, other.predictions(other_size), strict=True))
        flips = wilson(sum(a.answer != b.answer for a, b in pairs), len(pairs))
        return {
            "batch_sizes": [batch_size, other_size],
            "answers": flips.estimate,
            "interval": [flips.low, flips.high],
            "verdicts": sum(a.verdict != b.verdict for a, b in pairs) / len(pairs),
            "outputs": sum((a.rationale, a.output) != (b.rationale, b.output) for a, b in pairs) / len(pairs),
        }

    def _beside(self, kind: str, record: type[R], settings: str) -> Store[R]:
        """The store of another kind of answers to the same questions."""
        path = self.store.path.with_suffix(f".{kind}.jsonl")
        return Store(path, record, settings, self.walker.config.repair)
