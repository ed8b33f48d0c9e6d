"""What a run learns from: its rows chosen, joined, encoded for its student, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cotdistill.config import DistillConfig
from cotdistill.console import warn
from cotdistill.data.records import Example, Item, RationaleKind
from cotdistill.errors import DataError
from cotdistill.strategies.forms import FillContext, Slots, Strategy
from cotdistill.strategies.join import Sample, join
from cotdistill.strategies.scores import word_scores
from cotdistill.students.encode import EncodedSet
from cotdistill.students.encoded_cache import encode_cached
from cotdistill.students.student import Student
from cotdistill.students.unknown import unknown_characters, unknown_tokens
from cotdistill.training.objective import training_encoder
from cotdistill.training.selection import not_chosen, selected
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


def training_set(config: DistillConfig, strategy: Strategy, items: list[Item], student: Student) -> TrainingSet:
    """Rows as a student learns them. Raises `DataError` where too much is dropped, or unknown to it."""
    chosen = selected(items, strategy, config, config.data_seed, student)
    samples, left_out = join(chosen, strategy)
    if config.select is not None:
        left_out = not_chosen(items, chosen, strategy, config.select)
    data = encoded(config, strategy, items, samples, student)
    _check_dropped(data, len(samples), config)
    _check_unknown(data, samples, student, config)
    data, teaching = taught(config, data, samples, student, always=not strategy.progressive)

    def stage(epoch: int, progress: float) -> EncodedSet:
        later = encoded(config, strategy, items, samples, student, epoch, progress)
        return taught(config, later, samples, student, always=False)[0]

    stages = Stages(stage, strategy.resets_optimizer) if strategy.progressive else None
    return TrainingSet(data, teaching, samples, left_out, stages)


def encoded(
    config: DistillConfig,
    strategy: Strategy,
    items: list[Item],
    samples: list[Sample],
    student: Student,
    epoch: int = 0,
    progress: float = 0.0,
) -> EncodedSet:
    """A strategy's training examples as one student's tokens, as they are in one pass over the rows."""
    encoder = training_encoder(student, config.answers, config.max_length)
    context = replace(_context(config, strategy, items, student), epoch=epoch, progress=progress)
    return encode_cached(encoder, samples, strategy, context)


def slots_of(
    config: DistillConfig, strategy: Strategy, items: list[Item], learned: TrainingSet, student: Student
) -> list[dict[RationaleKind, tuple[Example, Slots]]]:
    """Of each sample that is trained on, by kind of rationale: its example, and its slots as the rows fill them."""
    encoder, context = (student.encoder(config.answers), _context(config, strategy, items, student))
    samples = iter(learned.samples)
    found = []
    for id_ in learned.data.ids:  # the samples in order, without those that were dropped
        sample = next(sample for sample in samples if sample.id == id_)
        found.append(
            {kind: (draft.example, encoder.fill(strategy, draft, context)) for kind, draft in sample.drafts.items()}
        )
    return found


def _context(config: DistillConfig, strategy: Strategy, items: list[Item], student: Student) -> FillContext:
    return FillContext(config.data_seed, student.tokens.segment, word_scores(strategy, items, config.scores))


def _check_dropped(data: EncodedSet, samples: int, config: DistillConfig) -> None:
    dropped = sum(data.dropped.values())
    if not dropped:
        return
    reasons = ", ".join(f"{count} {reason}" for reason, count in data.dropped.items())
    if not data.samples or dropped / samples > config.max_dropped:
        raise DataError(
            f"rows: {dropped} of {samples} samples would be dropped ({reasons}), more than "
            f"{config.max_dropped:.0%}; raise --max-length or --max-dropped"
        )
    warn(f"dropped {dropped} of {samples} samples: {reasons}")


def _check_unknown(data: EncodedSet, samples: list[Sample], student: Student, config: DistillConfig) -> None:
    unknown, total = unknown_tokens(data, student.tokens)
    if not unknown:
        return
    drafts = [draft for sample in samples for draft in sample.drafts.values()]
    texts = (text for draft in drafts for text in (draft.example.text(), draft.rationale, draft.answer) if text)
    said = f"{unknown} of {total} tokens ({unknown / total:.1%}) are unknown to the student's tokenizer"
    characters = unknown_characters(texts, student.tokens)
    if unknown / total > config.max_unknown:
        raise DataError(
            f"rows: {said}, more than {config.max_unknown:.0%}: {characters}; use a student whose "
            "tokenizer has them, or raise --max-unknown"
        )
    warn(f"{said}: {characters}")
