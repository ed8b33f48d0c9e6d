"""Everything that waits for a GPU, in one command: `python -m tests.benchmarks.gpu OUT [--study STUDENT ...]`.

Tests, training, elicitation and, where its files are given, the real study: part by part, each with a time limit of its
own, with the torch and transformers found here and the peers that are installed. A part that is done leaves
OUT/PART-DATE.md and is not run again; one that failed or ran out of time is, by the same command. OUT/PART.log is the
last try's stderr.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch

from cotdistill.data.files import write_text

ROOT = Path(__file__).parents[2]
LEAST = 20.0  # seconds that are worth a start
PYTHON = (sys.executable, "-m")


@dataclass(frozen=True)
class Part:
    """A command, the most seconds it may take, and what is kept of it: `result`, or what it prints."""

    name: str
    command: Sequence[str]
    seconds: float
    result: Path | None = None
    exits: Sequence[int] = (0,)  # a benchmark that misses a bar exits 1 after its table


def parts(out: Path, study: Sequence[str], tiny: bool) -> list[Part]:
    """What is most worth knowing first; `tiny`: the same on a CPU, in a minute, without limits."""
    training, elicitation = (f"tests.benchmarks.{name}" for name in ("training_gpu", "elicitation_gpu"))
    sizes = ("tiny",) if tiny else ("135m", "0.5b", "1.5b")
    few = ("--rounds", "1", "--tiny") if tiny else ()
    listed = [
        Part("tests", (*PYTHON, "pytest", "-m", "gpu", *(("tests/test_cuda.py",) if tiny else ())), 300),
        *(Part(f"training-{size}", (*PYTHON, training, "--size", size, *few[:2]), 300, exits=(0, 1)) for size in sizes),
        *(Part(name, (*PYTHON, elicitation, name, *few), 180) for name in ("contrastive", "greedy")),
    ]
    if study:
        script = ("bash", str(ROOT / "examples" / "real.sh"), *study[:4], str(out / "study"), *study[4:])
        listed.append(Part("study", script, 24 * 3600, out / "study" / "grid" / "report.md"))
    return listed


def done(out: Path, part: Part) -> bool:
    """Whether its table is there, of whatever day."""
    return any(out.glob(f"{part.name}-20[0-9][0-9]-[0-9][0-9]-[0-9][0-9].md"))


def run(part: Part, out: Path, seconds: float) -> str | None:
    """Run it and keep its table; what went wrong, if something did."""
    began = time.monotonic()
    with (out / f"{part.name}.log").open("w") as log, environment(out) as variables:
        process = subprocess.Popen(
            part.command, cwd=ROOT, env=variables, text=True, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
        try:
            printed, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return f"stopped after {seconds:.0f} s"
        finally:
            end(process)
    if process.returncode not in part.exits or not (printed or part.result):
        return f"exit code {process.returncode}"
    tables = printed if part.result is None else part.result.read_text()
    head = (
        f"# {part.name}\n\n{date.today().isoformat()}, {device()}, torch {torch.__version__}, "
        f"{time.monotonic() - began:.0f} s, exit code {process.returncode}:\n\n    {shlex.join(part.command)}\n\n"
    )
    tables = tables if "| --" in tables else f"```\n{tables}```\n"
    write_text(out / f"{part.name}-{date.today().isoformat()}.md", head + tables)
    return None


def device() -> str:
    """The GPU's name, or that there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


@contextmanager
def environment(out: Path) -> Iterator[dict[str, str]]:
    """A `cotdistill` of this checkout for the shell scripts, and results into `out`."""
    with tempfile.TemporaryDirectory() as folder:
        command = Path(folder) / "cotdistill"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cotdistill "$@"\n')
        command.chmod(0o755)
        yield {
            **os.environ,
            "PATH": f"{folder}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "COTDISTILL_BENCH_RESULTS": str(out),
        }


def end(process: subprocess.Popen[str]) -> None:
    """End a command and all that it started; a study keeps what is finished."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            return
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            continue


def main() -> int:
    """Run what is not done yet; 1 where something is left."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=25, help="for all of it")
    parser.add_argument(
        "--study",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="STUDENT QUESTIONS CHAINS OTHER [OPTION ...]",
        help="of examples/real.sh; last on the line",
    )
    parser.add_argument("--tiny", action="store_true", help="on a CPU, to see that it runs")
    given = parser.parse_args()
    if not (given.tiny or torch.cuda.is_available()):
        print("gpu: no CUDA device here, nothing measured", file=sys.stderr)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends what is running on the way
    out: Path = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    ends, left = time.monotonic() + 60 * given.minutes, 0
    for part in parts(out, given.study, given.tiny):
        seconds = ends - time.monotonic() if given.tiny else min(part.seconds, ends - time.monotonic())
        if done(out, part):
            why = "done before"
        elif seconds < LEAST:
            why, left = "no time left", left + 1
        else:
            why = run(part, out, seconds) or "done"
            left += why != "done"
        print(f"{part.name}: {why}", file=sys.stderr, flush=True)
    return int(left > 0)


if __name__ == "__main__":
    raise SystemExit(main())
