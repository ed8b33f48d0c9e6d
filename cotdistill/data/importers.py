"""Rationales made elsewhere, joined to questions: our own recordings and the files of other projects.

The kinds of rows are listed in `recording_formats`; one more is a file of bare texts, SPLIT_CoT_N.json of Distilling
Step-by-Step, joined by place. Only texts are read, and the answer that a teacher was told to explain; stored
verdicts never. Rows that no reader understands are refused, with file and line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from cotdistill.config.common import BadRows
from cotdistill.data.bad_rows import STOP, Refused
from cotdistill.data.columns import Columns
from cotdistill.data.inputs import title
from cotdistill.data.json_rows import Attempt
from cotdistill.data.recording_formats import FORMATS, Chain, Format, RecordingLine, mapped_format
from cotdistill.data.records import Example
from cotdistill.data.rows import foreign_rows, is_end, note_id
from cotdistill.errors import DataError
from cotdistill.garbage import collector_paused

_BATCH = re.compile(r"(?P<split>.+)_CoT_(?P<number>\d+)$")
TEXTS = "a text (Distilling Step-by-Step)"


@dataclass(frozen=True, slots=True)
class Recording:
    """A teacher's outputs for one question, their line number, and the prompts it was given."""

    teacher: str
    chains: tuple[Chain, ...]
    line: int
    prompts: tuple[str, ...] = ()

    def joined(self, other: Recording) -> Recording:
        """Both rows of one question."""
        return Recording(self.teacher, (*self.chains, *other.chains), self.line, self.prompts)


@dataclass(frozen=True)
class Recordings:
    """The recordings of one file by id, by the words of the question, or by position ("0", "1", ...)."""

    file: Path
    by_id: dict[str, Recording] = field(default_factory=dict)
    by_question: dict[str, Recording] = field(default_factory=dict)
    by_place: dict[int, Recording] = field(default_factory=dict)

    @property
    def by(self) -> str:
        """How they are joined to questions."""
        kinds = {"place": self.by_place, "question": self.by_question, "id": self.by_id}
        return " and ".join(name for name, count in kinds.items() if count)

    def first(self) -> str:
        """An example of a key, for messages."""
        return str(next(iter(self.by_id or self.by_question or self.by_place)))

    def of(self, example: Example, place: int) -> Recording | None:
        """The recording of the question at position `place` of its data set.

        Rows with prompts are joined by an id only where a prompt contains the question: numbers
        from 0 on are ids in many files.
        """
        if place in self.by_place:
            return self.by_place[place]
        by_text = next((self.by_question[key] for key in question_keys(example) if key in self.by_question), None)
        if by_text is not None:
            return by_text
        recording = self.by_id.get(example.id)
        question = words(example.question)
        if recording is None or (
            recording.prompts and not any(question in words(prompt) for prompt in recording.prompts)
        ):
            return None
        return recording


@collector_paused()
def read_recordings(file: Path, columns: Columns | None = None, bad: BadRows = STOP) -> Recordings:
    """The recordings in a file of any kind known here, or under a map. Raises `DataError` for none of them."""
    stream = ((line, row) for line, row in foreign_rows(file) if not is_end(row))
    head: list[Attempt] = []  # up to the first row that can be read: it tells the format
    for numbered in stream:
        head.append(numbered)
        if not isinstance(numbered[1], DataError):
            break
    rows = chain(head, stream)
    refused = Refused(str(file), bad)
    line, first = next(
        (numbered for numbered in head if not isinstance(numbered[1], DataError)), head[0] if head else (0, {})
    )
    if isinstance(first, DataError):
        raise first
    if isinstance(first, str) and columns is None:
        return _by_place(file, [_sound(row) for row in rows])
    known = (
        mapped_format(columns)
        if columns is not None
        else next((kind for kind in FORMATS if kind.recognises(first)), None)
    )
    if known is None and head:
        fields = ", ".join(map(str, list(first)[:20])) if isinstance(first, dict) else type(first).__name__
        raise DataError.at(
            str(file),
            line,
            f"is not in a known recording format (its fields: {fields})",
            "name its columns with --map id=...,text=..., or give one of: "
            + "; ".join(kind.shape for kind in (*FORMATS, Format(TEXTS, (), lambda row: RecordingLine(())))),
        )
    recordings = Recordings(file)
    seen: dict[str, int] = {}
    good = sum(
        known is not None and refused.attempt(line, partial(_note, recordings, known, line, row, seen)) is not None
        for line, row in rows
    )
    refused.tell(good)
    if not good:
        raise DataError.at(str(file), None, "contains no rows", "give a file with one JSON object per line")
    return recordings


