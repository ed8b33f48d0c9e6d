"""What an output path may be: a file, a link, a pipe, a device; and what is never written over."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from cotdistill.errors import Difference
from cotdistill.verify import verify
from tests.grids import run as grid
from tests.in_process import Done, run
from tests.models import items, student

ROWS = [
    {
        "id": f"q{at}",
        "question": f"What is {at} plus {at}?",
        "choices": None,
        "answer": str(2 * at),
        "rationale": f"{at} plus {at} is {2 * at}. So the answer is {2 * at}.",
    }
    for at in range(1, 5)
]
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
        "evaluate --html --overwrite": lambda out: run(*evaluate, str(out), "--overwrite"),
    }


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
        self, writers: dict[str, Writer], option: str, tmp_path: Path
    ) -> None:
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
        self, writers: dict[str, Writer], option: str, tmp_path: Path, place: str
    ) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "loop").symlink_to("loop")
        done = writers[option](tmp_path / place)
        assert (done.code, done.out, len(done.errors)) == (8, "", 1)
        assert done.errors[0].startswith(f"error: cannot write {tmp_path / place}: ")
        assert not list(tmp_path.rglob(".*"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, the questions it can be asked, and its answers to them."""
    folder = tmp_path_factory.mktemp("trained")
    student("gpt2", width=16, layers=1).save(folder / "model")
    rows, asked = folder / "rows.jsonl", folder / "asked.jsonl"
    rows.write_text("".join(item.line() + "\n" for item in items(4)))
    asked.write_text("".join(item.example().line() + "\n" for item in items(2)))
    done = run("distill", str(rows), "--student", str(folder / "model"), "--steps", "1", "-o", str(folder / "run"))
    assert done.code == 0, done.err
    done = run("evaluate", str(folder / "run"), "--data", str(asked), "--max-new-tokens", "4")
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def answered(trained: Path, tmp_path: Path) -> Path:
    """A copy to write into."""
    return Path(shutil.copytree(trained, tmp_path / "trained"))


def evaluated(folder: Path, *more: str) -> Done:
    return run("evaluate", str(folder / "run"), "--data", str(folder / "asked.jsonl"), "--max-new-tokens", "4", *more)


def reading(pipe: Path) -> tuple[Thread, list[bytes]]:
    """Somebody who reads a new pipe, and what came out of it."""
    got: list[bytes] = []
    os.mkfifo(pipe)
    reader = Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    return reader, got


TASK = "cotdistill-run-asked-choices"


