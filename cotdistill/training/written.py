"""What a run's student wrote for its own training (`--on-policy`), as its card and the costs of its cell count it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from cotdistill.data.logs import whole_lines
from cotdistill.training.on_policy import OnPolicy


def written(policy: OnPolicy, run: Path) -> dict[str, Any]:
    """`on_policy` of the steps in a run's metrics.jsonl, summed up, and the size of the model that read it."""
    total: Counter[str] = Counter()
    for line in whole_lines(run / "metrics.jsonl"):
        total.update(json.loads(line).get("on_policy", {}))
    read = 0 if policy.teacher is None else policy.teacher.model.num_parameters()
    return {"on_policy": {**total, "teacher_parameters": read}}
