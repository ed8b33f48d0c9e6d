"""Statistics of 100,000 predictions with 10,000 paired resamples: seconds and memory, against the bars."""

from __future__ import annotations

import json
import resource
import sys
import time
from datetime import date

import numpy as np

from cotdistill.statistics.comparison import adjust, compare
from cotdistill.statistics.intervals import newcombe, paired_bootstrap, wilson
from cotdistill.statistics.significance import mcnemar_exact, permutation_test
from tests.benchmarks.rounds import RESULTS

ITEMS, RESAMPLES = 100_000, 10_000
SECONDS, MEBIBYTES = 10.0, 1024.0


def measure() -> dict[str, float]:
    """Seconds of everything a comparison prints: 0/1 outcomes, and real-valued ones, which cost more."""
    draw = np.random.default_rng(0)
    a, b = (draw.random(ITEMS) < share for share in (0.62, 0.60))
    real = draw.random(ITEMS), draw.random(ITEMS)
    ids = [f"q{at}" for at in range(ITEMS)]
    steps = {
        "Wilson, Newcombe": lambda: (wilson(int(a.sum()), ITEMS), newcombe(int(a.sum()), ITEMS, int(b.sum()), ITEMS)),
        "paired bootstrap, 0/1": lambda: paired_bootstrap(a, b, 0, RESAMPLES),
        "McNemar": lambda: mcnemar_exact(a, b),
        "permutation, 0/1": lambda: permutation_test(a, b, 0, RESAMPLES),
        "compare and adjust": lambda: adjust([compare("a", "b", a.astype(int), b.astype(int), ids)] * 6),
        "paired bootstrap, real": lambda: paired_bootstrap(*real, 0, RESAMPLES),
        "permutation, real": lambda: permutation_test(*real, 0, RESAMPLES),
    }
    found = {}
    for name, step in steps.items():
        began = time.process_time()
        step()
        found[name] = time.process_time() - began
    return found


def main() -> int:
    """Print and keep the table; 1 where a bar is missed. The bar holds for predictions, whose outcomes are 0/1."""
    seconds = measure()
    binary = sum(taken for name, taken in seconds.items() if "real" not in name)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for name, taken in seconds.items():
        print(f"{name:26}{taken:8.2f} s")
    print(f"{'all of 0/1':26}{binary:8.2f} s (bar {SECONDS:g}), peak {peak:.0f} MiB (bar {MEBIBYTES:g})")
    RESULTS.mkdir(exist_ok=True)
    record = {"items": ITEMS, "resamples": RESAMPLES, "seconds": seconds, "peak_mib": peak}
    (RESULTS / f"statistics-{date.today()}.json").write_text(json.dumps(record, indent=2) + "\n")
    return int(binary > SECONDS or peak > MEBIBYTES)


if __name__ == "__main__":
    sys.exit(main())
