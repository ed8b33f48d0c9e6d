"""Answers on disk: one JSON line per question, appended as they come, so that the same command resumes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from cotdistill.console import progress, warn
from cotdistill.data.files import writing
from cotdistill.data.logs import DAMAGE, append, damage_at, parse_object, read_lines, whole_lines
from cotdistill.data.records import Example, Record
from cotdistill.errors import DataError, OutputError


class Answered(Record):
    """Base of what a store holds: something that was answered to the question of that id."""

    id: str


R = TypeVar("R", bound=Answered)


@dataclass(frozen=True)
class Store(Generic[R]):
    """A file of records under a first line that says under which settings they were made.

    A file made under other settings is set aside (NAME.before), never mixed with and never lost. What a kill or a
    bad disk leaves is read by `data.logs`; `repair`: damaged lines are set aside, their questions asked again.
    Measured seconds go to NAME's twin `.timings.jsonl`, outside of every digest, so that the same answers are the
    same bytes; they never stop anything.
    """

    path: Path
    record: type[R]
    settings: str
    repair: bool = False
    about: Mapping[str, str] = field(default_factory=dict)  # whose answers these are, for the first line

    def read(self) -> list[R]:
        """The records there are, in the order in which they were made."""
        if not self.path.exists():
            return []
        try:
            if self.header().get("settings") != self.settings:
                return []
        except DataError:
            if not self.repair:
                raise
            self._set_aside("damaged", "its first line is damaged")
            return []
        return read_lines(self.path, self.record.model_validate_json, self.repair, first=2)

    def header(self) -> Mapping[str, Any]:
        """The first line: the settings and what else was noted when the file was begun; empty in an empty file."""
        lines = whole_lines(self.path)
        try:
            return parse_object(lines[0]) if lines else {}
        except DAMAGE as error:
            raise damage_at(self.path, 1, str(error)) from None

    def append(self, records: Sequence[R], notes: Mapping[str, Any], seconds: float) -> None:
        """Add records; they are on the disk when this returns. `notes` go into the first line of a new file."""
        fresh = not self.path.exists() or not whole_lines(self.path)
        if not fresh and self.header().get("settings") != self.settings:
            self._set_aside("before", "was made under other settings")
            fresh = True
        header = [json.dumps({"settings": self.settings, **self.about, **notes}).encode()] if fresh else []
        append(self.path, [*header, *(record.model_dump_json().encode() for record in records)])
        with suppress(OSError, OutputError):
            times = {"questions": len(records), "seconds": round(seconds, 6)}
            append(self._timings, [json.dumps(times).encode()], sync=False)

    def completed(
        self,
        examples: Sequence[Example],
        make: Callable[[Sequence[Example]], Sequence[R]],
        chunk: int,
        offline: bool,
        notes: Callable[[], Mapping[str, Any]] = dict,
    ) -> dict[str, R]:
        """{id: its record}, those there are and those that `complete` makes."""
        there = {record.id: record for record in self.read()}
        new = self.complete(examples, there.__contains__, make, chunk, offline, notes)
        return there | {record.id: record for record in new}

    def complete(
        self,
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
                str(self.path),
                None,
                f"{len(missing)} of {len(examples)} answers are missing, or were made under other settings",
                "evaluate once without --from-predictions",
            )
        new: list[R] = []
        with progress(self.path.stem, len(missing)) as advance:
            for at in range(0, len(missing), chunk):
                batch = missing[at : at + chunk]
                began = time.perf_counter()
                records = make(batch)
                self.append(records, notes(), time.perf_counter() - began)
                new += records
                advance(len(batch), "")
        return new

    def seconds_per_question(self) -> float | None:
        """Measured while they were made; None where nothing was measured. Lines that cannot be read are left out."""
        measured: list[tuple[int, float]] = []
        with suppress(OSError, OutputError):
            for line in whole_lines(self._timings):
                with suppress(*DAMAGE):
                    times = parse_object(line)
                    measured.append((int(times["questions"]), float(times["seconds"])))
        questions = sum(count for count, _ in measured)
        return sum(seconds for _, seconds in measured) / questions if questions > 0 else None

    @property
    def _timings(self) -> Path:
        return self.path.with_suffix(".timings.jsonl")

    def _set_aside(self, suffix: str, why: str) -> None:
        names = (f"{self.path.name}{number}.{suffix}" for number in ("", *(f".{n}" for n in range(2, 1000))))
        other = next(path for name in names if not (path := self.path.with_name(name)).exists())
        warn(f"{self.path}: {why}; moved to {other.name}")
        with writing(self.path):
            os.replace(self.path, other)
        with suppress(OSError):
            self._timings.unlink()
