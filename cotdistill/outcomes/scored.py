"""One item and one run's outcome on it, from any source."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cotdistill.data.cells import text_of_cell
from cotdistill.data.files import json_digest

# What harnesses write for right, wrong, half right and no answer (inspect_ai's C, I, P, N included).
WORDS = {
    **dict.fromkeys(("c", "correct", "right", "true", "yes", "pass", "passed"), 1.0),
    **dict.fromkeys(("i", "n", "incorrect", "wrong", "false", "no", "fail", "failed", "unparsed"), 0.0),
    "p": 0.5,
}
QUESTION = ("question", "query", "problem", "input", "prompt", "text", "sentence", "ctx", "stem")


@dataclass(frozen=True)
class Scored:
    """`value`: the outcome, 0 or 1, or a score. `id` and `question` (its text) are what items are joined by, `task`
    the one it belongs to; each may be unknown. `epoch`: the repetition of the same item. `fields`: everything else
    that `--cluster` may name. `line`: where it was read, for errors."""

    id: str | None
    value: float
    task: str | None = None
    question: str | None = None
    epoch: int = 1
    line: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def asked(self) -> str | None:
        """A digest of the question, ignoring blanks."""
        return None if self.question is None else json_digest(" ".join(self.question.split()))


def value_of(raw: Any) -> float | None:
    """An outcome as a number: 1, true, "C", "0.5"; None for anything else."""
    if isinstance(raw, bool | int | float):
        return float(raw) if math.isfinite(raw) else None
    text = raw.strip() if isinstance(raw, str) else ""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def text_id(raw: Any) -> str | None:
    """An id as text: 7 and "7" are one item."""
    try:
        return text_of_cell(raw)
    except ValueError:
        return None


def question_of(row: Mapping[str, Any]) -> str | None:
    """A row's question, from the first of the usual field names."""
    for name in QUESTION:
        if isinstance(row.get(name), str) and row[name].strip():
            return str(row[name])
    return None


def canonical(value: Any) -> str:
    """Any value as one text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
