"""What a kill, a full disk or a bad one leaves: torn ends are dropped, damage is named, --repair makes it again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cotdistill.config import DistillConfig
from cotdistill.errors import DataError, OutputError
from cotdistill.grid.cells import CellStore
from cotdistill.training.train import Loop
from tests.grids import printed
from tests.grids import run as grid
from tests.in_process import Done, run
from tests.models import items, student
from tests.training.learning import encode

ROOT = Path(__file__).parents[1]
NOTHING_LEFT = 4  # an untrained model's rationales teach nothing; the rows are written all the same
LINE = "\u2028"
ROWS = [
    {
        "id": f"q{at}",
        "question": f"Where is {LINE * at} drill {at}?",
        "choices": ["kitchen", "work\x85shop"],
        "answer": "kitchen",
    }
    for at in range(6)
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    student("gpt2", width=16, layers=1).save(folder)
    return folder


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "q.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), encoding="utf-8")
    return path


def evaluate(model: Path, questions: Path, out: Path, *more: str) -> Done:
    return run(
        "evaluate",
        str(model),
        "--strategy",
        "cot",
        "--data",
        str(questions),
        "--max-new-tokens",
        "6",
        "-o",
        str(out),
        *more,
    )


@pytest.fixture(scope="module")
def evaluated(model: Path, questions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated")
    assert evaluate(model, questions, folder).code == 0
    return folder


@pytest.fixture(scope="module")
def elicited(model: Path, questions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elicited")
    assert elicit(model, questions, folder).code == NOTHING_LEFT
    return folder


def elicit(model: Path, questions: Path, folder: Path, *more: str) -> Done:
    return run(
        "elicit",
        "--teacher",
        str(model),
        "--data",
        str(questions),
        "--shots",
        "0",
        "--max-new-tokens",
        "4",
        "--keep",
        "all",
        "-o",
        str(folder / "rows.jsonl"),
        *more,
    )


def change(path: Path, how: Callable[[list[bytes]], list[bytes]]) -> None:
    path.write_bytes(b"\n".join(how(path.read_bytes().split(b"\n"))))


MIDDLE: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda line: line[: len(line) // 2],
    "zeros": lambda line: bytes(len(line)),
    "no UTF-8": lambda line: line[:20] + b"\xff\xfe" + line[22:],
    "empty": lambda line: b"",
    "another object": lambda line: b'{"a": 1}',
    "a list": lambda line: b"[1]",
    "a number": lambda line: b"7",
    "nested deeply": lambda line: b"[" * 100_000,
    "a wrong type": lambda line: line.replace(b'"id":"q', b'"id":7,"x":"').replace(b'"id": "q', b'"id": 7, "x": "'),
}


@pytest.mark.parametrize("damage", MIDDLE)
def test_a_damaged_prediction_is_named_and_repaired(
    damage: str, model: Path, questions: Path, evaluated: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(evaluated, out)
    path = out / "predictions" / "q.jsonl"
    before = path.read_bytes().split(b"\n")
    change(path, lambda lines: [*lines[:3], MIDDLE[damage](lines[3]), *lines[4:]])
    damaged = path.read_bytes().split(b"\n")[3]
    done = evaluate(model, questions, out)
    assert (done.code, len(done.errors), done.out) == (3, 1, ""), done.err
    assert done.errors[0].startswith(f"error: {path}:4: damaged (")
    assert "--repair moves it to q.jsonl.damaged" in done.errors[0]
    assert evaluate(model, questions, out, "--repair").code == 0
    assert path.with_name("q.jsonl.damaged").read_bytes() == damaged + b"\n"
    assert sorted(path.read_bytes().split(b"\n")) == sorted(before), "the one answer was made again"
    assert evaluate(model, questions, out, "--from-predictions").code == 0


@pytest.mark.parametrize("damage", ["cut", "zeros", "no UTF-8", "a list", "empty"])
def test_a_damaged_first_line_is_named_and_everything_made_again(
    damage: str, model: Path, questions: Path, evaluated: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(evaluated, out)
    path = out / "predictions" / "q.jsonl"
    before = path.read_bytes()
    change(path, lambda lines: [MIDDLE[damage](lines[0]), *lines[1:]])
    damaged = path.read_bytes()
    done = evaluate(model, questions, out)
    assert (done.code, len(done.errors)) == (3, 1)
    assert f"{path}:1: damaged (" in done.errors[0]
    assert evaluate(model, questions, out, "--repair").code == 0
    assert path.with_name("q.jsonl.damaged").read_bytes() == damaged
    assert path.read_bytes() == before


@pytest.mark.parametrize("left", [0, 10, -1, -30])
def test_a_torn_end_is_asked_again_to_the_same_bytes(
    left: int, model: Path, questions: Path, evaluated: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(evaluated, out)
    path = out / "predictions" / "q.jsonl"
    before = path.read_bytes()
    path.write_bytes(before[:left])
    assert evaluate(model, questions, out).code == 0
    assert path.read_bytes() == before
    assert not path.with_name("q.jsonl.damaged").exists()


@pytest.mark.parametrize(
    "times", [b'{"questions": 6, "sec', b"\x00" * 40, b"[1]\n7\n{}\n", b'{"questions":"a"}\n', None]
)
def test_measured_times_never_stop_anything(
    times: bytes | None, model: Path, questions: Path, evaluated: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(evaluated, out)
    path = out / "predictions" / "q.timings.jsonl"
    path.unlink()
    if times is None:
        path.mkdir()
    else:
        path.write_bytes(times)
    change(out / "predictions" / "q.jsonl", lambda lines: [*lines[:-2], b""])  # one answer is to be made
    for _ in range(2):
        done = evaluate(model, questions, out)
        assert (done.code, json.loads(done.out)["n"]) == (0, 6), done.err


@pytest.mark.parametrize("damage", [one for one in MIDDLE if one != "empty"])
@pytest.mark.parametrize("file", ["rows.jsonl.partial", "rows.jsonl"])
def test_a_damaged_journal_or_row_is_named_and_asked_again(
    file: str, damage: str, model: Path, questions: Path, elicited: Path, tmp_path: Path
) -> None:
    whole = (elicited / "rows.jsonl").read_bytes()
    path = tmp_path / file
    if file.endswith(".partial"):
        path.write_bytes(journal(model, questions, elicited))
    else:
        path.write_bytes(whole)
    change(path, lambda lines: [*lines[:2], MIDDLE[damage](lines[2]), *lines[3:]])
    damaged = path.read_bytes().split(b"\n")[2]
    done = elicit(model, questions, tmp_path)
    assert (done.code, len(done.errors)) == (3, 1), done.err
    assert done.errors[0].startswith(f"error: {path}:3: damaged (")
    assert elicit(model, questions, tmp_path, "--repair").code == NOTHING_LEFT
    assert (tmp_path / "rows.jsonl").read_bytes() == whole
    assert path.with_name(file + ".damaged").read_bytes() == damaged + b"\n"


def journal(model: Path, questions: Path, elicited: Path) -> bytes:
    """The journal of what was elicited."""
    from cotdistill.data.journal import FinishedCall, _line, finished_rows, rationale_key

    return b"".join(
        _line(rationale_key(item, one), FinishedCall(item.id, one))
        for item in finished_rows(elicited / "rows.jsonl")
        for one in item.rationales
    )


def test_a_torn_journal_is_asked_again(model: Path, questions: Path, elicited: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl.partial").write_bytes(journal(model, questions, elicited)[:-9])
    assert elicit(model, questions, tmp_path).code == NOTHING_LEFT
    assert (tmp_path / "rows.jsonl").read_bytes() == (elicited / "rows.jsonl").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize("content", [b"", b'{"key": "k"', b"[]", b"\xff", b'{"key": 1, "name": 2}', b"null"])
def test_a_damaged_cell_is_run_again(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = CellStore(tmp_path)
    store.put("cot", {"a": 1}, {"arm": "cot"})
    path = next((tmp_path / "cells").iterdir())
    key = json.loads(path.read_text())["key"]
    assert store.finished(key) == {"arm": "cot"}
    path.write_bytes(content)
    assert store.finished(key) is None
    assert store.records() == []
    assert "is damaged; its result is computed again" in capsys.readouterr().err
    assert "to be run" in store.explain("cot", {"a": 1})


def train_on(folder: Path, repair: bool = False) -> None:
    pupil = student("gpt2", width=16, layers=1)
    config = DistillConfig(steps=6, batch_size=2, checkpoint_every=2, device="cpu", repair=repair)
    Loop(pupil, encode(pupil, "cot", count=4), config, folder).run()


def test_metrics_are_cut_back_or_set_aside_and_times_mended(tmp_path: Path) -> None:
    train_on(tmp_path)
    metrics, times = tmp_path / "metrics.jsonl", tmp_path / "timings.jsonl"
    whole = metrics.read_bytes()
    metrics.write_bytes(whole + b'{"step": 7, "lo')
    times.write_bytes(b"\xff\n[]\n" + times.read_bytes() + b"{")
    train_on(tmp_path)
    assert metrics.read_bytes() == whole
    assert [json.loads(line)["step"] for line in times.read_text().splitlines()] == list(range(1, 7))
    change(metrics, lambda lines: [lines[0], b"\x00", *lines[2:]])
    with pytest.raises(DataError, match=r"metrics\.jsonl:2: damaged \("):
        train_on(tmp_path)
    train_on(tmp_path, repair=True)
    assert [json.loads(line)["step"] for line in metrics.read_text().splitlines()] == [1, 3, 4, 5, 6]
    assert (tmp_path / "metrics.jsonl.damaged").read_bytes() == b"\x00\n"


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
from cotdistill.__main__ import main
main()
"""