def question_keys(example: Example) -> list[str]:
    """The ways in which other projects write a question: bare, with lettered choices, with `Options:`."""
    forms = [example.question, example.text()]
    if example.choices is not None:
        listed = "\n".join(f"({chr(ord('A') + at)}) {choice}" for at, choice in enumerate(example.choices))
        forms += [
            f"{example.question}\nOptions:\n{listed}",
            f"{example.question}\n{listed}",
            f"{example.question}\nAnswer Choices:\n{listed}",
        ]
    return [words(form) for form in forms]


def words(text: str) -> str:
    """A text without case and spacing."""
    return " ".join(text.lower().split())


def _sound(numbered: Attempt) -> tuple[int, Any]:
    if isinstance(numbered[1], DataError):
        raise numbered[1]
    return numbered


def _note(recordings: Recordings, known: Format, line: int, row: Any, seen: dict[str, int]) -> bool:
    """Read one row and enter it under its keys."""
    name = str(recordings.file)
    if isinstance(row, DataError):
        raise row
    try:
        if not known.recognises(row):
            raise ValueError("a row in another format than the first of this file")
        reply = known.read(row)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"the field {error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError.at(name, line, what, f"a row is {known.shape}") from None
    if not reply.ids and not reply.prompts:
        raise DataError.at(name, line, "has neither an id nor a question", f"a row is {known.shape}")
    if known.once:
        note_id(seen, reply.ids[0], name, line)
    named = (row[key] for key in ("teacher", "model") if isinstance(row.get(key), str) and row[key])
    teacher = reply.teacher or next(named, None) or title(recordings.file)
    recording = Recording(teacher, reply.chains, line, reply.prompts)
    for keys, entries in ((reply.ids, recordings.by_id), (map(words, reply.prompts), recordings.by_question)):
        for key in dict.fromkeys(keys):
            entries[key] = entries[key].joined(recording) if key in entries else recording
    return True


def _by_place(file: Path, rows: Sequence[tuple[int, Any]]) -> Recordings:
    """Distilling Step-by-Step's outputs: texts in the order of the data set, in files of equal size.

    The file's number says how many texts precede it.
    """
    named = _BATCH.match(file.name.split(".")[0])
    if named is None:
        raise DataError.at(
            str(file),
            None,
            "texts without ids are matched by position, which requires the file name SPLIT_CoT_N.json",
            "rename the file, or give recordings with ids",
        )
    number, full = int(named["number"]), file.with_name(f"{named['split']}_CoT_0.json")
    first = number * (len(list(foreign_rows(full))) if number and full.is_file() else len(rows))
    recordings = Recordings(file)
    for at, (line, text) in enumerate(rows):
        if not isinstance(text, str):
            raise DataError.at(str(file), line, f"a {type(text).__name__} in a list of texts", f"a row is {TEXTS}")
        # The model continued with a question of its own, which is not part of its answer.
        answered = re.split(r"\n\s*(?:Q:|Premise:)", text)[0]
        recordings.by_place[first + at] = Recording(
            file.parent.parent.name or title(file), (Chain(answered.strip()),), line
        )
    return recordings
