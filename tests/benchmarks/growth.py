"""What must not grow: seconds an example with the data, encoding against the tokenizer, the start against
imports.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import torch

from cotdistill.config import DistillConfig
from cotdistill.strategies.forms import FillContext
from cotdistill.strategies.join import join
from cotdistill.strategies.registry import create
from cotdistill.students.encode import EncodedSet, Encoder
from cotdistill.training.train import Loop
from tests.benchmarks.rounds import RESULTS
from tests.benchmarks.workload import encoded, items, llama, words

FLAT, TOKENIZER, START = 1.10, 10.0, 1.3  # bars


def seconds_an_example(rounds: int = 5) -> tuple[float, float]:
    """CPU seconds an example with 1,000 and with 50,000 rows, medians of interleaved rounds."""
    student = llama(64, 2)
    thousand = encoded(student, "cascod", items(1000))
    many = EncodedSet([str(at) for at in range(50_000)], thousand.samples * 50, thousand.forms, Counter())
    config = DistillConfig(steps=100_000, batch_size=4, lr=1e-4, device="cpu")
    loops = [Loop(llama(64, 2), data, config, Path(tempfile.mkdtemp())) for data in (thousand, many)]
    spent: list[list[float]] = [[], []]
    for turn in range(rounds + 1):
        for at, loop in enumerate(loops):
            began = time.process_time()
            loop.advance(10)
            if turn:
                spent[at].append((time.process_time() - began) / 40)
    return statistics.median(spent[0]), statistics.median(spent[1])


def encoding(rows: int = 50_000) -> tuple[float, float]:
    """CPU seconds of our encoding of `rows` CasCoD rows and of one batch call of the tokenizer on the same
    texts.
    """
    made, strategy = items(1000), create("cascod")
    many = [
        row.model_copy(update={"id": f"{row.id}-{copy}", "question": f"{row.question} aaaa{copy}"})
        for copy in range(rows // 1000)
        for row in made
    ]
    samples, _ = join(many, strategy)
    tokenizer = words()
    texts = [
        f"{sample.drafts['factual'].example.text()}\nRationale: {sample.drafts['factual'].rationale}\n"
        "Therefore, "
        f"the answer is {sample.drafts['factual'].answer}"
        for sample in samples
    ]
    began = time.process_time()
    tokenizer(texts)
    batch = time.process_time() - began
    encoder = Encoder(llama(64, 1).tokens, None)
    began = time.process_time()
    encoder.encode(samples, strategy, FillContext(0, encoder.tokens.segment))
    return time.process_time() - began, batch


# The command line, ended as soon as its first step is done.
FIRST_STEP = (
    "import os; os.environ.setdefault('THP_MEM_ALLOC_ENABLE', '1'); from cotdistill.__main__ import main; "
    "from cotdistill.training.metrics_log import MetricsLog; MetricsLog.add = lambda *_: os._exit(0); main()"
)


def start() -> tuple[float, float]:
    """CPU seconds of `distill` from its start to the end of its first step, and of importing torch and
    transformers and loading its model.
    """
    folder = Path(tempfile.mkdtemp())
    llama().save(folder / "base")
    (folder / "rows.jsonl").write_text("".join(row.line() + "\n" for row in items(8)))
    load = (
        f"import torch, transformers as t; t.AutoModelForCausalLM.from_pretrained({str(folder / 'base')!r}); "
        f"t.AutoTokenizer.from_pretrained({str(folder / 'base')!r})"
    )
    command = [
        "-c",
        FIRST_STEP,
        "distill",
        str(folder / "rows.jsonl"),
        "--strategy",
        "cascod",
        "--student",
        str(folder / "base"),
        "--steps",
        "100",
        "--batch-size",
        "1",
        "--device",
        "cpu",
        "--out",
    ]
    spent: list[list[float]] = [[], []]
    for turn in range(4):
        spent[0].append(_child([*command, str(folder / f"run{turn}")]))
        spent[1].append(_child(["-c", load]))
    return statistics.median(spent[0][1:]), statistics.median(spent[1][1:])


def _child(arguments: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> bool:
    """Print and keep the three figures."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    found: dict[str, Any] = {}
    for name, measure, bar, what in (
        ("flat", seconds_an_example, FLAT, "s an example, 1k and 50k rows"),
        ("encoding", encoding, TOKENIZER, "s to encode 50k rows, and the tokenizer's batch call"),
        ("start", start, START, "s to the first step of distill, and of imports and loading"),
    ):
        one, other = measure()
        ratio = other / one if name == "flat" else one / other
        found[name] = {"seconds": [one, other], "ratio": ratio, "bar": bar}
        print(
            f"{name:9} {one:.4g} {other:.4g} {what}: {ratio:.2f} (at most {bar})"
            + ("" if ratio <= bar else "  MISSED"),
            flush=True,
        )
    RESULTS.mkdir(exist_ok=True)
    kept = {"torch": torch.__version__, "found": found}
    (RESULTS / f"growth-{date.today().isoformat()}.json").write_text(json.dumps(kept, indent=1) + "\n")
    return all(record["ratio"] <= record["bar"] for record in found.values())


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
