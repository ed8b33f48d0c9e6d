"""`--map question=stem,choices=A+B+C+D,answer=key`: which column of a foreign row is what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from cotdistill.data.cells import cell
from cotdistill.errors import UsageError, did_you_mean

# One step of a column's name: in quotes (doubled or after a backslash where the name holds them), or bare.
_STEP = re.compile(
    r"""\s*(?:"(?P<double>(?:[^"\\]|\\.|"")*)"|'(?P<single>(?:[^'\\]|\\.|'')*)'"""
    r"""|(?P<bare>(?:\\.|[^,+.\\])+))\s*"""
)


@dataclass(frozen=True)
class Column:
    """A column, or a path into it: `name` as written, `path` as its steps."""

    name: str
    path: tuple[str, ...]

    def of(self, row: Mapping[str, Any]) -> Any:
        """Its cell in a row; `ValueError` where the row has none."""
        return cell(row, self.name, self.path)


@dataclass(frozen=True)
class Columns:
    """The columns that hold a row's parts; a part of several columns (`A+B`) is joined, or lists choices.

    `answer` may hold a choice's text, its label (from `labels`, else A, B, ...), its index (from `first`, told by
    the file where it is not given), or true and false. `text` is a teacher's output, in recordings.
    """

    question: tuple[Column, ...] = ()
    answer: tuple[Column, ...] = ()
    choices: tuple[Column, ...] = ()
    labels: tuple[Column, ...] = ()
    id: tuple[Column, ...] = ()
    rationale: tuple[Column, ...] = ()
    text: tuple[Column, ...] = ()
    first: int | None = None

    @classmethod
    def parse(cls, text: str, answered: bool = True) -> Columns:
        """`question=stem,choices=options,answer=key` as given to --map; `answered`: questions need an answer.

        A column's name with a comma, dot, plus or blank at an end is quoted: `answer="key, final"`; a dot
        leads into it: `messages.1.content`.
        """
        known = [field.name for field in fields(cls)]
        given: dict[str, Any] = {}
        at = 0
        while at < len(text):
            name, equals, _ = text[at:].partition("=")
            if not equals or "," in name:
                raise UsageError(
                    f"--map takes NAME=COLUMN,..., not {text[at:].split(',')[0]!r}; the names are {', '.join(known)}"
                )
            at += len(name) + 1
            name = name.strip()
            if name not in known:
                raise UsageError(
                    f"--map: a row has no field {name!r}{did_you_mean(name, known)}; the names are {', '.join(known)}"
                )
            if name in given:
                raise UsageError(f"--map: {name!r} is given twice; join several columns of one field with +")
            given[name], at = _columns(text, at, name)
        first = given.pop("first", None)
        if first is not None and first[0].name not in ("0", "1"):
            raise UsageError(f"--map first= takes 0 or 1, the index of the first choice, not {first[0].name!r}")
        return cls(**given, first=None if first is None else int(first[0].name)).checked(answered)

    def checked(self, answered: bool = True) -> Columns:
        """Itself, if it names what a question row or a recording needs."""
        if self.of_questions or self.of_recordings or (self.question and not answered):
            return self
        missing = [name for name in ("question", *(["answer"] if answered else [])) if not getattr(self, name)]
        raise UsageError(
            f"--map needs a column for {' and '.join(missing)}"
            + ("" if self.answer else " (of recordings: text, and id or question)")
        )

    @property
    def of_recordings(self) -> bool:
        """Whether it says how recordings are read: a map that names text, or a rationale and no answer."""
        return bool(self.text or (self.rationale and not self.answer)) and bool(self.id or self.question)

    @property
    def of_questions(self) -> bool:
        """Whether it says how question rows are read."""
        return bool(self.question and self.answer)


def columns_named(*paths: str) -> tuple[Column, ...]:
    """Columns by their plain names: `choices.text`."""
    return tuple(Column(path, tuple(path.split("."))) for path in paths)


def _columns(text: str, at: int, part: str) -> tuple[tuple[Column, ...], int]:
    """The columns from `at` on to the next comma, and where the next part begins."""
    columns: list[Column] = []
    steps: list[str] = []
    began, quoted = at, False
    while True:
        step = _STEP.match(text, at)
        if step is None:
            raise UsageError(f"--map: column name missing after {text[:at]!r}")
        quoted |= step["bare"] is None
        steps.append(_unquoted(step))
        at = step.end()
        ending = text[at : at + 1]
        if ending == ".":
            at += 1
            continue
        if ending not in (",", "+", ""):
            raise UsageError(f"--map: {text[at:]!r} follows the name of a column of {part!r}")
        columns.append(
            Column(steps[0] if len(steps) == 1 else ".".join(steps) if quoted else text[began:at].strip(), tuple(steps))
        )
        at += 1
        steps, began, quoted = [], at, False
        if ending != "+":
            return tuple(columns), at


def _unquoted(step: re.Match[str]) -> str:
    if step["bare"] is not None:
        return re.sub(r"\\(.)", r"\1", step["bare"].strip())
    quote, inner = ('"', step["double"]) if step["double"] is not None else ("'", step["single"])
    return re.sub(r"\\(.)", r"\1", inner.replace(quote * 2, quote))
