"""Seconds and memory over the number of rows: reading, judging, encoding, evaluating, each a process of its own.

`python -m tests.benchmarks.growth_rows [ROWS...]`, by default 1000 10000 100000: CPU seconds (user and system) and the
peak of resident memory of what a command is, start included; behind them what 100,000 more rows take, from the step
between two sizes. No bar: a table to hold against an earlier one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path

# Only what is small is imported here: the peak of a process begins with that of the one which starts it.
RESULTS = Path(__file__).parent / "results"
SIZES = (1_000, 10_000, 100_000)
COMMAND = ("-m", "cotdistill")
MAP = "id=id,question=stem,choices=A+B+C+D,answer=key"
READ_ITEMS = "import sys; from cotdistill.data.rows import read_items; read_items(sys.argv[1])"
READ_QUESTIONS = "import sys; from cotdistill.data.tasks import load_examples; load_examples(sys.argv[1], columns={})"


def stages(folder: Path) -> Mapping[str, tuple[str, ...]]:
    """{stage: the arguments of Python} on the files of `tests.benchmarks.rows`."""
    at = {name: str(folder / f"{name}.jsonl") for name in ("questions", "recorded", "rows", "predictions")}
    judge = ("elicit", "--data", at["questions"], "--teacher", f"recorded:{at['recorded']}", "--overwrite")
    encode = ("distill", at["rows"], "--strategy", "cascod", "--student", "demo", "--dry-run")
    return {
        "read questions": ("-c", READ_QUESTIONS.format(None), at["questions"]),
        "read a mapped CSV": ("-c", READ_QUESTIONS.format(repr(MAP)), str(folder / "questions.csv")),
        "read elicited rows": ("-c", READ_ITEMS, at["rows"]),
        "judge a recording": (*COMMAND, *judge, "--out", str(folder / "judged.jsonl")),
        "distill --dry-run": (*COMMAND, *encode, "--out", str(folder / "run")),
        "evaluate predictions": (*COMMAND, "evaluate", at["predictions"], "--data", at["questions"]),
        "evaluate with its page": (
            *(*COMMAND, "evaluate", at["predictions"], "--data", at["questions"]),
            *("--html", str(folder / "page.html"), "--overwrite"),
        ),
    }


def measured(arguments: tuple[str, ...], cache: Path) -> tuple[float, float]:
    """(CPU seconds, MiB at the peak) of one process; raises where it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(cache)}
    quiet = subprocess.DEVNULL
    with subprocess.Popen([sys.executable, *arguments], env=environment, stdout=quiet, stderr=quiet) as child:
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {child.returncode}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main(sizes: tuple[int, ...]) -> int:
    """Print and keep the table."""
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            measured(("-m", "tests.benchmarks.rows", str(folder), str(size)), folder / "cache")
            for stage, arguments in stages(folder).items():
                mine = found.setdefault(stage, {})
                mine[size] = seconds, peak = measured(arguments, folder / "cache")
                more = ""
                if earlier := [one for one in mine if one < size]:
                    pairs = zip(mine[size], mine[earlier[-1]], strict=True)
                    took, held = ((now - then) / (size - earlier[-1]) * 100_000 for now, then in pairs)
                    more = f"; per 100,000 more rows {took:7.1f} s {held:7.0f} MiB"
                print(f"{stage:24}{size:>9,} rows {seconds:8.1f} s {peak:7.0f} MiB{more}", flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"growth-rows-{date.today()}.json").write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(tuple(map(int, sys.argv[1:])) or SIZES))
