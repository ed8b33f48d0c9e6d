"""CSV, TSV and Parquet files as rows whose cells are text exactly as written; no types are guessed.

`NA`, `null` and `02139` are text, an empty cell is a missing value.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from cotdistill.data.inputs import PARQUET, check_utf8, text_stream
from cotdistill.data.json_rows import Attempt
from cotdistill.errors import DataError

DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
CALLED = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars"}
LONGEST_CELL = 2**31 - 1  # characters; csv stops at 131,072 otherwise


def csv_rows(stream: io.BufferedReader, name: str, delimiter: str) -> Iterator[Attempt]:
    """(line, row) of a table with a header; a row is named by the line it begins on."""
    csv.field_size_limit(LONGEST_CELL)
    text = text_stream(stream, name, newline="")
    reader = csv.reader(_checked(text, name), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    number = 1
    try:
        while True:
            number = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = _header(cells, name, number, delimiter)
            elif len(cells) > len(header):
                what = f"{len(cells)} cells, but the header names {len(header)} columns"
                yield number, DataError.at(name, number, what, "put cells that hold the separator in quotes")
            else:
                yield (
                    number,
                    {
                        column: cell or None
                        for column, cell in zip(header, [*cells, *[""] * (len(header) - len(cells))], strict=True)
                        if column
                    },
                )
    except csv.Error as error:
        raise DataError.at(name, number, f"not CSV: {error}", "correct the quotes of that row") from None
    finally:
        text.detach()


def parquet_rows(stream: io.BufferedReader, name: str) -> Iterator[Attempt]:
    """(number of the row, row) of a Parquet file; rows are numbered from 0."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(stream.read()))
        number = 0
        for batch in file.iter_batches(batch_size=4096):
            for row in batch.to_pylist():
                yield number, row
                number += 1
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError.at(name, None, f"damaged Parquet: {reason}", "copy or create it again") from None


def is_parquet(stream: io.BufferedReader) -> bool:
    """Whether a stream begins as Parquet files do."""
    return stream.peek(4).startswith(PARQUET)


def delimiter_of(stream: io.BufferedReader, suffix: str) -> str | None:
    """The separator of the cells, None where it is not a table.

    By the suffix; without one of ours, text that does not begin as JSON is a table where its
    first line holds tabs or commas.
    """
    if suffix in DELIMITERS:
        return DELIMITERS[suffix]
    if suffix in (".json", ".jsonl", ".ndjson"):
        return None
    first = stream.peek().removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n")[0]
    if first[:1] in (b"{", b"["):
        return None
    return next((mark for mark in "\t," if mark.encode() in first), None)


def _header(cells: Sequence[str], name: str, number: int, delimiter: str) -> list[str]:
    header = [cell.strip() for cell in cells]
    if len(header) == 1:
        other = next((mark for mark in CALLED if mark != delimiter and mark in header[0]), None)
        if other is not None:
            raise DataError.at(
                name,
                number,
                f"is separated by {CALLED[other]}, not by {CALLED[delimiter]}",
                "save it with commas as .csv, or with tabs as .tsv",
            )
    twice = next((column for column in header if column and header.count(column) > 1), None)
    if twice is not None:
        raise DataError.at(name, number, f"two columns are named {twice!r}", "rename one of them")
    return header


def _checked(text: io.TextIOWrapper, name: str) -> Iterator[str]:
    for number, line in enumerate(text, start=1):
        check_utf8(line, name, number)
        yield line