def limited(size: int, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command that can write no file beyond `size` bytes, as on a full disk."""
    return subprocess.run(
        [sys.executable, "-c", LIMITED.format(size=size), *args],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


@pytest.mark.parametrize(("size", "where"), [(40, "metrics.jsonl"), (3000, "checkpoints/step-1")])
def test_a_full_disk_ends_training_with_exit_8_and_leaves_no_temporary_file(
    size: int, where: str, model: Path, tmp_path: Path
) -> None:
    rows, out = tmp_path / "rows.jsonl", tmp_path / "run"
    rows.write_text("".join(item.line() + "\n" for item in items(4)))
    command = [
        "distill",
        str(rows),
        "--student",
        str(model),
        "--steps",
        "2",
        "--checkpoint-every",
        "1",
        "--batch-size",
        "2",
        "--device",
        "cpu",
        "-o",
        str(out),
    ]
    done = limited(size, *command, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert (done.returncode, done.stdout) == (8, ""), done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert errors == [f"error: cannot write {out / where}: File too large"]
    assert "the rows are tokenised again next time" in done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith((".tmp", ".lock"))]


@pytest.mark.parametrize("option", ["-o", "--html"])
def test_a_full_disk_leaves_the_old_file(option: str, questions: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "".join(json.dumps({**row, "rationale": "It is there. So the answer is kitchen."}) + "\n" for row in ROWS)
    )
    out = tmp_path / "out"
    answers = tmp_path / "answers.jsonl"
    answers.write_text("".join(json.dumps({"id": row["id"], "text": "kitchen"}) + "\n" for row in ROWS))
    command = (
        ["elicit", "--teacher", "rows", "--data", str(rows)]
        if option == "-o"
        else ["evaluate", str(answers), "--data", str(rows)]
    )
    assert run(*command, option, str(out)).code == 0
    before = out.read_bytes()
    done = limited(500, *command, option, str(out))
    assert done.returncode == 8
    assert done.stderr.splitlines()[-1] == f"error: cannot write {out}: File too large"
    assert out.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"rows.jsonl", "out", "answers.jsonl"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_leaves_no_half_of_a_student(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student("gpt2").save(tmp_path / "model")
    rows, out = tmp_path / "rows.jsonl", small_disk / "run"
    rows.write_text("".join(item.line() + "\n" for item in items(4)))
    empty = shutil.disk_usage(small_disk)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: empty)  # somebody fills the disk once its room was looked at
    (small_disk / "other").write_bytes(bytes(150_000))
    command = ("distill", str(rows), "--student", str(tmp_path / "model"), "--steps", "1", "-o", str(out))
    done = run(*command)
    assert (done.code, done.out) == (8, ""), done.err
    assert done.errors == [f"error: cannot write {out / 'student'}: No space left on device"]
    assert {path.name for path in out.iterdir()} <= {"metrics.jsonl", "timings.jsonl"}
    (small_disk / "other").unlink()
    assert run(*command).code == 0
    assert {"student", "run.json", "README.md"} <= {path.name for path in out.iterdir()}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_the_old_report_and_the_cells(tmp_path: Path) -> None:
    asked = {"strategies": ("cot",), "seeds": (0,), "controls": False}
    grid(tmp_path, **asked)
    out = tmp_path / "grid"
    before = printed(out)
    page = out / "report.html"
    page.unlink()
    page.symlink_to("/dev/full")
    with pytest.raises(OutputError) as raised:
        grid(tmp_path, **asked)
    assert str(raised.value) == f"cannot write {page}: No space left on device"
    assert raised.value.code == 8
    assert not list(out.rglob("*.tmp"))
    page.unlink()
    grid(tmp_path, **asked)
    assert printed(out) == before
