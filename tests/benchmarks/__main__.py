"""`python -m tests.benchmarks [NAME...]`: run all benchmarks or some; their tables are kept in results/."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Every module of this folder that can be run as a benchmark; `gpu` runs some of them and wants a folder."""
    return sorted(
        path.stem
        for path in FOLDER.glob("*.py")
        if path.name not in ("__main__.py", "gpu.py", "rows.py") and '__name__ == "__main__"' in path.read_text()
    )


def main(chosen: list[str]) -> int:
    """Each benchmark in a process of its own, on one core unless the caller says otherwise."""
    if unknown := set(chosen) - set(names()):
        print(f"no benchmark {sorted(unknown)}; there are {', '.join(names())}", file=sys.stderr)
        return 2
    environment = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", **os.environ}
    missed = [
        name
        for name in chosen or names()
        if subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}"], env=environment).returncode
    ]
    print(f"missed a bar or failed: {', '.join(missed)}" if missed else "every bar reached")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
