"""Rationales made elsewhere: our own recordings and the files of other projects, told apart by their fields.

| files | lines | joined to questions by |
|---|---|---|
| recordings | {id, teacher, samples: [{text}]} | id |
| SCOTT's code (consistent-CoT-distillation) | {id, answer, question or statement, explanation} | id |
| CasCoD's code | an array of {task_description, instruction, response, ...} | question |
| EDIT's code | an array of {input, chosen, rejected} | question |
| Distilling Step-by-Step's | SPLIT_CoT_N.json, an array of texts | place |

Only texts are read, and in SCOTT's files the answer that the teacher was told to explain; stored verdicts
never. What a reader does not understand it refuses, with file and line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cotdistill.data.records import Example
from cotdistill.data.rows import foreign_rows
from cotdistill.errors import DataError

By = Literal["id", "question", "place"]
_PROMPT = re.compile(r"Task Description:\n.*?\nQ:(?P<question>.*)\n\nA:", re.DOTALL)
_BATCH = re.compile(r"(?P<split>.+)_CoT_(?P<number>\d+)$")


@dataclass(frozen=True)
class Chain:
    """One text; `supports`: the answer the teacher was told to explain, None where it answered by itself."""

    text: str
    supports: str | None = None


@dataclass(frozen=True)
class Recording:
    """What a teacher said to one question, and the line it stands in."""

    teacher: str
    chains: tuple[Chain, ...]
    line: int


@dataclass(frozen=True)
class Recordings:
    """The recordings of one file under their keys: an id, a question's words, or a place ("0", "1", ...)."""

    file: Path
    by: By
    found: dict[str, Recording]

    def of(self, example: Example, place: int) -> Recording | None:
        """The recording of a question that stands at `place` among its rows."""
        if self.by == "id":
            return self.found.get(example.id)
        if self.by == "place":
            return self.found.get(str(place))
        return next((self.found[key] for key in question_keys(example) if key in self.found), None)


def read_recordings(file: Path) -> Recordings:
    """The recordings in a file of any of the kinds above. Raises `DataError` for what is none of them."""
    rows = list(_rows(file))
    if not rows:
        raise DataError.at(str(file), None, "holds no rows", "give a file with one JSON object a line")
    line, first = rows[0]
    for known in FORMATS:
        if known.recognises(first):
            return known.read(file, rows)
    fields = ", ".join(first) if isinstance(first, dict) else type(first).__name__
    raise DataError.at(str(file), line, f"is no recording of a kind known here (it holds {fields})",
                       f"the kinds are: {'; '.join(known.shape for known in FORMATS)}")


@dataclass(frozen=True)
class Format:
    """One kind of file: how its rows are recognised and read as (key, chains)."""

    shape: str
    by: By
    fields: frozenset[str]
    chains: Callable[[dict[str, Any]], tuple[str, list[Chain]]]

    def recognises(self, row: Any) -> bool:
        """Whether a row has the fields of this kind."""
        return isinstance(row, dict) and self.fields <= set(row)

    def read(self, file: Path, rows: list[tuple[int, Any]]) -> Recordings:
        """All rows, each of this kind, no key twice."""
        found: dict[str, Recording] = {}
        for line, row in rows:
            try:
                if not self.recognises(row):
                    raise ValueError("a row unlike the first of this file")
                key, chains = self.chains(row)
            except (KeyError, TypeError, ValueError) as error:
                what = f"the field {error} is missing" if isinstance(error, KeyError) else str(error)
                raise DataError.at(str(file), line, what, f"a row is {self.shape}") from None
            if key in found and self.by == "id":
                raise DataError.at(str(file), line, f"id {key!r} stands already in line {found[key].line}",
                                   "put what belongs to one question into one row")
            teacher = row.get("teacher")
            before = found[key].chains if key in found else ()
            name = teacher if isinstance(teacher, str) and teacher else file.stem
            found[key] = Recording(name, (*before, *chains), line)
        return Recordings(file, self.by, found)


