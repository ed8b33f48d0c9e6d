"""verify: what was left alone passes; a changed byte is found and its file named; a forged number is recomputed."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cotdistill.console import console
from cotdistill.data.files import json_digest
from cotdistill.errors import DataError, Difference, Exit
from cotdistill.grid.digests import write_digests
from cotdistill.report import ablation
from cotdistill.report.ablation import read_json_lines
from cotdistill.verify import verify
from tests.grids import Drawn, question_files, run
from tests.in_process import run as call
from tests.test_start_up import loaded


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    run(folder, strategies=("cot",), seeds=(0, 1))
    return folder / "grid"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return Drawn(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(autouse=True)
def _drawn_once(drawn: Drawn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of a verification; the first that meets these cells draws them."""
    monkeypatch.setattr(ablation, "draw", drawn)


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "grid"))


def test_what_was_left_alone_passes_and_what_cannot_be_recomputed_is_named(out: Path) -> None:
    found = verify(out)
    assert found["rows"] == 8
    assert found["cells"] == 12
    assert found["numbers"] > 100
    assert "losses" in found["not_recomputed"]


def test_nothing_is_loaded_that_trains_or_asks_a_student(out: Path, tmp_path: Path) -> None:
    """A grid of a cluster is verified on a laptop, whose torch takes longer to import than all it has to read."""
    said, modules = loaded(tmp_path, "verify", str(out))
    assert json.loads(said)["cells"] == 12
    assert not modules & {"torch", "transformers"}


