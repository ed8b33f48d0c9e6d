"""DIR/digests.json: the digest of every file of an ablation as its report was written, and of each teacher row.

Measured times and model cards are left out: they differ from run to run and no number depends on them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cotdistill.data.files import file_digest, json_digest, write_json, writing
from cotdistill.errors import DataError

FILE = "digests.json"
ROWS = "rows"


def write_digests(out: Path, records: Sequence[dict[str, Any]]) -> None:
    """Digest everything that the report rests on."""
    files = {str(path.relative_to(out)): file_digest(path) for path in weighed(out, records)}
    rows = {str(path.relative_to(out)): row_digests(path) for path in sorted((out / ROWS).glob("*.jsonl"))}
    write_json(out / FILE, {"files": files, "rows": rows, "digest": json_digest([files, rows])})


def read_digests(out: Path) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """(files, rows); `DataError` where the file is missing, or does not match its own digest."""
    path = out / FILE
    if not path.is_file():
        raise DataError.at(str(path), None, "no such file: nothing to verify here", "give a directory that ablate made")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        files, rows = found["files"], found["rows"]
        whole = json_digest([files, rows]) == found["digest"] and _are_digests([files, *rows.values()])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):  # whatever damage makes of it
        whole = False
    if not whole:
        raise ValueError(f"{FILE}: changed since the report was written")
    return files, rows


def _are_digests(found: Iterable[object]) -> bool:
    """Whether every one is {name: digest}."""
    return all(isinstance(one, dict) and all(isinstance(weight, str) for weight in one.values()) for one in found)


def row_digests(path: Path) -> dict[str, str]:
    """{id: sha256 of its line} of a file of rows."""
    digests = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            name = str(json.loads(line)["id"])
        except (ValueError, KeyError, TypeError):
            name = f"line {number}"
        digests[name] = hashlib.sha256(line).hexdigest()
    return digests


def weigh(out: Path, run: Path) -> dict[str, str]:
    """{file: digest} of everything in a run's directory that a number depends on."""
    return {str(path.relative_to(out)): file_digest(path) for path in _of_run(run)}


def damaged(out: Path, record: Mapping[str, Any]) -> list[str]:
    """Files that changed since a cell was finished. Weights are checked only where something else is
    damaged: nothing depends on them as long as the predictions are whole."""
    weights = [name for name in record["files"] if "/student/" in name]
    changed = _changed(out, {name: digest for name, digest in record["files"].items() if name not in weights})
    return changed + (_changed(out, {name: record["files"][name] for name in weights}) if changed else [])


def set_aside(out: Path, run: Path, names: Sequence[str]) -> None:
    """Move a cell's files aside to be made again: NAME becomes NAME.before. Where more than predictions are
    damaged, the run no longer counts as finished and is trained again."""
    if any("/predictions/" not in name for name in names):
        names = [*names, str((run / "run.json").relative_to(out))]
    for path in (out / name for name in dict.fromkeys(names)):
        if path.exists():
            with writing(path):
                path.replace(path.with_name(path.name + ".before"))


def unlisted(out: Path, listed: Collection[str], records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Files that neither the digests nor any cell's record name. Cells themselves, measured times, checkpoints,
    unfinished runs and what was set aside are not evidence."""
    known = {*listed, FILE, *(name for record in records for name in record.get("files", ()))}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = path.relative_to(out)
        own = Path(*name.parts[2:]) if name.parts[0] in ("runs", "references") and len(name.parts) > 2 else name
        unfinished = name.parts[0] == "runs" and not (out / Path(*name.parts[:2]) / "run.json").exists()
        if str(name) not in known and name.parts[0] != "cells" and not unfinished and _counts(own):
            yield str(name)


def weighed(out: Path, records: Sequence[dict[str, Any]]) -> Iterator[Path]:
    """Every file of the report, and of every run it rests on."""
    for pattern in (
        "*.jsonl",
        "ablation.json",
        "report.*",
        "figures/*",
        "tables/*",
        "rows/*",
        "scores/*",
        "questions/*",
    ):
        yield from sorted(path for path in out.glob(pattern) if path.is_file() and _counts(path.relative_to(out)))
    for run in sorted({run_of(out, record) for record in records if record.get("sets")}):
        yield from _of_run(run)


def run_of(out: Path, record: Mapping[str, Any]) -> Path:
    """The directory of a cell's predictions."""
    return out / Path(next(iter(record["sets"].values()))["predictions"]).parent.parent


def _of_run(run: Path) -> Iterator[Path]:
    yield from sorted(path for path in run.rglob("*") if path.is_file() and _counts(path.relative_to(run)))


def _changed(out: Path, files: Mapping[str, str]) -> list[str]:
    return [name for name, digest in files.items() if not (out / name).is_file() or file_digest(out / name) != digest]


def _counts(path: Path) -> bool:
    timed = path.name == "timings.jsonl" or path.name.endswith(".timings.jsonl")
    hidden = any(part.startswith(".") for part in path.parts)
    card = path == Path("README.md")  # of a run, renewed by `evaluate`
    return not (
        timed or hidden or card or path.suffix in (".before", ".damaged") or path.parts[0] in ("checkpoints", "track")
    )