class Batches(Format):
    """Distilling Step-by-Step's outputs: texts in the order of the data set, in files of equal length."""

    def recognises(self, row: Any) -> bool:
        """A row is a bare text."""
        return isinstance(row, str)

    def read(self, file: Path, rows: list[tuple[int, Any]]) -> Recordings:
        """All texts under their places; the file's number says how many stand before it."""
        found: dict[str, Recording] = {}
        first = self._before(file, len(rows))
        for at, (line, text) in enumerate(rows):
            if not isinstance(text, str):
                raise DataError.at(str(file), line, f"a {type(text).__name__} among texts",
                                   f"a row is {self.shape}")
            # The model went on with a question of its own: what follows is not part of its answer.
            answered = re.split(r"\n\s*(?:Q:|Premise:)", text)[0]
            found[str(first + at)] = Recording(file.parent.parent.name or file.stem,
                                               (Chain(answered.strip()),), line)
        return Recordings(file, self.by, found)

    def _before(self, file: Path, length: int) -> int:
        named = _BATCH.match(file.stem)
        if named is None:
            raise DataError.at(str(file), None, "texts without ids are joined by place, which only the name "
                               "SPLIT_CoT_N.json tells", "name it so, or give recordings with ids")
        number = int(named["number"])
        full = file.with_name(f"{named['split']}_CoT_0.json")
        return number * (len(list(_rows(full))) if number and full.is_file() else length)


def question_keys(example: Example) -> list[str]:
    """The ways in which other projects write a question: bare, with lettered choices, with `Options:`."""
    forms = [example.question, example.text()]
    if example.choices is not None:
        listed = "\n".join(f"({chr(ord('A') + at)}) {choice}" for at, choice in enumerate(example.choices))
        forms += [f"{example.question}\nOptions:\n{listed}", f"{example.question}\n{listed}"]
    return [_words(form) for form in forms]


def _words(text: str) -> str:
    return " ".join(text.lower().split())


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"the field {name!r} holds no text")
    return value


def _recorded(row: dict[str, Any]) -> tuple[str, list[Chain]]:
    if not isinstance(row["samples"], list):
        raise ValueError("the field 'samples' is no list")
    texts = [sample.get("text") if isinstance(sample, dict) else None for sample in row["samples"]]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a sample without a text")
    return _text(row["id"], "id"), [Chain(str(text)) for text in texts]


def _scott(row: dict[str, Any]) -> tuple[str, list[Chain]]:
    if "question" not in row and "statement" not in row:
        raise KeyError("question")
    answer, told = _text(row["answer"], "answer"), row["explanation"]
    return str(row["id"]), [Chain(_text(text, "explanation"), answer)
                            for text in (told if isinstance(told, list) else [told])]


def _cascod(row: dict[str, Any]) -> tuple[str, list[Chain]]:
    return _words(_text(row["instruction"], "instruction")), [Chain(_text(row["response"], "response"))]


def _edit(row: dict[str, Any]) -> tuple[str, list[Chain]]:
    prompt = _PROMPT.fullmatch(_text(row["input"], "input"))
    if prompt is None:
        raise ValueError("the field 'input' is not 'Task Description: ... Q: ... A:'")
    return _words(prompt["question"]), [Chain(_text(row[name], name)) for name in ("chosen", "rejected")]


FORMATS: tuple[Format, ...] = (
    Format('{"id", "teacher", "samples": [{"text"}]}', "id", frozenset({"id", "samples"}), _recorded),
    Format('{"id", "answer", "question" or "statement", "explanation"} (SCOTT)', "id",
           frozenset({"id", "answer", "explanation"}), _scott),
    Format('{"instruction", "response"} (CasCoD)', "question", frozenset({"instruction", "response"}),
           _cascod),
    Format('{"input", "chosen", "rejected"} (EDIT)', "question", frozenset({"input", "chosen", "rejected"}),
           _edit),
    Batches("a text (Distilling Step-by-Step)", "place", frozenset(), lambda row: ("", [])),
)


def _rows(file: Path) -> Iterator[tuple[int, Any]]:
    """(line, value) of JSON lines, a JSON array or a table."""
    for line, row in foreign_rows(file):
        if isinstance(row, DataError):
            raise row
        yield line, row
