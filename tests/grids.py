"""A small real grid on a few rows of the embedded world: every stage runs, nothing is learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cotdistill.ablating import ablate
from cotdistill.config import AblateConfig
from cotdistill.data.files import write_text
from cotdistill.data.tasks import load_examples


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
