"""Measuring fairly on a noisy machine: variants take turns inside each round, ratios are paired, medians
reported.

Seconds are the process's CPU seconds on its one thread: what else the machine does then hardly counts.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from threading import Semaphore, Thread
from typing import Any

import torch

from cotdistill.training.cpu_kernels import rows_times
from cotdistill.training.memory import release_memory

RESULTS = Path(os.environ.get("COTDISTILL_BENCH_RESULTS") or Path(__file__).parent / "results")


@dataclass(frozen=True)
class Variant:
    """One way to do the work. `start` builds it, returns `advance(steps)`; `examples` is one step's worth."""

    name: str
    start: Callable[[], Callable[[int], None]]
    examples: float
    steps: int = 1  # optimizer steps of one turn
    bar: float | None = None  # how many times faster ours has to be
    memory_bar: float | None = None  # ours may use this part of its memory
    note: str = ""
    huge_pages: bool = True  # what our command line asks torch's allocator for


@dataclass
class Row:
    """What was measured of one variant."""

    name: str
    examples_per_second: float
    ratio: float  # ours over this one, median of the rounds' paired ratios
    low: float
    high: float
    bar: float | None
    memory_mib: float | None
    memory_part: float | None
    memory_bar: float | None
    gradient: float | None = None  # relative distance from the plain reference
    gflop: float | None = None  # what it multiplies for an example
    arithmetic: float | None = None  # that over ours: how many times faster ours would be at equal efficiency
    note: str = ""

    @property
    def reached(self) -> bool:
        """Whether every bar of this row is met."""
        fast = self.bar is None or self.ratio >= self.bar
        small = self.memory_bar is None or (self.memory_part is not None and self.memory_part <= self.memory_bar)
        return fast and small


class Worker:
    """A variant in a process of its own: trainers keep global state, and memory can be told apart."""

    def __init__(self, module: str, variant: Variant) -> None:
        self.variant = variant
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, "--serve", variant.name],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "THP_MEM_ALLOC_ENABLE": str(int(variant.huge_pages))},
        )

    def ask(self, request: str) -> float:
        """`advance N`: seconds of N optimizer steps; `peak N`: MiB they need; `gflop 1`: what a step multiplies."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            assert self.process.stderr is not None
            raise RuntimeError(f"{self.variant.name} died: {self.process.stderr.read()[-2000:]}")
        return float(answer)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


def serve(variant: Variant) -> None:
    """The other side of `Worker`."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # trainers print to stdout what they like
    advance = variant.start()
    for line in sys.stdin:
        request, steps = line.split()
        if request == "peak":
            found = measure_peak(advance, int(steps))
        elif request == "gflop":
            from tests.benchmarks.counting import multiplied

            found = multiplied(advance)
        else:
            began = clock()
            advance(int(steps))
            found = clock() - began
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # the next one's step has to fit beside what this one holds
        answers.write(f"{found}\n")
        answers.flush()


def clock() -> float:
    """CPU seconds of this process; with a GPU wall seconds once it has finished."""
    if not torch.cuda.is_available():
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def interleaved(
    module: str, variants: list[Variant], rounds: int, gflop: dict[str, float] | None = None
) -> tuple[list[list[float]], dict[str, float]]:
    """Examples per second of every variant in every round, and a step's memory; each waits its turn.

    `gflop`: is filled with what each multiplies for an example.
    """
    workers = [Worker(module, variant) for variant in variants]
    try:
        memory = {worker.variant.name: worker.ask("peak 1") for worker in workers}
        if gflop is not None:
            gflop.update({w.variant.name: w.ask("gflop 1") / w.variant.examples for w in workers})
        rates: list[list[float]] = [[] for _ in variants]
        for turn in range(rounds):
            for at in [*range(turn % len(workers), len(workers)), *range(turn % len(workers))]:
                steps = variants[at].steps
                rates[at].append(variants[at].examples * steps / workers[at].ask(f"advance {steps}"))
        return rates, memory
    finally:
        for worker in workers:
            worker.close()


def compare(
    variants: list[Variant], rates: list[list[float]], memory: dict[str, float], gflop: dict[str, float] | None = None
) -> list[Row]:
    """The first variant is ours; every row says how many times faster it was."""
    ours, rows, counted = rates[0], [], gflop or {}
    least = counted.get(variants[0].name)
    for variant, own in zip(variants, rates, strict=True):
        ratios = sorted(a / b for a, b in zip(ours, own, strict=True))
        used = memory.get(variant.name)
        part = memory[variants[0].name] / used if used and variants[0].name in memory else None
        rows.append(
            Row(
                variant.name,
                statistics.median(own),
                statistics.median(ratios),
                ratios[0],
                ratios[-1],
                variant.bar,
                used,
                part,
                variant.memory_bar,
                gflop=counted.get(variant.name),
                arithmetic=counted[variant.name] / least if least else None,
                note=variant.note,
            )
        )
    return rows


