"""Rationales that exist already: recordings joined to questions, and the rows' own rationales.

Stored verdicts are never trusted: our scorer judges every text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from cotdistill.answers.answers import same_answer
from cotdistill.config import ElicitConfig
from cotdistill.console import say
from cotdistill.data.columns import Columns
from cotdistill.data.importers import Recording, Recordings, read_recordings
from cotdistill.data.recording_formats import Chain
from cotdistill.data.records import Example, Item, Rationale
from cotdistill.errors import DataError
from cotdistill.teachers.filters import among, kept_whole, labelled_rationale
from cotdistill.teachers.reasoning import split_reasoning

ROWS, RECORDED = "rows", "recorded:"
LEAST_READ = 0.5  # of texts joined by position: below, they were recorded for other rows


def replays(teacher: str) -> bool:
    """Whether a teacher's rationales are taken from a recording or from the rows, and nobody is asked."""
    return teacher == ROWS or teacher.startswith(RECORDED)


def replayed(config: ElicitConfig, examples: Sequence[Example]) -> Iterable[Item]:
    """Existing rationales, of a recording or of the rows themselves, each row judged when it is asked for."""
    mapped = Columns.parse(config.map) if config.map is not None else None
    columns = mapped if mapped and mapped.of_recordings else None
    found: list[Iterator[list[Rationale]]]
    if config.teacher == ROWS:
        found = [map(from_row, examples)]
    else:
        files = map(Path, config.teacher.removeprefix(RECORDED).split(","))
        found = [from_recordings(examples, read_recordings(file, columns, config), config) for file in files]
    return (
        Item.of(example, among(chain(*rationales), kept_whole(config.keep, config.only)))
        for example, *rationales in zip(examples, *found, strict=True)
    )


def from_recordings(
    examples: Sequence[Example], recordings: Recordings, config: ElicitConfig
) -> Iterator[list[Rationale]]:
    """The judged rationales for every question, in order, each judged when it is asked for.

    Raises `DataError` at once where none belongs to any; later, where a row explains what no choice says.

    Thinking spans are treated as a model's: dropped, or taken as the rationale.
    """
    last = max(recordings.by_place, default=-1)
    if last >= len(examples) and config.limit is None and config.shard is None:
        raise DataError.at(
            str(recordings.file),
            recordings.by_place[last].line,
            f"a text at position {last}, but there are {len(examples)} questions",
            "give the rows it was recorded on, in their order",
        )
    matched = [recordings.of(example, at) for at, example in enumerate(examples)]
    if not any(matched):
        raise DataError.at(
            str(recordings.file),
            None,
            f"none of its rows belongs to one of the {len(examples)} questions (joined by "
            f"{recordings.by}: it has {recordings.first()[:60]!r}, the first question is "
            f"{examples[0].id!r})",
            "join it with the data set it was recorded on",
        )
    found = sum(recording is not None and bool(recording.chains) for recording in matched)
    say(f"{found} of {len(examples)} questions have a recording in {recordings.file.name}")
    rationales = (
        [_judged(example, chain, recording, at, recordings, config) for at, chain in enumerate(recording.chains)]
        if recording
        else []
        for example, recording in zip(examples, matched, strict=True)
    )
    if not recordings.by_place:
        return rationales
    held = list(rationales)
    _check_places(held, recordings)
    return iter(held)


def from_row(example: Example) -> list[Rationale]:
    """The row's own rationale (a human one, say), taken to argue for the gold answer."""
    if not (example.rationale or "").strip():
        return []
    return [
        labelled_rationale(
            example,
            "factual",
            example.answer,
            str(example.rationale),
            teacher=ROWS,
            decoding={"decode": "recorded", "hint": "gold"},
        )
    ]


def _judged(
    example: Example, chain: Chain, recording: Recording, at: int, recordings: Recordings, config: ElicitConfig
) -> Rationale:
    """One text as a rationale.

    A text that argues for a wrong answer by itself is a factual rationale labelled wrong, or, where
    counterfactuals are wanted, a counterfactual one: by definition.
    """
    decoding: dict[str, object] = {"decode": "recorded", "sample": at}
    reasoning, text = split_reasoning(chain.text, config.reasoning_marker)
    thoughts = reasoning if config.reasoning == "rationale" else None
    if reasoning is not None and config.reasoning != "drop":
        decoding["reasoning"] = config.reasoning
    if chain.supports is not None:
        return _explained(example, chain.supports, text, recording, decoding, recordings, thoughts)
    rationale = labelled_rationale(
        example, "factual", example.answer, text, teacher=recording.teacher, decoding=decoding, thoughts=thoughts
    )
    if config.counterfactual and rationale.correct is False and rationale.answer is not None:
        return labelled_rationale(
            example,
            "counterfactual",
            rationale.answer,
            text,
            teacher=recording.teacher,
            decoding=decoding,
            thoughts=thoughts,
        )
    return rationale


def _explained(
    example: Example,
    supports: str,
    text: str,
    recording: Recording,
    decoding: dict[str, object],
    recordings: Recordings,
    thoughts: str | None,
) -> Rationale:
    """A text for an answer that the teacher was told."""
    same = [
        answer
        for answer in example.choices or (example.answer, supports)
        if same_answer(answer, supports, example.choices, example.kind_of_answer)
    ]
    if not same:
        raise DataError.at(
            str(recordings.file),
            recording.line,
            f"explains the answer {supports!r}, which is not one of "
            f"the choices {list(example.choices or ())} of {example.id!r}",
            "correct the row",
        )
    factual = same_answer(supports, example.answer, example.choices, example.kind_of_answer)
    return labelled_rationale(
        example,
        "factual" if factual else "counterfactual",
        same[0],
        text,
        teacher=recording.teacher,
        decoding={**decoding, "hint": "gold" if factual else "wrong"},
        thoughts=thoughts,
    )


def _check_places(rationales: Sequence[Sequence[Rationale]], recordings: Recordings) -> None:
    """Texts joined by position alone must at least answer these questions."""
    chains = [rationale for of_question in rationales for rationale in of_question]
    read = sum(rationale.answer is not None for rationale in chains)
    if read < LEAST_READ * len(chains):
        raise DataError.at(
            str(recordings.file),
            None,
            f"only {read} of {len(chains)} texts answer the question at their position",
            "give the rows in the order in which they were recorded",
        )
