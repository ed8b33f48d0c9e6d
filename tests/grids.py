"""A small real grid on a few rows of the embedded world: every stage runs, nothing is learned."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cotdistill.ablating import ablate
from cotdistill.config import AblateConfig
from cotdistill.data.files import JsonObject, json_digest, write_text
from cotdistill.data.tasks import load_examples
from cotdistill.report.ablation_figures import draw
from cotdistill.report.comparison import Results
from cotdistill.report.description import DESCRIPTION, Description
from cotdistill.report.page import Figure


def question_files(folder: Path, count: int = 6) -> tuple[str, str]:
    """An in-domain and an out-of-domain file of questions."""
    paths = []
    for split in ("id", "shift"):
        path = folder / f"{split}.jsonl"
        write_text(path, "".join(example.line() + "\n" for example in load_examples("demo", split, count)))
        paths.append(str(path))
    return paths[0], paths[1]


def options(folder: Path, **changes: Any) -> dict[str, Any]:
    """Options of a grid of two strategies and their controls, two seeds, in this process."""
    return {
        "strategies": ("cot", "post-cot"),
        "seeds": (0, 1),
        "limit": 8,
        "steps": 2,
        "batch_size": 4,
        "data": question_files(folder),
        "train": "demo",
        "teacher": "demo",
        "jobs": 1,
        "device": "cpu",
        "out": folder / "grid",
        **changes,
    }


def run(folder: Path, **changes: Any) -> list[dict[str, Any]]:
    """The records of such a grid."""
    return list(ablate(AblateConfig.build(**options(folder, **changes)), None))


def printed(out: Path) -> dict[str, bytes]:
    """What a grid prints, without the lines that say when it was made."""
    pages = {}
    for path in sorted([*out.glob("report.*"), *out.glob("*.jsonl"), *out.glob("figures/*")]):
        lines = path.read_bytes().split(b"\n")
        pages[path.name] = b"\n".join(line for line in lines if not line.startswith((b"Made ", b'<p class="made">')))
    return pages


class Drawn:
    """Stands in for drawing a grid's figures: those of the same cells and description are drawn once, then copied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: dict[str, list[Figure]] = {}

    def __call__(
        self, results: Results, description: Description, comparisons: Sequence[JsonObject], folder: Path
    ) -> list[Figure]:
        place = json_digest([results.records, comparisons, (results.out / DESCRIPTION).read_text()])
        if place not in self.known:
            self.known[place] = draw(results, description, comparisons, self.folder / place)
            (self.folder / place).mkdir(exist_ok=True)  # a grid without figures
        shutil.copytree(self.folder / place, folder, dirs_exist_ok=True)
        return self.known[place]
