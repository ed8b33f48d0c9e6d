"""`cotdistill elicit` with a server teacher, and what it leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.in_process import Done, run

KEY = "sk-test-0123456789-secret"


def elicit(folder: Path, url: str | None, *options: str, rows: int = 1) -> Done:
    data = folder / "questions.jsonl"
    data.write_text(
        "".join(
            json.dumps({"id": f"q{at}", "question": f"Is {at} a number?", "choices": ["yes", "no"], "answer": "yes"})
            + "\n"
            for at in range(rows)
        )
    )
    where = [] if url is None else ["--base-url", url]
    return run(
        "elicit",
        "--teacher",
        "openai:m",
        "--data",
        str(data),
        "--shots",
        "0",
        "--timeout",
        "5",
        *where,
        "-o",
        str(folder / "rows.jsonl"),
        *options,
    )


def rationale(folder: Path) -> dict[str, Any]:
    [row] = map(json.loads, (folder / "rows.jsonl").read_text().splitlines())
    return row["rationales"][0]


def failure(folder: Path) -> str:
    [entry] = map(json.loads, (folder / "rows.jsonl.partial").read_text().splitlines())
    return entry["failed"]
