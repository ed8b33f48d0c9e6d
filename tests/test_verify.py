"""verify: what was left alone passes; a changed byte is found and its file named; a forged number is recomputed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cotdistill.errors import DataError, Difference, Exit
from cotdistill.grid.digests import write_digests
from cotdistill.report.ablation import read_lines
from cotdistill.verify import verify
from tests.grids import run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    run(folder, strategies=("cot",), seeds=(0, 1))
    return folder / "grid"


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "grid"))


def test_what_was_left_alone_passes_and_what_cannot_be_recomputed_is_named(out: Path) -> None:
    found = verify(out)
    assert found["rows"] == 8
    assert found["cells"] == 12
    assert found["numbers"] > 100
    assert "losses" in found["not_recomputed"]


@pytest.mark.parametrize("pattern", [
    "rows/greedy.jsonl", "runs/*/predictions/id.jsonl", "runs/*/student/model.safetensors", "runs/*/run.json",
    "references/*/predictions/shift.jsonl", "cells.jsonl", "comparisons.jsonl", "report.html", "report.md",
    "figures/*.png", "digests.json", "rows/common.json"])
def test_one_changed_byte_is_found_and_its_file_named(out: Path, pattern: str) -> None:
    path = sorted(out.glob(pattern))[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(Difference, match=path.name) as raised:
        verify(out)
    assert raised.value.code == Exit.DIFFERENCE == 7


def test_the_changed_teacher_row_is_named(out: Path) -> None:
    path = out / "rows" / "greedy.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    lines[3] = lines[3].replace('"finished": true', '"finished": false')
    path.write_text("".join(lines))
    with pytest.raises(Difference, match=json.loads(lines[3])["id"]):
        verify(out)


def test_a_missing_file_is_named(out: Path) -> None:
    path = sorted(out.glob("runs/*/predictions/id.jsonl"))[0]
    path.unlink()
    with pytest.raises(Difference, match=r"id\.jsonl: is missing"):
        verify(out)


def _forge_a_figure(out: Path) -> str:
    path = out / "cells.jsonl"
    lines = read_lines(path)
    lines[-1]["sets"]["id"]["right"] += 1
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return "right is"


def _forge_a_verdict(out: Path) -> str:
    path = sorted(out.glob("runs/*/predictions/id.jsonl"))[0]
    text = path.read_text()
    path.write_text(text.replace('"output":null,"answer":null,"verdict":"unparsed"', '"output":"x","answer":"x",'
                                 '"verdict":"right"', 1) if '"output":null' in text
                    else text.replace('"gold":"', '"gold":"not ', 1))
    return "cells.jsonl|damaged"


def _forge_a_comparison(out: Path) -> str:
    path = out / "comparisons.jsonl"
    lines = read_lines(path)
    lines[0]["difference"] += 0.1
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return r"comparisons\.jsonl: ablation\.json and cells\.jsonl give another one"


def _forge_a_teacher_row(out: Path) -> str:
    path = out / "rows" / "greedy.jsonl"
    path.write_text(path.read_text().replace(" is a ", " is no ", 1).replace(" plus ", " minus ", 1))
    return "was trained on other rows"


@pytest.mark.parametrize("forge", [_forge_a_figure, _forge_a_comparison, _forge_a_teacher_row, _forge_a_verdict])
def test_a_forgery_with_fitting_digests_is_found_by_recomputing(out: Path, forge: Callable[[Path], str]) -> None:
    said = forge(out)
    write_digests(out, read_lines(out / "cells.jsonl"))
    with pytest.raises((Difference, DataError), match=said):
        verify(out)


def test_a_directory_that_is_no_ablation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to verify"):
        verify(tmp_path)