def test_the_rows_of_an_arm_are_made_and_the_answers_of_a_cell_read_once(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules[verify.__module__]
    made: list[Any] = []
    read: list[Path] = []
    rows_of, read_predictions = module.rows_of, module.read_predictions
    monkeypatch.setattr(module, "rows_of", lambda *given: [made.append(given[1:]), rows_of(*given)][1])
    monkeypatch.setattr(module, "read_predictions", lambda path: [read.append(path), read_predictions(path)][1])
    verify(out)
    cells = [json.loads(line) for line in (out / "cells.jsonl").read_text().splitlines()]
    assert len(made) == len({str(cell["control"]) for cell in cells if "control" in cell}) < len(cells) / 2
    twice = {path for path, times in Counter(read).items() if times > 1}
    assert all("references" in path.parts for path in twice)  # the teacher's are held against its rows, too
    assert len({*read}) == sum(len(cell["sets"]) for cell in cells)


@pytest.mark.parametrize(
    "pattern",
    [
        "rows/greedy.jsonl",
        "runs/*/predictions/id.jsonl",
        "runs/*/student/model.safetensors",
        "runs/*/run.json",
        "references/*/predictions/shift.jsonl",
        "cells.jsonl",
        "comparisons.jsonl",
        "report.html",
        "report.md",
        "figures/*.png",
        "digests.json",
        "rows/common.json",
    ],
)
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
    lines = read_json_lines(path)
    lines[-1]["sets"]["id"]["right"] += 1
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return "right is"


def _forge_a_verdict(out: Path) -> str:
    path = sorted(out.glob("runs/*/predictions/id.jsonl"))[0]
    text = path.read_text()
    path.write_text(
        text.replace(
            '"output":null,"answer":null,"verdict":"unparsed"', '"output":"x","answer":"x","verdict":"right"', 1
        )
        if '"output":null' in text
        else text.replace('"gold":"', '"gold":"not ', 1)
    )
    return "cells.jsonl|damaged"


def _forge_a_comparison(out: Path) -> str:
    path = out / "comparisons.jsonl"
    lines = read_json_lines(path)
    lines[0]["difference"] += 0.1
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return r"comparisons\.jsonl: ablation\.json and cells\.jsonl give another one"


def _forge_a_teacher_row(out: Path) -> str:
    path = out / "rows" / "greedy.jsonl"
    path.write_text(path.read_text().replace(" is a ", " is no ", 1).replace(" plus ", " minus ", 1))
    return "was trained on other rows"


def _edit(out: Path, pattern: str, change: Callable[[str], str]) -> None:
    path = sorted(out.glob(pattern))[0]
    before = path.read_text()
    assert change(before) != before
    path.write_text(change(before))


def _copy_another_seeds_answers(out: Path) -> str:
    one, two = [
        out / record["sets"]["id"]["predictions"]
        for record in read_json_lines(out / "cells.jsonl")
        if record["arm"] == "cot"
    ]
    one.write_bytes(two.read_bytes())
    return "its first line names another run"


def _ask_otherwise(out: Path) -> str:
    _edit(out, "ablation.json", lambda text: text.replace('"max_new_tokens": 160', '"max_new_tokens": 99'))
    return "its first line names other settings than ablation"


def _name_other_settings(out: Path) -> str:
    path = sorted(out.glob("runs/*/predictions/id.jsonl"))[0]
    header, *rest = path.read_text().splitlines(keepends=True)
    path.write_text("".join([json.dumps({**json.loads(header), "settings": "0" * 64}) + "\n", *rest]))
    return "its first line names other settings than ablation"


def _leave_out_a_seed(out: Path) -> str:
    lines = (out / "cells.jsonl").read_text().splitlines(keepends=True)
    (out / "cells.jsonl").write_text("".join(line for line in lines if '"cell": "cot/seed-1"' not in line))
    return "cot/seed-1 is missing"


def _change_a_question(out: Path) -> str:
    _edit(out, "questions/id.jsonl", lambda text: text.replace("?", "!", 1))
    return "is not the question of questions/id"


def _forge_the_cost(out: Path) -> str:
    _edit(out, "cells.jsonl", lambda text: text.replace('"train_flops": ', '"train_flops": 1', 1))
    return "train_flops is"


def _forge_the_teacher(out: Path) -> str:
    path = next(out.glob("references/teacher-*/predictions/id.jsonl"))
    header, first, *rest = path.read_text().splitlines(keepends=True)
    fields = json.loads(first)
    fields |= {"output": next(c for c in fields["choices"] if c != fields["output"])}
    path.write_text("".join([header, json.dumps(fields) + "\n", *rest]))
    return "is not answered as in"


def _redraw_a_figure(out: Path) -> str:
    path = sorted(out.glob("figures/*.png"))[0]
    path.write_bytes(path.read_bytes() + b"\0")
    return f"{path.name}: ablation.json"


def _say_more_than_when(out: Path) -> str:
    _edit(out, "report.md", lambda text: text.rstrip("\n") + ", audited\n")
    return "last line does not say when"


def _add_a_page(out: Path) -> str:
    (out / "figures" / "better.svg").write_text("<svg/>")
    return r"better\.svg: ablation"


@pytest.mark.parametrize(
    "forge",
    [
        _forge_a_figure,
        _forge_a_comparison,
        _forge_a_teacher_row,
        _forge_a_verdict,
        _copy_another_seeds_answers,
        _ask_otherwise,
        _name_other_settings,
        _leave_out_a_seed,
        _change_a_question,
        _forge_the_cost,
        _forge_the_teacher,
        _redraw_a_figure,
        _say_more_than_when,
        _add_a_page,
    ],
)
def test_a_forgery_with_fitting_digests_is_found_by_recomputing(out: Path, forge: Callable[[Path], str]) -> None:
    said = forge(out)
    write_digests(out, read_json_lines(out / "cells.jsonl"))
    with console.capture() as lines, pytest.raises((Difference, DataError)) as raised:
        verify(out)
    assert re.search(said, f"{raised.value}\n{lines.get()}")


@pytest.mark.parametrize("name", ["notes.txt", "rows/more.jsonl", "runs/other/run.json", "figures/x.svg"])
def test_a_file_that_nothing_lists_is_found(out: Path, name: str) -> None:
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_text("{}")
    with pytest.raises(Difference, match=f"{name}: nothing lists it"):
        verify(out)


def test_a_directory_that_is_no_ablation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to verify"):
        verify(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"null",
        b'"x"',
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"files": [], "rows": {}, "digest": ""}',
        b'{"files": ["cells.jsonl"], "rows": [], "digest": 5}',
        json.dumps({"files": [], "rows": [], "digest": json_digest([[], []])}).encode(),
        json.dumps({"files": {"cells.jsonl": 5}, "rows": {}, "digest": json_digest([{"cells.jsonl": 5}, {}])}).encode(),
        json.dumps({"files": {}, "rows": {"x": []}, "digest": json_digest([{}, {"x": []}])}).encode(),
    ],
)
def test_a_damaged_list_of_digests_is_exit_7_and_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "digests.json").write_bytes(content)
    done = call("verify", str(tmp_path))
    assert (done.code, done.out) == (7, "")
    assert done.errors == [f"error: {tmp_path}: digests.json: changed since the report was written"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swept")
    run(
        folder,
        strategies=("cot",),
        seeds=(0,),
        controls=False,
        sweep={"lr": (0.001, 0.002)},
        data=question_files(folder)[:1],
    )
    return folder / "grid"


def test_a_sweep_is_recomputed(swept: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(swept, tmp_path / "grid"))
    assert verify(out)["cells"] == 3
    found = json.loads((out / "ablation.json").read_text())
    (arm,) = found["swept"]
    assert list(found["swept"][arm]) == ["lr 0.001", "lr 0.002"]
    before = (out / "ablation.json").read_text()
    for change, said in (
        ({"swept": {arm: {**found["swept"][arm], "lr 0.002": 0.99}}}, "lr 0.002: the dev accuracy is"),
        ({"chosen": {arm: "lr 0.5"}}, "lr 0.001 is best on the dev rows, not lr 0.5"),
    ):
        (out / "ablation.json").write_text(json.dumps({**found, **change}, indent=2) + "\n")
        write_digests(out, read_json_lines(out / "cells.jsonl"))
        with console.capture() as lines, pytest.raises(Difference) as raised:
            verify(out)
        assert said in f"{raised.value}\n{lines.get()}".replace("\n", " ")
        (out / "ablation.json").write_text(before)
