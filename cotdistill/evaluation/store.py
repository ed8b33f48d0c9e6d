"""Answers on the disk: one JSON line a question, appended as they come, so that re-running resumes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from cotdistill.console import progress, warn
from cotdistill.data.files import write_text, writing
from cotdistill.data.records import Example, Record
from cotdistill.errors import DataError

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Store(Generic[R]):
    """A file of records under a first line that says under which settings they were made.

    A file made under other settings is set aside (NAME.before), never mixed with and never lost. What a kill
    may leave, a torn last line, is cut off: its question is asked again. Measured seconds go to NAME's twin
    `.timings.jsonl`, outside of every digest, so that the same answers are the same bytes.
    """

    path: Path
    record: type[R]
    settings: str

    def read(self) -> list[R]:
        """The records there are, in the order in which they were made."""
        if not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        lines = whole.split("\n")[:-1]  # not splitlines: U+2028 in a text ends no line
        if self._header(lines).get("settings") != self.settings:
            return []
        if whole != text:
            write_text(self.path, whole)
        try:
            return [self.record.model_validate_json(line) for line in lines[1:]]
        except ValidationError as error:
            raise DataError.at(
                str(self.path),
                None,
                f"damaged: {str(error).splitlines()[0]}",
                "remove it; its questions are asked again",
            ) from None

    def header(self) -> Mapping[str, Any]:
        """The first line: the settings and what else was noted when the file was begun."""
        with self.path.open(encoding="utf-8") as lines:
            return self._header([lines.readline()])

    def append(self, records: Sequence[R], notes: Mapping[str, Any], seconds: float) -> None:
        """Add records; they are on the disk when this returns. `notes` go into the first line of a new
        file."""
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and self.header().get("settings") != self.settings:
                self._set_aside()
            fresh = not self.path.exists()
            with self.path.open("a", encoding="utf-8") as out:
                if fresh:
                    out.write(json.dumps({"settings": self.settings, **notes}) + "\n")
                out.write("".join(record.model_dump_json() + "\n" for record in records))
                out.flush()
                os.fsync(out.fileno())
            with self._timings.open("a", encoding="utf-8") as out:
                out.write(json.dumps({"questions": len(records), "seconds": round(seconds, 6)}) + "\n")

    def seconds_per_question(self) -> float | None:
        """Measured while they were made; None where nothing was measured."""
        if not self._timings.exists():
            return None
        lines = [json.loads(line) for line in self._timings.read_text(encoding="utf-8").splitlines()]
        questions = sum(line["questions"] for line in lines)
        return sum(line["seconds"] for line in lines) / questions if questions else None

    @property
    def _timings(self) -> Path:
        return self.path.with_suffix(".timings.jsonl")

    def _header(self, lines: Sequence[str]) -> dict[str, Any]:
        try:
            found = json.loads(lines[0]) if lines else {}
        except json.JSONDecodeError:
            found = {}
        return found if isinstance(found, dict) else {}

    def _set_aside(self) -> None:
        before = self.path.with_name(self.path.name + ".before")
        warn(f"{self.path} was made under other settings; it is now {before.name}")
        os.replace(self.path, before)
        self._timings.unlink(missing_ok=True)


def complete(
    store: Store[R],
    examples: Sequence[Example],
    is_done: Callable[[str], bool],
    make: Callable[[Sequence[Example]], Sequence[R]],
    chunk: int,
    offline: bool,
    notes: Callable[[], Mapping[str, Any]] = dict,
) -> list[R]:
    """Make what is missing, `chunk` questions at a time, each chunk stored before the next; the new records.

    `offline`: nothing may be made; `DataError` names how many are missing.
    """
    missing = [example for example in examples if not is_done(example.id)]
    if missing and offline:
        raise DataError.at(
            str(store.path),
            None,
            f"{len(missing)} of {len(examples)} answers are missing, or were made under other settings",
            "evaluate once without --from-predictions",
        )
    made: list[R] = []
    with progress(store.path.stem, len(missing)) as advance:
        for at in range(0, len(missing), chunk):
            asked = missing[at : at + chunk]
            began = time.perf_counter()
            records = make(asked)
            store.append(records, notes(), time.perf_counter() - began)
            made += records
            advance(len(asked), "")
    return made
