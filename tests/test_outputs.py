"""What an output path may be: a file, a link, a pipe, a device; and what is never written over."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from tests.in_process import Done, run
from tests.models import items

ROWS = [{"id": f"q{at}", "question": f"What is {at} plus {at}?", "choices": None, "answer": str(2 * at),
         "rationale": f"{at} plus {at} is {2 * at}. So the answer is {2 * at}."} for at in range(1, 5)]
ANSWERS = [{"id": row["id"], "text": row["rationale"]} for row in ROWS]
Writer = Callable[[Path], Done]


def lines(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def writers(tmp_path: Path) -> dict[str, Writer]:
    """Every option that names an output file, on a command that needs no model."""
    data, answers = lines(tmp_path / "rows.jsonl", ROWS), lines(tmp_path / "answers.jsonl", ANSWERS)
    elicit = ("elicit", "--teacher", "rows", "--data", str(data), "-o")
    evaluate = ("evaluate", str(answers), "--data", str(data), "--html")
    return {
        "elicit -o": lambda out: run(*elicit, str(out)),
        "elicit -o --overwrite": lambda out: run(*elicit, str(out), "--overwrite"),
        "evaluate --html": lambda out: run(*evaluate, str(out)),
        "evaluate --html --overwrite": lambda out: run(*evaluate, str(out), "--overwrite")}


@pytest.mark.parametrize("option", ["elicit -o", "evaluate --html"])
class TestEveryOutputFile:
    """The options that write one file."""

    def test_a_link_is_followed(self, writers: dict[str, Writer], option: str, tmp_path: Path) -> None:
        folder = tmp_path / "elsewhere"
        folder.mkdir()
        link = tmp_path / "link"
        link.symlink_to(folder / "target")
        for _ in range(2):  # a dangling link, then one to a file
            assert writers[option](link).code == 0
            assert link.is_symlink()
            assert (folder / "target").stat().st_size > 100
        assert [path.name for path in folder.iterdir()] == ["target"]

    def test_a_pipe_stays_one_and_its_reader_gets_everything(
            self, writers: dict[str, Writer], option: str, tmp_path: Path) -> None:
        pipe, got = tmp_path / "pipe", []
        os.mkfifo(pipe)
        reader = Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
        reader.start()
        assert writers[option](pipe).code == 0
        reader.join(10)
        assert len(got[0]) > 100
        assert stat.S_ISFIFO(pipe.stat().st_mode)

    def test_a_device_stays_one(self, writers: dict[str, Writer], option: str, tmp_path: Path) -> None:
        null = tmp_path / "null"
        try:
            os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            null.open("wb").close()
        except PermissionError:
            pytest.skip("device nodes need root")
        assert writers[option](null).code == 0
        assert stat.S_ISCHR(null.stat().st_mode)
        assert not list(tmp_path.glob(".*"))

    @pytest.mark.parametrize("place", ["folder", "rows.jsonl/below", "loop"])
    def test_what_cannot_be_a_file_is_refused_at_once(
            self, writers: dict[str, Writer], option: str, tmp_path: Path, place: str) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "loop").symlink_to("loop")
        done = writers[option](tmp_path / place)
        assert (done.code, done.out, len(done.errors)) == (8, "", 1)
        assert done.errors[0].startswith(f"error: cannot write {tmp_path / place}: ")
        assert not list(tmp_path.rglob(".*"))


def test_open_descriptors_keep_their_place(tmp_path: Path) -> None:
    data, log = lines(tmp_path / "rows.jsonl", ROWS), tmp_path / "log"
    command = [sys.executable, "-m", "cotdistill", "elicit", "--teacher", "rows", "--data", str(data), "-o"]
    with log.open("a") as out:
        for name in ("/dev/stdout", f"/dev/fd/{out.fileno()}"):
            done = subprocess.run([*command, name], stdout=out, stderr=subprocess.DEVNULL, pass_fds=[out.fileno()],
                                  timeout=60)
            assert done.returncode == 0
    assert [json.loads(line)["id"] for line in log.read_text().splitlines()] == 2 * [row["id"] for row in ROWS]


@pytest.mark.parametrize(("option", "held", "says"), [
    ("elicit -o", "questions", "holds something this command did not write"),
    ("elicit -o", "a run card", "holds something this command did not write"),
    ("elicit -o", "another teacher's rows", "holds 4 rows that this command does not make again, such as 'q1'"),
    ("elicit -o", "more rows", "holds 1 rows that this command does not make again, such as 'q9'"),
    ("evaluate --html", "a run card", "holds something this command did not write"),
    ("evaluate --html", "a page of somebody's", "holds something this command did not write")])
def test_what_this_command_did_not_write_is_replaced_only_with_overwrite(
        writers: dict[str, Writer], option: str, held: str, says: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    item = {"id": "q1", "task": "", "split": None, "question": "?", "choices": None, "answer": "2", "rationales": []}
    chain = {"kind": "factual", "text": "1", "answer": "2", "correct": True, "label": "keep", "teacher": "paid",
             "decoding": {}, "prompt": None, "finished": True}
    if held == "questions":
        lines(out, ROWS)
    elif held == "another teacher's rows":
        lines(out, [{**item, "id": row["id"], "rationales": [chain]} for row in ROWS])
    elif held == "more rows":
        lines(out, [{**item, "id": "q9"}])
    else:
        out.write_text('{\n  "key": "abc"\n}\n' if "card" in held else "<!doctype html><title>mine</title>")
    before = out.read_bytes()
    done = writers[option](out)
    assert (done.code, len(done.errors), out.read_bytes()) == (2, 1, before)
    assert says in done.errors[0]
    assert "--overwrite" in done.errors[0]
    assert writers[option + " --overwrite"](out).code == 0
    written = out.read_bytes()
    assert written != before
    assert writers[option](out).code == 0, "its own output is written again"
    assert out.read_bytes() == written


def test_rows_are_never_cut_down_to_a_part_of_themselves(tmp_path: Path) -> None:
    data = lines(tmp_path / "rows.jsonl", ROWS)
    before = data.read_bytes()
    done = run("elicit", "--teacher", "rows", "--limit", "3", "--data", str(data), "-o", str(data))
    assert (done.code, len(done.errors), data.read_bytes()) == (2, 1, before)


@pytest.mark.parametrize("name", ["../up", "a/b", "..", ".", "/tmp/x", "x" * 300, "a\tb"])
def test_names_of_sets_are_no_paths(name: str, tmp_path: Path) -> None:
    data, answers = lines(tmp_path / "rows.jsonl", ROWS), lines(tmp_path / "answers.jsonl", ANSWERS)
    done = run("evaluate", str(answers), "--data", f"{name}={data}")
    assert (done.code, len(done.errors), done.out) == (2, 1, "")


@pytest.mark.parametrize("command", ["distill", "ablate"])
@pytest.mark.parametrize(("kind", "code"), [("file", 8), ("fifo", 8), ("somebody's", 2)])
def test_a_directory_that_is_none_or_somebodys(command: str, kind: str, code: int, tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out"
    rows.write_text("".join(item.line() + "\n" for item in items(8)))
    if kind == "file":
        out.write_text("mine")
    elif kind == "fifo":
        os.mkfifo(out)
    else:
        out.mkdir()
        (out / "README.md").write_text("mine")
    extra = ["--steps", "1"] if command == "distill" else ["--strategies", "cot", "--data", str(rows), "--steps", "1"]
    done = run(command, str(rows), *extra, "-o", str(out))
    assert (done.code, len(done.errors), done.out) == (code, 1, ""), done.err
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()} - {"rows.jsonl", "out"}
    assert left <= {"README.md"}
