"""Rationales that exist already: recordings joined to questions, and the rows' own rationales.

Stored verdicts are never trusted: our scorer judges every text.
"""

from __future__ import annotations

from collections.abc import Sequence

from cotdistill.config import ElicitConfig
from cotdistill.data.importers import Recording, Recordings
from cotdistill.data.recording_formats import Chain
from cotdistill.data.records import Example, Rationale
from cotdistill.errors import DataError
from cotdistill.evaluation.answers import same_answer
from cotdistill.teachers.filters import judged
from cotdistill.teachers.reasoning import split_thoughts

ROWS = "rows"
LEAST_READ = 0.5  # of what is joined by place: below, the rows are not the ones it was recorded on


def from_recordings(examples: Sequence[Example], recordings: Recordings,
                    config: ElicitConfig) -> list[list[Rationale]]:
    """The judged rationales for every question, in order. Raises `DataError` where none belongs to any.

    Thinking spans are told apart as a model's are: dropped, or taken as the rationale.
    """
    last = max(recordings.by_place, default=-1)
    if last >= len(examples) and config.limit is None and config.shard is None:
        raise DataError.at(str(recordings.file), recordings.by_place[last].line,
                           f"a text at place {last}, but there are {len(examples)} questions",
                           "give the rows it was recorded on, in their order")
    found = [recordings.of(example, at) for at, example in enumerate(examples)]
    if not any(found):
        raise DataError.at(str(recordings.file), None,
                           f"none of its rows belongs to one of the {len(examples)} questions (joined by "
                           f"{recordings.by}: it has {recordings.first()[:60]!r}, the first question is "
                           f"{examples[0].id!r})", "join it with the data set it was recorded on")
    rationales = [[_judged(example, chain, recording, at, recordings, config)
                   for at, chain in enumerate(recording.chains)] if recording else []
                  for example, recording in zip(examples, found, strict=True)]
    if recordings.by_place:
        _check_places(rationales, recordings)
    return rationales


def from_row(example: Example) -> list[Rationale]:
    """The row's own rationale (a human one, say), taken to argue for the gold answer."""
    if not (example.rationale or "").strip():
        return []
    return [judged(example, "factual", example.answer, str(example.rationale), teacher=ROWS,
                   decoding={"decode": "recorded", "hint": "gold"})]


def _judged(example: Example, chain: Chain, recording: Recording, at: int, recordings: Recordings,
            config: ElicitConfig) -> Rationale:
    """One chain as a rationale.

    A chain that argues for a wrong answer by itself is a factual rationale labelled wrong, or, where
    counterfactuals are wanted, a counterfactual one: that is what a counterfactual rationale is.
    """
    decoding: dict[str, object] = {"decode": "recorded", "sample": at}
    found, text = split_thoughts(chain.text, config.reasoning_marker)
    thoughts = found if config.reasoning == "rationale" else None
    if found is not None and config.reasoning != "drop":
        decoding["reasoning"] = config.reasoning
    if chain.supports is not None:
        return _explained(example, chain.supports, text, recording, decoding, recordings, thoughts)
    rationale = judged(example, "factual", example.answer, text, teacher=recording.teacher, decoding=decoding,
                       thoughts=thoughts)
    if config.counterfactual and rationale.correct is False and rationale.answer is not None:
        return judged(example, "counterfactual", rationale.answer, text, teacher=recording.teacher,
                      decoding=decoding, thoughts=thoughts)
    return rationale


def _explained(example: Example, supports: str, text: str, recording: Recording, decoding: dict[str, object],
               recordings: Recordings, thoughts: str | None) -> Rationale:
    """A chain for an answer that the teacher was told."""
    same = [answer for answer in example.choices or (example.answer, supports)
            if same_answer(answer, supports, example.choices, example.kind_of_answer)]
    if not same:
        raise DataError.at(str(recordings.file), recording.line,
                           f"explains the answer {supports!r}, which is none of "
                           f"the choices {list(example.choices or ())} of {example.id!r}", "correct the row")
    factual = same_answer(supports, example.answer, example.choices, example.kind_of_answer)
    return judged(example, "factual" if factual else "counterfactual", same[0], text,
                  teacher=recording.teacher, decoding={**decoding, "hint": "gold" if factual else "wrong"},
                  thoughts=thoughts)


def _check_places(rationales: Sequence[Sequence[Rationale]], recordings: Recordings) -> None:
    """Texts joined by place alone must at least answer these questions."""
    chains = [rationale for found in rationales for rationale in found]
    read = sum(rationale.answer is not None for rationale in chains)
    if read < LEAST_READ * len(chains):
        raise DataError.at(str(recordings.file), None,
                           f"only {read} of {len(chains)} texts answer the question at "
                           "their place", "give the rows in the order in which they were recorded")
