"""The journal of `elicit`: every finished call at once on the disk, so that nothing paid for is lost.

Lines of FILE.partial: {"key", "id", "rationale", "tokens"} or {"key", "id", "failed"}. A line is flushed and
synced before the next call counts as done; a half-written last line, all that a kill can leave, is cut off.
The key names row, kind, prompt, teacher and decoding, so that re-running the same command finds what is done,
and another command finds nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from cotdistill.data.files import writing
from cotdistill.data.records import Item, Rationale
from cotdistill.data.rows import read_items
from cotdistill.errors import DataError

SERVED = "served"  # in `decoding`: what the server made of what was asked; not part of a call's identity


@dataclass(frozen=True)
class Entry:
    """A finished call: its rationale, or why there is none; tokens of the prompt and of the completion."""

    id: str
    rationale: Rationale | None = None
    failed: str | None = None
    tokens: tuple[int, int] = (0, 0)


def call_key(row: str, kind: str, prompt: str | None, teacher: str, decoding: Mapping[str, Any]) -> str:
    """Digest of what defines a rationale (which of several samples it is stands in `decoding`)."""
    asked = {name: value for name, value in decoding.items() if name != SERVED}
    parts = json.dumps([row, kind, prompt, teacher, asked], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


class Journal:
    """What is done of the rows that will stand in `out`; without `out` it is kept in memory only.

    Processes of one job append to files of their own; the first one reads them all.
    """

    def __init__(self, out: Path | None, rank: int = 0) -> None:
        self.out, self.rank = out, rank
        self.entries: dict[str, Entry] = {}
        self._stream: TextIO | None = None
        if out is not None and rank == 0:
            self._read_rows(out)
            for file in self.files():
                self._read_journal(file)

    def files(self) -> list[Path]:
        """The journal files there are."""
        if self.out is None:
            return []
        main = self.out.with_name(self.out.name + ".partial")
        others = sorted(main.parent.glob(f"{main.name}-*")) if main.parent.is_dir() else []
        return [file for file in (main, *others) if file.is_file()]

    def add(self, key: str, entry: Entry) -> None:
        """Record a finished call; it is on the disk when this returns."""
        self.entries[key] = entry
        if self.out is None:
            return
        with writing(self.out):
            if self._stream is None:
                self._stream = self._open(self.out)
            self._stream.write(_line(key, entry))
            self._stream.flush()
            os.fsync(self._stream.fileno())

    def beside(self, row: str, keys: Collection[str]) -> list[Entry]:
        """What else is known of a row, under other keys."""
        return [entry for key, entry in self.entries.items() if entry.id == row and key not in keys]

    def close(self) -> None:
        """Close the file; what is in it stays."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def remove(self) -> None:
        """Drop the journal: everything in it stands in `out` now."""
        self.close()
        for file in self.files():
            file.unlink()

    def _open(self, out: Path) -> TextIO:
        suffix = f"-{self.rank}" if self.rank else ""
        file = out.with_name(f"{out.name}.partial{suffix}")
        file.parent.mkdir(parents=True, exist_ok=True)
        _cut_torn_line(file)
        return file.open("a", encoding="utf-8")

    def _read_rows(self, out: Path) -> None:
        """A finished file is a journal, too: its rationales name what they answer."""
        if not out.is_file() or out.stat().st_size == 0:
            return
        for item in read_items(out):
            for rationale in item.rationales:
                self.entries[_key_of(item, rationale)] = Entry(item.id, rationale)

    def _read_journal(self, file: Path) -> None:
        for number, fields in _whole_lines(file):
            try:
                rationale = fields.get("rationale")
                entry = Entry(fields["id"],
                              rationale and Rationale.model_validate_json(json.dumps(rationale)),
                              fields.get("failed"), tuple(fields.get("tokens", (0, 0))))
                self.entries[fields["key"]] = entry
            except (KeyError, ValidationError) as error:
                raise DataError.at(str(file), number, f"is no journal entry ({str(error).splitlines()[0]})",
                                   "remove that line; its call is made again") from None


def _key_of(item: Item, rationale: Rationale) -> str:
    return call_key(item.id, rationale.kind, rationale.prompt, rationale.teacher, rationale.decoding)


def _line(key: str, entry: Entry) -> str:
    if entry.rationale is None:
        fields: dict[str, Any] = {"key": key, "id": entry.id, "failed": entry.failed}
    else:
        fields = {"key": key, "id": entry.id, "rationale": entry.rationale.model_dump(mode="json"),
                  "tokens": list(entry.tokens)}
    return json.dumps(fields, ensure_ascii=False) + "\n"


def _whole_lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The complete lines: the last one may have been torn by a kill."""
    for number, line in enumerate(file.read_bytes().split(b"\n")[:-1], start=1):
        try:
            yield number, json.loads(line)
        except ValueError:
            raise DataError.at(str(file), number, "malformed JSON",
                               "remove that line; its call is made again") from None


def _is_torn(file: Path) -> bool:
    if not file.is_file() or file.stat().st_size == 0:
        return False
    with file.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) != b"\n"


def _cut_torn_line(file: Path) -> None:
    if _is_torn(file):
        content = file.read_bytes()
        os.truncate(file, content.rfind(b"\n") + 1)
