"""What a run's student wrote for its own training (`--on-policy`), as its card and the costs of its cell count it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from cotdistill.config import DistillConfig
from cotdistill.data.logs import whole_lines
from cotdistill.training.footprint import teacher_parameters


def written(config: DistillConfig, run: Path) -> dict[str, Any]:
    """`on_policy` of the steps in metrics.jsonl, summed up, and the size of the model that read it; empty where the
    student wrote nothing."""
    if config.on_policy is None:
        return {}
    total: Counter[str] = Counter()
    for line in whole_lines(run / "metrics.jsonl"):
        total.update(json.loads(line).get("on_policy", {}))
    return {"on_policy": {**total, "teacher_parameters": teacher_parameters(config)}}
