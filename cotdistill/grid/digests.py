"""DIR/digests.json: what every file of an ablation weighed when its report was written, each teacher row included.

Measured times are left out: they differ from one making to the next and no number stands on them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cotdistill.data.files import file_digest, json_digest, write_json
from cotdistill.errors import DataError

FILE = "digests.json"
ROWS = "rows"


def write_digests(out: Path, records: Sequence[dict[str, Any]]) -> None:
    """Weigh everything that the report stands on."""
    files = {str(path.relative_to(out)): file_digest(path) for path in weighed(out, records)}
    rows = {str(path.relative_to(out)): row_digests(path) for path in sorted((out / ROWS).glob("*.jsonl"))}
    write_json(out / FILE, {"files": files, "rows": rows, "digest": json_digest([files, rows])})


def read_digests(out: Path) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """(files, rows); `DataError` where there is none, or where it does not weigh what it says."""
    path = out / FILE
    if not path.is_file():
        raise DataError.at(str(path), None, "no such file: nothing to verify here", "give a directory that ablate made")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        whole = json_digest([found["files"], found["rows"]]) == found["digest"]
    except (ValueError, KeyError):
        whole = False
    if not whole:
        raise ValueError(f"{FILE}: changed since the report was written")
    return found["files"], found["rows"]


def row_digests(path: Path) -> dict[str, str]:
    """{id: sha256 of its line} of a file of rows."""
    found = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            name = str(json.loads(line)["id"])
        except (ValueError, KeyError, TypeError):
            name = f"line {number}"
        found[name] = hashlib.sha256(line).hexdigest()
    return found


def weighed(out: Path, records: Sequence[dict[str, Any]]) -> Iterator[Path]:
    """Every file of the report, and of every run it stands on."""
    for pattern in ("*.jsonl", "ablation.json", "report.*", "figures/*", "rows/*", "scores/*"):
        yield from sorted(path for path in out.glob(pattern) if path.is_file())
    runs = {out / Path(one["predictions"]).parent.parent for record in records
            for one in record.get("sets", {}).values()}
    for run in sorted(runs):
        yield from sorted(path for path in run.rglob("*") if path.is_file() and _counts(path.relative_to(run)))


def _counts(path: Path) -> bool:
    timed = path.name in ("timings.jsonl",) or path.name.endswith(".timings.jsonl")
    return not timed and path.suffix != ".before" and path.parts[0] not in ("checkpoints", "track")
