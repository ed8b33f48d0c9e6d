"""What a run learns from: its rows chosen, joined, encoded for its student, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from cotdistill.config import DistillConfig
from cotdistill.console import warn
from cotdistill.data.records import Example, Item, RationaleKind
from cotdistill.errors import DataError
from cotdistill.strategies.candidates import not_chosen
from cotdistill.strategies.forms import FillContext, Slots, Strategy
from cotdistill.strategies.join import Sample, join
from cotdistill.strategies.scores import word_scores
from cotdistill.students.encode import EncodedSet
from cotdistill.students.encoded_cache import encode_cached
from cotdistill.students.student import Student
from cotdistill.students.unknown import unknown_characters, unknown_tokens
from cotdistill.training.objective import training_encoder
from cotdistill.training.selection import selected
from cotdistill.training.stages import Stages
from cotdistill.training.teaching import Teaching, taught


@dataclass(frozen=True)
class TrainingSet:
    """What a run's rows give its strategy to learn from. `left_out`: {reason: rows without a sample}."""

    data: EncodedSet
    teaching: Teaching | None
    samples: list[Sample]
    left_out: Mapping[str, int]
    stages: Stages | None


@dataclass(frozen=True)
class TrainingRows:
    """A run's rows, filled into its strategy's forms and tokenised for its student."""

    config: DistillConfig
    strategy: Strategy
    items: list[Item]
    student: Student

    def training_set(self) -> TrainingSet:
        """What is learned of them. Raises `DataError` where too much is dropped, or unknown to the student."""
        config, strategy = self.config, self.strategy
        chosen = selected(self.items, strategy, config, config.data_seed, self.student)
        samples, left_out = join(chosen, strategy)
        if config.select is not None:
            left_out = not_chosen(self.items, chosen, strategy, config.select)
        data = self.encoded(samples)
        _check_dropped(data, len(samples), config.max_dropped)
        _check_unknown(data, samples, self.student, config.max_unknown)
        data, teaching = taught(config, data, samples, always=not strategy.progressive)

        def stage(epoch: int, progress: float) -> EncodedSet:
            return taught(config, self.encoded(samples, epoch, progress), samples, always=False)[0]

        stages = Stages(stage, strategy.resets_optimizer) if strategy.progressive else None
        return TrainingSet(data, teaching, samples, left_out, stages)

    def encoded(self, samples: list[Sample], epoch: int = 0, progress: float = 0.0) -> EncodedSet:
        """Samples of these rows as token trees, as they are in one pass over the rows."""
        encoder = training_encoder(self.student, self.config.answers, self.config.max_length)
        context = replace(self._context, epoch=epoch, progress=progress)
        return encode_cached(encoder, samples, self.strategy, context)

    def slots(self, learned: TrainingSet) -> list[dict[RationaleKind, tuple[Example, Slots]]]:
        """Of each sample that is trained on, by kind of rationale: its example, and its slots as the rows fill them."""
        encoder = self.student.encoder(self.config.answers)
        samples = iter(learned.samples)
        found = []
        for id_ in learned.data.ids:  # the samples in order, without those that were dropped
            sample = next(sample for sample in samples if sample.id == id_)
            found.append(
                {
                    kind: (draft.example, encoder.fill(self.strategy, draft, self._context))
                    for kind, draft in sample.drafts.items()
                }
            )
        return found

    @cached_property
    def _context(self) -> FillContext:
        scores = word_scores(self.strategy, self.items, self.config.scores)
        return FillContext(self.config.data_seed, self.student.tokens.segment, scores)


def _check_dropped(data: EncodedSet, samples: int, most: float) -> None:
    dropped = sum(data.dropped.values())
    if not dropped:
        return
    reasons = ", ".join(f"{count} {reason}" for reason, count in data.dropped.items())
    if not data.samples or dropped / samples > most:
        raise DataError(
            f"rows: {dropped} of {samples} samples would be dropped ({reasons}), more than "
            f"{most:.0%}; raise --max-length or --max-dropped"
        )
    warn(f"dropped {dropped} of {samples} samples: {reasons}")


def _check_unknown(data: EncodedSet, samples: list[Sample], student: Student, most: float) -> None:
    unknown, total = unknown_tokens(data, student.tokens)
    if not unknown:
        return
    drafts = [draft for sample in samples for draft in sample.drafts.values()]
    texts = (text for draft in drafts for text in (draft.example.text(), draft.rationale, draft.answer) if text)
    said = f"{unknown} of {total} tokens ({unknown / total:.1%}) are unknown to the student's tokenizer"
    characters = unknown_characters(texts, student.tokens)
    if unknown / total > most:
        raise DataError(
            f"rows: {said}, more than {most:.0%}: {characters}; use a student whose "
            "tokenizer has them, or raise --max-unknown"
        )
    warn(f"{said}: {characters}")
