"""Logs of inspect_ai: `.json` as `inspect log dump` prints it, and `.eval`, a ZIP archive with one file per sample."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cotdistill.console import warn
from cotdistill.errors import DataError, UsageError, did_you_mean
from cotdistill.outcomes.scored import Scored, text_id, value_of

ZSTANDARD = 93  # APPNOTE.TXT 4.4.5; Python reads it from 3.14 on
LOCAL_HEADER = struct.Struct("<4s5H3I2H")  # APPNOTE.TXT 4.3.7


def is_log(row: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a log."""
    return isinstance(row.get("eval"), Mapping) and "status" in row


def is_archive(path: str) -> bool:
    """Whether a file is a log in the archive format."""
    return Path(path).is_file() and zipfile.is_zipfile(path) and "header.json" in zipfile.ZipFile(path).namelist()


def read_archive(path: str) -> dict[str, Any]:
    """The log in an `.eval` file, as the JSON form holds it. Raises `DataError` for a damaged archive."""
    try:
        with zipfile.ZipFile(path) as archive, open(path, "rb") as raw:
            names = [info for info in archive.infolist() if info.filename.startswith("samples/")]
            header = next(info for info in archive.infolist() if info.filename == "header.json")
            return {
                **json.loads(_member(archive, raw, header)),
                "samples": [json.loads(_member(archive, raw, info)) for info in names],
            }
    except (zipfile.BadZipFile, ValueError, OSError, StopIteration, struct.error, zlib.error) as error:
        raise DataError.at(path, None, f"damaged archive: {error}", "copy the log again") from None


def _member(archive: zipfile.ZipFile, raw: io.BufferedReader, info: zipfile.ZipInfo) -> bytes:
    if info.compress_type != ZSTANDARD:
        return archive.read(info)
    import pyarrow as pa  # brings Zstandard along

    raw.seek(info.header_offset)
    *_, name, extra = LOCAL_HEADER.unpack(raw.read(LOCAL_HEADER.size))
    raw.seek(name + extra, io.SEEK_CUR)
    packed = io.BytesIO(raw.read(info.compress_size))
    unpacked: bytes = pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), "zstd").read()
    return unpacked


def read_log(log: Mapping[str, Any], name: str, metric: str | None) -> list[Scored]:
    """The outcomes by one scorer, by default the first; samples without a score are counted and left out.

    Raises `UsageError` for a scorer that the log lacks, `DataError` for a log without samples or scores.
    """
    samples = log.get("samples") or []
    if not samples:
        raise DataError.at(
            name, None, "holds no samples", "dump the whole log: inspect log dump FILE, no --header-only"
        )
    known = list(dict.fromkeys(scorer for sample in samples for scorer, _ in _scores(sample)))
    if not known:
        raise DataError.at(name, None, "none of its samples has a score", "score it: inspect score FILE")
    if metric is not None and metric not in known:
        raise UsageError(f"--metric {metric}: {name} has {' or '.join(known)}{did_you_mean(metric, known)}")
    task, by = str(log["eval"].get("task") or "") or None, metric or known[0]
    outcomes = [outcome for sample in samples for outcome in _scored(sample, by, task, name)]
    if len(outcomes) < len(samples):
        warn(f"{name}: {len(samples) - len(outcomes)} of {len(samples)} samples have no score by {by}")
    return outcomes


def _scored(sample: Mapping[str, Any], by: str, task: str | None, name: str) -> Iterator[Scored]:
    raw = dict(_scores(sample)).get(by)
    if raw is None:
        return
    value = value_of(raw)
    if value is None:
        raise DataError.at(name, None, f"sample {sample.get('id')!r}: its {by} is no number", "choose another --metric")
    fields = {**(sample.get("metadata") or {}), "target": sample.get("target")}
    epoch = int(sample.get("epoch") or 1)
    yield Scored(text_id(sample.get("id")), value, task, _asked(sample.get("input")), epoch, fields=fields)


def _scores(sample: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(scorer, value); for a scorer with several values, `scorer/name` of each."""
    for scorer, score in (sample.get("scores") or {}).items():
        value = score.get("value") if isinstance(score, Mapping) else score
        if isinstance(value, Mapping):
            yield from ((f"{scorer}/{key}", part) for key, part in value.items())
        else:
            yield scorer, value


def _asked(given: Any) -> str | None:
    """The question: a text, or the users' messages of a conversation."""
    if isinstance(given, str):
        return given
    texts = [
        message["content"]
        for message in given or ()
        if isinstance(message, Mapping) and message.get("role") == "user" and isinstance(message.get("content"), str)
    ]
    return "\n".join(texts) or None
