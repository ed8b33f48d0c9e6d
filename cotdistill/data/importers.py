"""Rationales made elsewhere, joined to questions: our own recordings and the files of other projects.

The kinds of rows stand in `recording_formats`; one more is a file of bare texts, SPLIT_CoT_N.json of Distilling
Step-by-Step, joined by place. Only texts are read, and the answer that a teacher was told to explain; stored
verdicts never. What no reader understands is refused, with file and line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cotdistill.config.common import BadRows
from cotdistill.data.bad_rows import STOP, Refused
from cotdistill.data.columns import Columns
from cotdistill.data.inputs import title
from cotdistill.data.json_rows import Attempt
from cotdistill.data.recording_formats import FORMATS, Chain, Format, Said, mapped
from cotdistill.data.records import Example
from cotdistill.data.rows import foreign_rows, is_end, note_id
from cotdistill.errors import DataError

_BATCH = re.compile(r"(?P<split>.+)_CoT_(?P<number>\d+)$")
TEXTS = "a text (Distilling Step-by-Step)"


@dataclass(frozen=True)
class Recording:
    """What a teacher said to one question, the line it stands in, and in what words it was asked."""

    teacher: str
    chains: tuple[Chain, ...]
    line: int
    prompts: tuple[str, ...] = ()

    def joined(self, other: Recording) -> Recording:
        """Both rows of one question."""
        return Recording(self.teacher, (*self.chains, *other.chains), self.line, self.prompts)


@dataclass(frozen=True)
class Recordings:
    """The recordings of one file by id, by the words of the question, or by place ("0", "1", ...)."""

    file: Path
    by_id: dict[str, Recording] = field(default_factory=dict)
    by_question: dict[str, Recording] = field(default_factory=dict)
    by_place: dict[int, Recording] = field(default_factory=dict)

    @property
    def by(self) -> str:
        """What they are joined to questions by."""
        kinds = {"place": self.by_place, "question": self.by_question, "id": self.by_id}
        return " and ".join(name for name, found in kinds.items() if found)

    def first(self) -> str:
        """A key, for messages."""
        return str(next(iter(self.by_id or self.by_question or self.by_place)))

    def of(self, example: Example, place: int) -> Recording | None:
        """The recording of a question that stands at `place` among its rows.

        Rows that say in which words they asked are joined by an id only where these hold the question: numbers
        from 0 on are ids in many files.
        """
        if place in self.by_place:
            return self.by_place[place]
        asked = next((self.by_question[key] for key in question_keys(example) if key in self.by_question), None)
        if asked is not None:
            return asked
        found = self.by_id.get(example.id)
        question = words(example.question)
        if found is None or (found.prompts and not any(question in words(prompt) for prompt in found.prompts)):
            return None
        return found


def read_recordings(file: Path, columns: Columns | None = None, bad: BadRows = STOP) -> Recordings:
    """The recordings in a file of any kind known here, or under a map. Raises `DataError` for none of them."""
    rows = [(line, row) for line, row in foreign_rows(file) if not is_end(row)]
    refused = Refused(str(file), bad)
    line, first = next((one for one in rows if not isinstance(one[1], DataError)), rows[0] if rows else (0, {}))
    if isinstance(first, DataError):
        raise first
    if isinstance(first, str) and columns is None:
        return _by_place(file, [_sound(row) for row in rows])
    known = mapped(columns) if columns is not None else next((one for one in FORMATS if one.recognises(first)), None)
    if known is None and rows:
        fields = ", ".join(map(str, list(first)[:20])) if isinstance(first, dict) else type(first).__name__
        raise DataError.at(str(file), line, f"is no recording of a kind known here (it holds {fields})",
                           "name its columns with --map id=...,text=..., or give one of: "
                           + "; ".join(one.shape for one in (*FORMATS, Format(TEXTS, (), lambda row: Said(())))))
    found = Recordings(file)
    seen: dict[str, int] = {}
    good = sum(known is not None and refused.attempt(line, partial(_note, found, known, line, row, seen)) is not None
               for line, row in rows)
    refused.tell(good)
    if not good:
        raise DataError.at(str(file), None, "holds no rows", "give a file with one JSON object a line")
    return found


def question_keys(example: Example) -> list[str]:
    """The ways in which other projects write a question: bare, with lettered choices, with `Options:`."""
    forms = [example.question, example.text()]
    if example.choices is not None:
        listed = "\n".join(f"({chr(ord('A') + at)}) {choice}" for at, choice in enumerate(example.choices))
        forms += [f"{example.question}\nOptions:\n{listed}", f"{example.question}\n{listed}",
                  f"{example.question}\nAnswer Choices:\n{listed}"]
    return [words(form) for form in forms]


def words(text: str) -> str:
    """A text without case and spacing."""
    return " ".join(text.lower().split())


def _sound(numbered: Attempt) -> tuple[int, Any]:
    if isinstance(numbered[1], DataError):
        raise numbered[1]
    return numbered


def _note(found: Recordings, known: Format, line: int, row: Any, seen: dict[str, int]) -> bool:
    """Read one row and enter it under its keys."""
    name = str(found.file)
    if isinstance(row, DataError):
        raise row
    try:
        if not known.recognises(row):
            raise ValueError("a row unlike the first of this file")
        said = known.read(row)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"the field {error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError.at(name, line, what, f"a row is {known.shape}") from None
    if not said.ids and not said.prompts:
        raise DataError.at(name, line, "says neither whose question it answers nor which", f"a row is {known.shape}")
    if known.once:
        note_id(seen, said.ids[0], name, line)
    teacher = said.teacher or next((row[key] for key in ("teacher", "model") if isinstance(row.get(key), str)
                                    and row[key]), title(found.file))
    recording = Recording(teacher, said.chains, line, said.prompts)
    for keys, entries in ((said.ids, found.by_id), (map(words, said.prompts), found.by_question)):
        for key in dict.fromkeys(keys):
            entries[key] = entries[key].joined(recording) if key in entries else recording
    return True


def _by_place(file: Path, rows: Sequence[tuple[int, Any]]) -> Recordings:
    """Distilling Step-by-Step's outputs: texts in the order of the data set, in files of equal length.

    The file's number says how many texts stand before it.
    """
    named = _BATCH.match(file.name.split(".")[0])
    if named is None:
        raise DataError.at(str(file), None, "texts without ids are joined by place, which only the name "
                           "SPLIT_CoT_N.json tells", "name it so, or give recordings with ids")
    number, full = int(named["number"]), file.with_name(f"{named['split']}_CoT_0.json")
    first = number * (len(list(foreign_rows(full))) if number and full.is_file() else len(rows))
    found = Recordings(file)
    for at, (line, text) in enumerate(rows):
        if not isinstance(text, str):
            raise DataError.at(str(file), line, f"a {type(text).__name__} among texts", f"a row is {TEXTS}")
        # The model went on with a question of its own: what follows is not part of its answer.
        answered = re.split(r"\n\s*(?:Q:|Premise:)", text)[0]
        found.by_place[first + at] = Recording(file.parent.parent.name or title(file), (Chain(answered.strip()),), line)
    return found
