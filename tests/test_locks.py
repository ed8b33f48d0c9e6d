"""One writer per output: the second one is told who holds it (exit 8), and a dead holder holds nothing."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from cotdistill.data import lock
from cotdistill.data.lock import locked_file, locked_folder
from tests.in_process import run
from tests.models import items, student

SPAWN = multiprocessing.get_context("spawn")
Lock = Callable[[Path], AbstractContextManager[None]]


def hold(lock_: Lock, path: Path, held: Event) -> None:
    with lock_(path):
        held.set()
        signal.pause()


@contextmanager
def holder(lock_: Lock, path: Path) -> Iterator[BaseProcess]:
    held = SPAWN.Event()
    process = SPAWN.Process(target=hold, args=(lock_, path, held), daemon=True)
    process.start()
    assert held.wait(60)
    try:
        yield process
    finally:
        process.kill()
        process.join()


@pytest.fixture(autouse=True)
def _no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "GRACE", 0.2)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("locks") / "rows.jsonl"
    path.write_text("".join(item.line() + "\n" for item in items(8)))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    student("gpt2", width=16, layers=1).save(folder)
    return folder


def command(name: str, rows: Path, model: Path, out: Path) -> list[str]:
    """The command that writes `out`."""
    questions = rows.with_name("questions.jsonl")
    questions.write_text("".join(item.example().line() + "\n" for item in items(8)))
    return {
        "elicit": [
            "elicit",
            "--teacher",
            str(model),
            "--data",
            str(questions),
            "--max-new-tokens",
            "4",
            "-o",
            str(out),
        ],
        "distill": ["distill", str(rows), "--student", str(model), "--steps", "1", "-o", str(out)],
        "ablate": [
            "ablate",
            str(rows),
            "--strategies",
            "cot",
            "--student",
            str(model),
            "--data",
            str(questions),
            "--steps",
            "1",
            "--seeds",
            "0",
            "-o",
            str(out),
        ],
        "evaluate": [
            "evaluate",
            str(model),
            "--strategy",
            "cot",
            "--data",
            f"q={questions}",
            "--max-new-tokens",
            "4",
            "-o",
            str(out),
        ],
    }[name]


@pytest.mark.parametrize("name", ["elicit", "distill", "ablate", "evaluate"])
def test_the_second_one_is_told_who_holds_it(name: str, rows: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    kind, place = (locked_folder, out) if name in ("distill", "ablate") else (locked_file, out)
    if name == "evaluate":
        place = out / "predictions" / "q.jsonl"
    with holder(kind, place) as other:
        done = run(*command(name, rows, model, out))
        assert (done.code, len(done.errors)) == (8, 1), done.err
        assert f"process {other.pid} on " in done.errors[0]
        assert "(since " in done.errors[0]
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.endswith("lock")]


@pytest.mark.slow
def test_several_processes_of_one_run_hold_it_together(rows: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", "-m"]
    wanted = [*torchrun, "cotdistill", *command("distill", rows, model, out), "--device", "cpu"]
    with holder(locked_folder, out) as other:
        done = subprocess.run(wanted, capture_output=True, text=True, timeout=120)
        assert done.returncode != 0
        assert done.stdout == ""
        errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
        assert len(errors) == 1, done.stderr
        assert f"process {other.pid} on " in errors[0]
        assert [path.name for path in out.iterdir()] == [".lock"]
    done = subprocess.run(wanted, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert json.loads((out / "run.json").read_text())["trained"]["processes"] == 2
    assert not list(out.glob(".*"))


def test_a_dead_holder_holds_nothing(rows: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with holder(locked_file, out) as other:
        os.kill(other.pid or 0, signal.SIGKILL)
        other.join()
        assert (tmp_path / ".out.jsonl.lock").exists()
        assert run(*command("elicit", rows, model, out)).code != 8
    assert out.exists()
    assert not (tmp_path / ".out.jsonl.lock").exists()


def test_a_link_and_its_target_are_one_output(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    with holder(locked_file, tmp_path / "target"):
        with pytest.raises(Exception, match="is writing it"), locked_file(tmp_path / "link"):
            pass
        with locked_file(tmp_path / "other"):
            assert json.loads((tmp_path / ".other.lock").read_text())["pid"] == os.getpid()


def test_where_nothing_can_be_written_reading_needs_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    with locked_file(tmp_path / "out", even_read_only=True):
        pass
    with pytest.raises(Exception, match="Read-only file system"), locked_file(tmp_path / "out"):
        pass
