"""The journal of `elicit`: every finished call is on disk at once, so that nothing paid for is lost.

Lines of FILE.partial: {"key", "id", "rationale", "tokens"} (and a server's "logprobs", where asked for), or {"key",
"id", "failed"}. A line is flushed and synced before the next call counts as done; what a kill or a bad disk leaves of
it is read by `data.logs`.
The key names row, kind, prompt, teacher and decoding, so that re-running the same command finds what is done,
and another command finds nothing.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cotdistill.data.files import writing
from cotdistill.data.logs import DAMAGE, cut_torn_line, end_last_line, parse_object, read_lines
from cotdistill.data.records import Item, Rationale
from cotdistill.data.said import Said

SERVED = "served"  # in `decoding`: the settings that a server really used; not part of a call's identity


@dataclass(frozen=True)
class FinishedCall:
    """A finished call: its rationale, or why there is none; tokens of the prompt and of the completion."""

    id: str
    rationale: Rationale | None = None
    failed: str | None = None
    tokens: tuple[int, int] = (0, 0)
    said: tuple[Said, ...] = ()  # the likeliest tokens along what a server generated


def call_key(row: str, kind: str, prompt: str | None, teacher: str, decoding: Mapping[str, Any]) -> str:
    """Digest of what defines a rationale (`decoding` tells which of several samples it is)."""
    settings = {name: value for name, value in decoding.items() if name != SERVED}
    parts = json.dumps([row, kind, prompt, teacher, settings], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(parts.encode("utf-8", "backslashreplace")).hexdigest()[:32]


class Journal:
    """Finished calls for the rows of `out`; without `out` they are kept in memory only.

    Processes of one job append to files of their own; the first process reads them all. `repair`: damaged lines are
    set aside and their calls made again. `fresh`: the present content of `out` is not taken over.
    """

    def __init__(self, out: Path | None, rank: int = 0, repair: bool = False, fresh: bool = False) -> None:
        self.out, self.rank = out, rank
        self.entries: dict[str, FinishedCall] = {}
        self._stream: BinaryIO | None = None
        if out is not None and rank == 0:
            # A finished file is also a journal: its rationales name the calls they answer.
            for item in [] if fresh else finished_rows(out, repair):
                for rationale in item.rationales:
                    self.entries[rationale_key(item, rationale)] = FinishedCall(item.id, rationale)
            for file in self.files():
                self.entries.update(read_lines(file, _entry, repair))

    def files(self) -> list[Path]:
        """The existing journal files."""
        if self.out is None:
            return []
        main = self.out.with_name(self.out.name + ".partial")
        others = sorted(main.parent.glob(f"{glob.escape(main.name)}-*")) if main.parent.is_dir() else []
        return [file for file in (main, *others) if file.is_file()]

    def add(self, key: str, entry: FinishedCall) -> None:
        """Record a finished call; it is on disk when this returns."""
        self.entries[key] = entry
        if self.out is None:
            return
        with writing(self.out):
            if self._stream is None:
                self._stream = self._open(self.out)
            self._stream.write(_line(key, entry))
            self._stream.flush()
            os.fsync(self._stream.fileno())

    def beside(self, row: str, keys: Collection[str]) -> list[FinishedCall]:
        """Finished rationales of a row under other keys."""
        return [entry for key, entry in self.entries.items() if entry.id == row and key not in keys]

    def close(self) -> None:
        """Close the file; it stays on disk."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def remove(self) -> None:
        """Drop the journal: everything in it is in `out` now."""
        self.close()
        for file in self.files():
            file.unlink()

    def _open(self, out: Path) -> BinaryIO:
        suffix = f"-{self.rank}" if self.rank else ""
        file = out.with_name(f"{out.name}.partial{suffix}")
        file.parent.mkdir(parents=True, exist_ok=True)
        cut_torn_line(file)
        return file.open("ab", buffering=0)


def finished_rows(out: Path, repair: bool = False) -> list[Item]:
    """The rows of a finished file, none where the file does not exist; `DataError` names a damaged line."""
    if not out.is_file():
        return []
    if out.read_bytes()[-1:] not in (b"", b"\n"):
        end_last_line(out, _row)
    return [item for item in read_lines(out, _row, repair) if item is not None]


def holds_rows(out: Path) -> bool:
    """Whether a file holds elicited rows, even if partly damaged; an empty file has nothing to lose."""
    lines = [line for line in out.read_bytes().split(b"\n") if line.strip()]
    return not lines or any(map(_is_row, lines))


def _is_row(line: bytes) -> bool:
    try:
        return _row(line) is not None
    except DAMAGE:
        return False


def _row(line: bytes) -> Item | None:
    """An elicited row; None for a blank line and for the end line of a stream that was saved to a file."""
    if not line.strip() or line.startswith(b'{"end":'):
        return None
    return Item.model_validate_json(line)


def rationale_key(item: Item, rationale: Rationale) -> str:
    """The key of the call that a rationale answered."""
    return call_key(item.id, rationale.kind, rationale.prompt, rationale.teacher, rationale.decoding)


def _line(key: str, entry: FinishedCall) -> bytes:
    if entry.rationale is None:
        fields: dict[str, Any] = {"key": key, "id": entry.id, "failed": entry.failed}
    else:
        fields = {
            "key": key,
            "id": entry.id,
            "rationale": entry.rationale.model_dump(mode="json"),
            "tokens": list(entry.tokens),
            **({"logprobs": [[one.token, one.top] for one in entry.said]} if entry.said else {}),
        }
    return (json.dumps(fields, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def _entry(line: bytes) -> tuple[str, FinishedCall]:
    """(key, entry) of one line; raises where it holds none."""
    fields = parse_object(line)
    rationale = fields.get("rationale")
    if rationale is None and not isinstance(fields["failed"], str):
        raise ValueError("neither a rationale nor the reason why there is none")
    if not isinstance(fields["key"], str) or not isinstance(fields["id"], str):
        raise ValueError("key and id must be strings")
    prompt, completion = fields.get("tokens", (0, 0))
    return fields["key"], FinishedCall(
        fields["id"],
        rationale and Rationale.model_validate_json(json.dumps(rationale)),
        fields.get("failed"),
        (int(prompt), int(completion)),
        tuple(
            Said(token, tuple((other, float(value)) for other, value in top))
            for token, top in fields.get("logprobs", ())
        ),
    )
