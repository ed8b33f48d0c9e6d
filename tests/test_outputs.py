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
    return {
        "elicit -o": lambda out: run("elicit", "--teacher", "rows", "--data", str(data), "-o", str(out)),
        "evaluate --html": lambda out: run("evaluate", str(answers), "--data", str(data), "--html", str(out))}


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
