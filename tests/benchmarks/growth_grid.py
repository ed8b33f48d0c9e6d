"""A grid of many cells: what its report and `verify` take, each a process of its own.

`python -m tests.benchmarks.growth_grid [CELLS...]`, by default 100 1000: CPU and wall seconds and the peak of resident
memory of `ablate` where every cell is done already, and of `verify`; behind them what 1,000 more cells take. The bar is
`BAR` wall seconds for 1,000 cells. They are of five strategies on four shares of the rows, under as many seeds as it
takes, each asked two sets of 100 questions. One cell of each strategy is trained; the others are copies of it that
answer otherwise, written by the product's own functions under their own keys.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch

# Only what is small is imported here: the peak of a process begins with that of the one which starts it.
RESULTS = Path(__file__).parent / "results"
SIZES = (100, 1_000)
BAR = 60.0
STRATEGIES = ("answer-only", "cot", "cascod", "post-cot", "mt-ra")
SHARES = ("0.25", "0.5", "0.75", "1")
QUESTIONS = 100
COMMAND = (sys.executable, "-m", "cotdistill")


def arguments(folder: Path, cells: int) -> list[str]:
    """The options of `ablate` for a grid of so many cells in `folder`."""
    seeds = cells // (len(STRATEGIES) * len(SHARES))
    data = [f"--data={folder / name}.jsonl" for name in ("id", "shift")]
    return [
        *(str(folder / "rows.jsonl"), "--strategies", ",".join(STRATEGIES), "--train-size", ",".join(SHARES)),
        *("--seeds", f"0..{seeds - 1}", "--no-controls", "--no-calibrate", "--keep-students", "none"),
        *("--steps", "2", "--batch-size", "4", "--eval-max-new-tokens", "8", "--jobs", "1", "--device", "cpu"),
        *(*data, "--out", str(folder / "grid")),
    ]


class Copies:
    """Stands in for training and for answering: the first run of a strategy is real, the others are copies of it."""

    def __init__(self) -> None:
        from cotdistill.grid import tasks

        self.distill, self.evaluate = tasks.distill_items, tasks.examine
        self.first: dict[str, Path] = {}
        self.load = tasks.WorkerState.fresh_student

    def fresh_student(self, state: Any, settings: Any) -> Any:
        """A student where one will be trained."""
        return self.load(state, settings) if len(self.first) < len(STRATEGIES) else None

    def distill_items(self, config: Any, strategy: Any, items: Any, source: str, folder: Path, **more: Any) -> Any:
        """`distill_items`, whose run is a copy with the card of its own definition."""
        from cotdistill.data.files import json_digest
        from cotdistill.data.records import digest
        from cotdistill.data.runcard import read_card
        from cotdistill.run_key import definition

        if strategy.name not in self.first:
            made = self.distill(config, strategy, items, source, folder=folder, **more)
            assert made is not None
            self.first[strategy.name] = Path(made["run"])
            return made
        rows = digest(items)
        key = json_digest(definition(config, strategy, rows, None))
        run, model = folder / f"{strategy.name}-{key[:8]}", self.first[strategy.name]
        run.mkdir(parents=True)
        shutil.copy(model / "metrics.jsonl", run)
        card = read_card(model)
        data = {**card.data, "digest": rows, "rows": len(items), "trained_on": len(items)}
        changed = {"key": key, "data": data, "config": config.model_dump(mode="json")}
        card.model_copy(update=changed).write(run)
        return {"run": str(run)}

    def examine(self, config: Any, subject: Any, name: str, examples: Any, *more: Any) -> None:
        """`examine`, where a copy answers every question right with the chance that its key draws."""
        from cotdistill.answers.judging import judge_by
        from cotdistill.evaluation.metrics import Prediction
        from cotdistill.evaluation.store import Store
        from cotdistill.evaluation.stored import read_predictions, settings_digest

        run, card = subject.folder, subject.card
        model = self.first.get(card.strategy["name"], run)
        if run == model or run.parent.name != "runs":  # or the untrained student
            self.evaluate(config, subject, name, examples, *more)
            return
        draw, questions, judged = random.Random(card.key + name), _digest(examples), judge_by("answers")
        level, answers = draw.uniform(0.4, 0.8), []
        for said in read_predictions(model / "predictions" / f"{name}.jsonl"):
            output = said.gold if draw.random() < level else draw.choice(said.choices or (said.gold,))
            answer, verdict = judged(output, said.gold, said.choices, said.kind)
            answers.append(said.model_copy(update={"output": output, "answer": answer, "verdict": verdict}))
        settings = settings_digest(config, config.dtype, card.key, questions)
        about = {"run": card.key, "questions": questions}
        Store(run / "predictions" / f"{name}.jsonl", Prediction, settings, False, about).append(answers, {}, 1.0)


def _digest(examples: Any) -> str:
    from cotdistill.data.records import digest

    return digest(examples)


def make(folder: Path, cells: int) -> None:
    """Rows, questions and the finished grid."""
    from cotdistill.data.tasks import load_examples
    from cotdistill.grid import tasks
    from tests.in_process import run

    for split in ("id", "shift"):
        examples = load_examples("demo", split, QUESTIONS)
        (folder / f"{split}.jsonl").write_text("".join(example.line() + "\n" for example in examples))
    assert run("elicit", "--limit", "120", "--quiet", "-o", str(folder / "rows.jsonl")).code == 0
    copies = Copies()
    with ExitStack() as stack:
        for name in ("distill_items", "examine"):
            stack.enter_context(patch.object(tasks, name, getattr(copies, name)))
        loads = lambda state, settings: copies.fresh_student(state, settings)  # noqa: E731 (becomes a method)
        stack.enter_context(patch.object(tasks.WorkerState, "fresh_student", loads))
        done = run("ablate", *arguments(folder, cells), "--quiet")
    assert done.code == 0, done.err


def measured(command: list[str]) -> Mapping[str, float]:
    """CPU seconds, wall seconds and MiB at the peak of one process; raises where it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}")
    seconds = used.ru_utime + used.ru_stime
    return {"cpu": seconds, "wall": time.perf_counter() - began, "peak": used.ru_maxrss / 1024}


def main(sizes: tuple[int, ...]) -> int:
    """Print and keep the table; 1 where 1,000 cells take longer than the bar."""
    found: dict[str, dict[int, Mapping[str, float]]] = {"report": {}, "verify": {}}
    for size in sizes:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            subprocess.run([sys.executable, "-m", __spec__.name, "--make", place, str(size)], check=True)
            found["report"][size] = measured([*COMMAND, "ablate", *arguments(folder, size), "--quiet"])
            found["verify"][size] = measured([*COMMAND, "verify", str(folder / "grid")])
        for stage, mine in found.items():
            now, more = mine[size], ""
            if earlier := [one for one in mine if one < size]:
                steps = {name: (now[name] - mine[earlier[-1]][name]) / (size - earlier[-1]) * 1000 for name in now}
                more = f"; per 1,000 more cells {steps['cpu']:.1f} s, {steps['peak']:.0f} MiB"
            figures = f"{now['cpu']:7.1f} s of CPU {now['wall']:7.1f} s {now['peak']:6.0f} MiB"
            print(f"{stage:8}{size:>6,} cells {figures}{more}", flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"growth-grid-{date.today()}.json").write_text(json.dumps(found, indent=1) + "\n")
    return int(any(mine.get(1000, {"wall": 0.0})["wall"] > BAR for mine in found.values()))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        make(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        raise SystemExit(main(tuple(map(int, sys.argv[1:])) or SIZES))
