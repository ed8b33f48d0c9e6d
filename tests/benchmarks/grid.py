"""A grid's warm workers against separate `distill` and `evaluate` processes, and what the grid itself costs.

    ratio      wall time of the same cells as separate processes, one after the other, over that of the grid: >= 2.5
    overhead   wall time of the grid beyond its cells' own training and evaluation spread over its workers, of the
               latter: <= 10 %

Both on rows that are there already, on the embedded world, two workers: `python -m tests.benchmarks.grid [STEPS]`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STRATEGIES = ("cot", "post-cot", "answer-only", "cascod")
SEEDS = (0, 1, 2)
WORKERS = 2
RATIO, OVERHEAD = 2.5, 0.10
STEPS = 625  # ten passes over the embedded world's training rows


def cotdistill(*arguments: str, rows: str | None = None) -> tuple[float, list[dict[str, Any]]]:
    """(wall seconds, JSON lines) of one command in a process of its own."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "cotdistill", *arguments, "--quiet"],
        input=rows,
        text=True,
        capture_output=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return time.perf_counter() - began, [json.loads(line) for line in done.stdout.splitlines()]


def separate(rows: Path, folder: Path, steps: int) -> float:
    """Every cell as two processes, one after the other."""
    total = 0.0
    for strategy in STRATEGIES:
        for seed in SEEDS:
            seconds, made = cotdistill(
                "distill",
                str(rows),
                "--strategy",
                strategy,
                "--seed",
                str(seed),
                "--steps",
                str(steps),
                "--out",
                str(folder / f"{strategy}-{seed}"),
            )
            total += seconds
            total += cotdistill("evaluate", made[0]["run"], "--no-calibrate")[0]
    return total


def grid(rows: Path, folder: Path, steps: int) -> tuple[float, float]:
    """(wall seconds, seconds of the cells' own training and evaluation) of the same cells as one grid.

    The untrained student's row, which separate processes do not make, counts as a cell's own work.
    """
    wall, records = cotdistill(
        "ablate",
        str(rows),
        "--strategies",
        ",".join(STRATEGIES),
        "--no-controls",
        "--seeds",
        ",".join(map(str, SEEDS)),
        "--steps",
        str(steps),
        "--jobs",
        str(WORKERS),
        "--data",
        "demo",
        "--out",
        str(folder),
    )
    return wall, sum(sum(record["seconds"].values()) for record in records)


def main(steps: int) -> int:
    """Print both figures; 1 where a bar is missed."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rows = folder / "rows.jsonl"
        cotdistill("elicit", "--hint", "gold", "--out", str(rows))
        together, own = grid(rows, folder / "grid", steps)
        apart = separate(rows, folder / "runs", steps)
    ratio, overhead = apart / together, together / (own / WORKERS) - 1
    print(
        json.dumps(
            {
                "cells": len(STRATEGIES) * len(SEEDS),
                "steps": steps,
                "separate_s": round(apart, 1),
                "grid_s": round(together, 1),
                "cells_own_s": round(own, 1),
                "ratio": round(ratio, 2),
                "overhead": round(overhead, 3),
                "load": os.getloadavg()[0],
            }
        )
    )
    return int(ratio < RATIO or overhead > OVERHEAD)


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]) if len(sys.argv) > 1 else STEPS))
