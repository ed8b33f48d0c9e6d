"""Where the real data lie that some tests read; they are no part of the repository."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def data(name: str) -> Path:
    """The path of a real data file or folder, e.g. "teacher/x.jsonl"; skips the test where it is absent.

    Looked for in $COTDISTILL_DATA, else in ../shared/data beside the repository.
    """
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("COTDISTILL_DATA") or default)
    path = folder / name
    if not path.exists():
        pytest.skip(f"no {name} in {folder}; set COTDISTILL_DATA to the folder of the real data")
    return path


def rows(name: str) -> Iterator[dict[str, Any]]:
    """The rows of a real JSON-lines file."""
    with data(name).open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def cases(name: str) -> list[dict[str, Any]]:
    """The cases of a file in the folder `cases` beside the real data; skips the test where it is absent."""
    path = data(".").parent / "cases" / name
    if not path.exists():
        pytest.skip(f"no {name} in {path.parent}; it lies beside the real data")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def smollm2() -> Path:
    """SmolLM2-135M-Instruct, a GGUF file or a folder; skips the test where it is absent.

    Looked for in $COTDISTILL_SMOLLM2, else where `make real` leaves it.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = cache / "cotdistill" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    model = Path(os.environ.get("COTDISTILL_SMOLLM2") or kept)
    if not model.exists():
        pytest.skip(f"no model {model}; `make real` downloads it, or set COTDISTILL_SMOLLM2 to it")
    return model
