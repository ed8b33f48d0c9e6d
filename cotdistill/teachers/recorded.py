"""Rationales that exist already: recorded generations joined by id, and the rows' own rationales.

Of a recording only id, teacher and the texts are read. Stored verdicts are never trusted: our scorer decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cotdistill.data.records import Example, Rationale
from cotdistill.data.rows import json_lines
from cotdistill.errors import DataError
from cotdistill.teachers.filters import judged

ROWS = "rows"


@dataclass(frozen=True)
class Recording:
    """The texts a teacher gave to one question."""

    teacher: str
    texts: tuple[str, ...]


def read_recordings(file: Path) -> dict[str, Recording]:
    """{id: recording} of JSON lines {id, teacher, samples: [{text, ...}]}; everything else in them is ignored."""
    recordings: dict[str, Recording] = {}
    for number, row in json_lines(file):
        row_id, teacher, samples = row.get("id"), row.get("teacher"), row.get("samples")
        if not isinstance(row_id, str) or not isinstance(samples, list):
            raise DataError.at(str(file), number, "is no recorded generation",
                               'a line needs "id", "teacher" and "samples": [{"text": ...}]')
        texts = [sample.get("text") if isinstance(sample, dict) else None for sample in samples]
        if not all(isinstance(text, str) for text in texts):
            raise DataError.at(str(file), number, "a sample without a text", 'give every sample a "text"')
        if row_id in recordings:
            raise DataError.at(str(file), number, f"id {row_id!r} stands twice", "put its samples into one line")
        name = teacher if isinstance(teacher, str) and teacher else file.stem
        recordings[row_id] = Recording(name, tuple(map(str, texts)))
    if not recordings:
        raise DataError.at(str(file), None, "holds no rows", "give a file with one JSON object a line")
    return recordings


def from_recording(example: Example, recordings: Mapping[str, Recording], counterfactual: bool) -> list[Rationale]:
    """The judged rationales for one question.

    A chain that argues for a wrong answer is a factual rationale labelled wrong, or, where counterfactuals are
    wanted, a counterfactual one: it is what a counterfactual rationale is, a rationale for a wrong answer.
    """
    found = recordings.get(example.id)
    if found is None:
        return []
    rationales = []
    for at, text in enumerate(found.texts):
        decoding = {"decode": "recorded", "sample": at}
        chain = judged(example, "factual", example.answer, text, teacher=found.teacher, decoding=decoding)
        if counterfactual and chain.correct is False and chain.answer is not None:
            chain = judged(example, "counterfactual", chain.answer, text, teacher=found.teacher, decoding=decoding)
        rationales.append(chain)
    return rationales


def from_row(example: Example) -> list[Rationale]:
    """The row's own rationale (a human one, say), taken to argue for the gold answer."""
    if not (example.rationale or "").strip():
        return []
    return [judged(example, "factual", example.answer, str(example.rationale), teacher=ROWS,
                   decoding={"decode": "recorded", "hint": "gold"})]


def check_joined(examples: Sequence[Example], recordings: Mapping[str, Recording], file: Path) -> int:
    """How many questions have a recording; none at all is a mistake."""
    joined = sum(example.id in recordings for example in examples)
    if not joined:
        raise DataError.at(str(file), None, f"none of its ids is among the {len(examples)} questions' (it has "
                           f"{next(iter(recordings))!r}, they have {examples[0].id!r})",
                           "join it with the data set it was recorded on")
    return joined