def measure_peak(advance: Callable[[int], None], steps: int = 2) -> float:
    """MiB that `steps` optimizer steps need on top of weights and optimizer state (which exist after one
    step).
    """
    advance(1)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        advance(steps)
        return (torch.cuda.max_memory_allocated() - held) / 2**20
    release_memory()  # what a heap keeps for the next step is not held
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is resident now
    before = _status("VmRSS")
    advance(steps)
    return (_status("VmHWM") - before) / 1024


def matmul_rate(size: int = 1024, repeats: int = 10) -> float:
    """GFLOP/s of this core in float32 by the faster library, or of the GPU in bfloat16, best of a few: what
    utilisation is measured by.
    """
    place = {"device": "cuda", "dtype": torch.bfloat16} if torch.cuda.is_available() else {}
    left, right = torch.randn(size, size, **place), torch.randn(size, size, **place)
    best = 0.0
    for multiply in 5 * ((torch.mm,) if place else (torch.mm, rows_times)):
        began = clock()
        for _ in range(repeats):
            multiply(left, right)
        best = max(best, 2 * size**3 * repeats / (clock() - began) / 1e9)
    return best


def processor() -> dict[str, Any]:
    """What a table says of the machine: its processor, the instructions torch uses, and how many processes run."""
    return {
        "processor": f"{os.cpu_count()} x {_cpu_name()}, {torch.backends.cpu.get_cpu_capability()}",
        "running": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def device_name() -> str:
    """The GPU's name, or the processor's."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else _cpu_name()


def _cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


class Paused:
    """A run-to-the-end trainer that can be advanced step by step: it runs in a thread that waits at every
    step.
    """

    def __init__(self, run: Callable[[Callable[[], None]], None]) -> None:
        self.may_go, self.arrived = Semaphore(0), Semaphore(0)
        self.failure: BaseException | None = None
        self.around: AbstractContextManager[object] | None = None  # a context of the trainer's thread, for a step
        self.entered = ExitStack()

        def body() -> None:
            torch.set_flush_denormal(True)  # a setting of each thread
            try:
                run(self._step_done)
            except BaseException as error:
                self.failure = error
                self.arrived.release()

        self.first = True
        self.thread = Thread(target=body, daemon=True)

    def _step_done(self) -> None:
        self.entered.close()
        self.arrived.release()
        self.may_go.acquire()
        if self.around is not None:
            self.entered.enter_context(self.around)

    @contextmanager
    def inside(self, context: AbstractContextManager[object]) -> Iterator[None]:
        """Steps after the first one run inside `context`, entered in the thread that makes them."""
        self.around = context
        try:
            yield
        finally:
            self.around = None

    def __call__(self, steps: int) -> None:
        for _ in range(steps):
            if self.first:
                self.first = False
                self.thread.start()
            else:
                self.may_go.release()
            self.arrived.acquire()
            if self.failure is not None:
                raise self.failure


def report(name: str, rows: list[Row], facts: dict[str, Any]) -> bool:
    """Print the table, keep it as results/NAME-DATE.json, and say whether every bar was reached."""
    head = ("variant", "ex/s", "ours is", "range", "bar", "MiB", "ours/its", "bar", "gradient", "GFLOP", "its/ours", "")
    print(f"\n{name}  ({', '.join(f'{key}: {value}' for key, value in facts.items())})\n")
    print(markdown(head, [_cells(row) for row in rows]), flush=True)
    RESULTS.mkdir(exist_ok=True)
    kept = RESULTS / f"{name}-{date.today().isoformat()}.json"
    kept.write_text(json.dumps({"facts": facts, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    return all(row.reached for row in rows)


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table whose source can be read as well."""
    widths = [max(3, *(len(line[at]) for line in (head, *lines))) for at in range(len(head))]

    def row(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))} |"

    return "\n".join([row(head), row(["-" * width for width in widths]), *map(row, lines)])


def _cells(row: Row) -> tuple[str, ...]:
    def shown(value: float | None, pattern: str) -> str:
        return "" if value is None else format(value, pattern)

    return (
        row.name,
        f"{row.examples_per_second:.2f}",
        f"{row.ratio:.2f}x",
        f"{row.low:.2f}-{row.high:.2f}",
        shown(row.bar, ".2f"),
        shown(row.memory_mib, ".0f"),
        shown(row.memory_part, ".3f"),
        shown(row.memory_bar, ".3f"),
        shown(row.gradient, ".1e"),
        shown(row.gflop, ".0f"),
        shown(row.arithmetic, ".2f"),
        row.note + ("" if row.reached else "  MISSED"),
    )


def _status(field: str) -> int:
    lines: Iterator[str] = iter(Path("/proc/self/status").read_text().splitlines())
    return int(next(line for line in lines if line.startswith(field)).split()[1])