@pytest.mark.parametrize("file", [f"{TASK}.yaml", f"{TASK}.jsonl"])
def test_an_export_replaces_its_own_files_and_nobody_elses(answered: Path, file: str, tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    export = ("--score", "choices", "--export", "lm-eval", str(folder))
    folder.mkdir()
    (folder / file).write_text("mine\n")
    done = evaluated(answered, *export)
    assert (done.code, done.out, len(done.errors)) == (2, "", 1), done.err
    assert f"{folder / file} holds something this command did not write" in done.errors[0]
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [(file, "mine\n")]
    assert evaluated(answered, *export, "--overwrite").code == 0
    written = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert evaluated(answered, *export).code == 0, "its own files are written again"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == written


def test_two_runs_of_one_name_are_not_exported_into_one_directory(answered: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "run"
    shutil.copytree(answered / "run", other)
    done = evaluated(answered, str(other), "--export", "lm-eval", str(tmp_path / "tasks"))
    assert (done.code, len(done.errors)) == (2, 1), done.err
    assert f"{answered / 'run'} and {other} would both write cotdistill-run-asked" in done.errors[0]
    assert not (tmp_path / "tasks").exists()


def test_exported_tasks_go_through_links_and_pipes(answered: Path, tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "tasks", tmp_path / "elsewhere"
    folder.mkdir()
    (folder / f"{TASK}.jsonl").symlink_to(elsewhere)
    reader, got = reading(folder / f"{TASK}.yaml")
    done = evaluated(answered, "--score", "choices", "--export", "lm-eval", str(folder))
    assert done.code == 0, done.err
    reader.join(10)
    assert b"output_type: multiple_choice" in got[0]
    assert (folder / f"{TASK}.jsonl").is_symlink()
    assert len(elsewhere.read_text().splitlines()) == 2


def test_a_model_card_goes_through_links_and_pipes(answered: Path, tmp_path: Path) -> None:
    card, elsewhere = answered / "run" / "README.md", tmp_path / "card.md"
    card.rename(elsewhere)
    card.symlink_to(elsewhere)
    assert evaluated(answered, "--model-card").code == 0
    assert card.is_symlink()
    assert "model-index" in elsewhere.read_text()
    card.unlink()
    reader, got = reading(card)
    assert evaluated(answered, "--model-card").code == 0
    reader.join(10)
    assert b"model-index" in got[0]


def test_predictions_follow_a_link(answered: Path, tmp_path: Path) -> None:
    stored, elsewhere = answered / "run" / "predictions" / "asked.jsonl", tmp_path / "answers.jsonl"
    whole = stored.read_bytes()
    stored.rename(elsewhere)
    stored.symlink_to(elsewhere)
    elsewhere.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))  # one answer is missing
    assert evaluated(answered).code == 0
    assert stored.is_symlink()
    assert elsewhere.read_bytes() == whole


@pytest.mark.parametrize("kind", ["pipe", "device", "directory"])
@pytest.mark.parametrize("file", ["run/predictions/asked.jsonl", "run/student", "rows.jsonl.partial"])
def test_what_must_be_read_back_is_no_pipe_no_device_and_no_directory(
    answered: Path, file: str, kind: str, tmp_path: Path
) -> None:
    path = answered / file
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    {"pipe": lambda: os.mkfifo(path), "device": lambda: path.symlink_to(os.devnull), "directory": path.mkdir}[kind]()
    if file == "run/student":
        if kind == "directory":
            pytest.skip("it is one")
        (answered / "run" / "run.json").unlink()
        model, rows = str(answered / "model"), str(answered / "rows.jsonl")
        done = run("distill", rows, "--student", model, "--steps", "1", "-o", str(answered / "run"))
    elif file == "rows.jsonl.partial":
        asked, model = str(answered / "asked.jsonl"), str(answered / "model")
        (answered / "rows.jsonl").unlink()
        out = ("-o", str(answered / "rows.jsonl"))
        done = run("elicit", "--data", asked, "--teacher", model, "--max-new-tokens", "2", *out)
    else:
        done = evaluated(answered)
    assert (done.code, done.out, len(done.errors)) == (8, "", 1), done.err
    assert done.errors[0].startswith("error: cannot write ")
    assert path.is_symlink() or not path.is_file()
    assert not list(tmp_path.rglob("*.lock"))


def test_open_descriptors_keep_their_place(tmp_path: Path) -> None:
    data, log = lines(tmp_path / "rows.jsonl", ROWS), tmp_path / "log"
    command = [sys.executable, "-m", "cotdistill", "elicit", "--teacher", "rows", "--data", str(data), "-o"]
    with log.open("a") as out:
        for name in ("/dev/stdout", f"/dev/fd/{out.fileno()}"):
            done = subprocess.run(
                [*command, name], stdout=out, stderr=subprocess.DEVNULL, pass_fds=[out.fileno()], timeout=60
            )
            assert done.returncode == 0
    assert [json.loads(line)["id"] for line in log.read_text().splitlines()] == 2 * [row["id"] for row in ROWS]


@pytest.mark.parametrize(
    ("option", "held", "says"),
    [
        ("elicit -o", "questions", "was not written by this command"),
        ("elicit -o", "a run card", "was not written by this command"),
        ("elicit -o", "another teacher's rows", "holds 4 rows that this command would not produce, such as 'q1'"),
        ("elicit -o", "more rows", "holds 1 rows that this command would not produce, such as 'q9'"),
        ("evaluate --html", "a run card", "was not written by this command"),
        ("evaluate --html", "a page of somebody's", "was not written by this command"),
    ],
)
def test_what_this_command_did_not_write_is_replaced_only_with_overwrite(
    writers: dict[str, Writer], option: str, held: str, says: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    item = {"id": "q1", "task": "", "split": None, "question": "?", "choices": None, "answer": "2", "rationales": []}
    chain = {
        "kind": "factual",
        "text": "1",
        "answer": "2",
        "correct": True,
        "label": "keep",
        "teacher": "paid",
        "decoding": {},
        "prompt": None,
        "finished": True,
    }
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


@pytest.mark.parametrize("option", ["-o", "--export"])
@pytest.mark.parametrize("kind", ["file", "fifo", "device"])
def test_a_directory_of_evaluate_that_is_none(answered: Path, option: str, kind: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    {
        "file": lambda: out.write_text("mine"),
        "fifo": lambda: os.mkfifo(out),
        "device": lambda: out.symlink_to(os.devnull),
    }[kind]()
    plain = [str(answered / "model"), "--strategy", "cot", "--data", str(answered / "asked.jsonl")]
    done = run("evaluate", *plain, option, *(["lm-eval"] if option == "--export" else []), str(out))
    assert (done.code, len(done.errors), done.out) == (8, 1, ""), done.err
    assert "is not a directory" in done.errors[0]
    assert kind != "file" or out.read_text() == "mine"


def test_a_report_goes_through_links_and_pipes(tmp_path: Path) -> None:
    grid(tmp_path, strategies=("cot",), seeds=(0,), controls=False)
    out, page, picture = tmp_path / "grid", tmp_path / "page.html", tmp_path / "picture.png"
    drawn = sorted((out / "figures").glob("*.png"))[0]
    before = {name: (out / name).read_bytes() for name in ("report.md", "comparisons.jsonl")}
    for path, elsewhere in ((out / "report.html", page), (drawn, picture)):
        path.unlink()
        path.symlink_to(elsewhere)
    (out / "report.md").unlink()
    reader, got = reading(out / "report.md")
    grid(tmp_path, strategies=("cot",), seeds=(0,), controls=False)
    reader.join(10)
    assert got[0].splitlines()[:-1] == before["report.md"].splitlines()[:-1]
    assert page.read_bytes().startswith(b"<!doctype html>")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert (out / "report.html").is_symlink()
    assert drawn.is_symlink()
    with pytest.raises(Difference, match=r"report\.md: is not a regular file"):
        verify(out)


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
