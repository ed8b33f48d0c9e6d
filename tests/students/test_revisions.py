"""Models of the hub at a revision: NAME@REVISION in every command, resolved to a commit that is part of the keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from cotdistill.data.network import unreachable_hub
from cotdistill.run_key import student_digest
from cotdistill.students.load import load_student
from tests.in_process import Done, run
from tests.models import items, student

OLD, NEW, ADAPTED = "a" * 40, "b" * 40, "c" * 40


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub's local cache: a model with two commits, and an adapter of the older one."""
    cache = tmp_path_factory.mktemp("hub")
    kept = cache / "models--some--two"
    for seed, commit in enumerate((OLD, NEW)):
        student("llama", seed=seed).save(kept / "snapshots" / commit)
    refs(kept, main=NEW, v1=OLD)
    return cache


def refs(kept: Path, **named: str) -> None:
    (kept / "refs").mkdir(parents=True)
    for name, commit in named.items():
        (kept / "refs" / name).write_text(commit)


@pytest.fixture
def folder(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    unreachable_hub.cache_clear()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text("".join(row.line() + "\n" for row in items(6)))
    fields = {"id", "question", "choices", "answer"}
    Path("questions.jsonl").write_text("".join(json.dumps(row.model_dump(include=fields)) + "\n" for row in items(4)))
    return tmp_path


def distill(*options: str) -> Done:
    return run("distill", "rows.jsonl", "--steps", "1", "--device", "cpu", *options)


def card(run_folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(run_folder, "run.json").read_text())
    return found


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("name", "seed", "commit"),
    [("some/two", 1, NEW), ("some/two@main", 1, NEW), ("some/two@v1", 0, OLD), (f"some/two@{OLD}", 0, OLD)],
)
def test_a_revision_is_loaded_and_keyed_by_its_commit(name: str, seed: int, commit: str) -> None:
    wanted, found = student("llama", seed=seed).model.lm_head.weight, load_student(name).model.lm_head.weight
    assert wanted.equal(found)
    assert student_digest(name) == f"some/two@{commit}"


@pytest.mark.usefixtures("folder")
def test_every_command_takes_a_revision() -> None:
    for out, options in (
        ("a", ["--student", "some/two@v1"]),
        ("b", ["--student", "some/two", "--revision", "v1"]),
        ("c", ["--student", "some/two"]),
    ):
        done = distill(*options, "--out", out)
        assert done.code == 0, done.err
    assert card("a")["key"] == card("b")["key"] != card("c")["key"]
    assert card("a")["student"]["digest"] == f"some/two@{OLD}"
    assert card("c")["student"]["digest"] == f"some/two@{NEW}"
    predicted = {}
    for out, options in (("d", ["some/two@v1"]), ("e", ["some/two", "--revision", "v1"]), ("f", ["some/two"])):
        done = run(
            "evaluate",
            *options,
            "--strategy",
            "cot",
            "--data",
            "questions.jsonl",
            "--max-new-tokens",
            "6",
            "--device",
            "cpu",
            "--no-calibrate",
            "--out",
            out,
        )
        assert done.code == 0, done.err
        predicted[out] = [
            json.loads(line).get("rationale")
            for line in Path(out, "predictions", "questions.jsonl").read_text().splitlines()
        ]
    assert predicted["d"] == predicted["e"] != predicted["f"]
    for out, options in (("g", ["--teacher", "some/two@v1"]), ("h", ["--teacher", "some/two", "--revision", "v1"])):
        done = run(
            "elicit",
            *options,
            "--data",
            "questions.jsonl",
            "--max-new-tokens",
            "4",
            "--keep",
            "all",
            "--device",
            "cpu",
            "-o",
            f"{out}.jsonl",
        )
        assert done.code in (0, 4), done.err
        assert f"some/two@{OLD[:12]}" in Path(f"{out}.jsonl").read_text()
    assert Path("g.jsonl").read_bytes() == Path("h.jsonl").read_bytes()
    done = run(
        "ablate",
        "rows.jsonl",
        "--student",
        "some/two@v1,some/two",
        "--strategies",
        "cot",
        "--no-controls",
        "--seeds",
        "0",
        "--steps",
        "1",
        "--data",
        "test=questions.jsonl",
        "--device",
        "cpu",
        "--eval-max-new-tokens",
        "4",
        "--teacher",
        "some/two@v1",
        "--teacher-max-new-tokens",
        "4",
        "--jobs",
        "1",
        "--out",
        "grid",
    )
    assert done.code == 0, done.err
    assert {json.loads(line)["student"] for line in done.out.splitlines() if '"student"' in line} >= {
        "some/two@v1",
        "some/two",
    }


@pytest.mark.usefixtures("folder")
def test_an_adapter_remembers_the_commit_of_its_base(hub: Path) -> None:
    done = distill(
        "--student", "some/two@v1", "--lora", "r=2,alpha=4", "--lr", "1e-2", "--no-merge-lora", "--out", "apart"
    )
    assert done.code == 0, done.err
    settings = json.loads(Path("apart/student/adapter_config.json").read_text())
    assert (settings["base_model_name_or_path"], settings["revision"]) == ("some/two", OLD)
    assert distill("--student", "some/two@v1", "--lora", "r=2,alpha=4", "--lr", "1e-2", "--out", "merged").code == 0
    wanted = load_student("merged/student").model.model.layers[0].self_attn.q_proj.weight
    kept = hub / "models--some--adapter"
    kept.mkdir()
    (kept / "snapshots").mkdir()
    Path("apart/student").rename(kept / "snapshots" / ADAPTED)
    refs(kept, main=ADAPTED)
    found = load_student("some/adapter")
    assert found.model.model.layers[0].self_attn.q_proj.weight.allclose(wanted, atol=1e-6)
    done = run(
        "evaluate",
        "some/adapter",
        "--strategy",
        "cot",
        "--data",
        "questions.jsonl",
        "--max-new-tokens",
        "4",
        "--device",
        "cpu",
        "--no-calibrate",
        "--out",
        "evaluated",
    )
    assert done.code == 0, done.err


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (["--student", "local", "--revision", "v1"], 2, "local is a local model, which has no revisions"),
        (["--student", "local@v1"], 2, "local is a local model, which has no revisions"),
        (["--student", "./nowhere", "--revision", "v1"], 2, "./nowhere is a local model, which has no revisions"),
        (["--revision", "v1"], 2, "demo is a local model, which has no revisions"),
        (["--student", "demo@v1"], 2, "demo is a local model, which has no revisions"),
        (["--student", "some/two@v1", "--revision", "main"], 2, "already names a revision"),
        (["--student", "some/two@"], 2, "NAME@REVISION"),
        (["--student", "some/two@v9"], 6, "that revision is not in the hub's local cache"),
    ],
)
def test_a_revision_that_cannot_be_is_said(asked: list[str], code: int, said: str) -> None:
    student("llama").save(Path("local"))
    role = asked[0] if asked[0] == "--student" else ""
    model = [asked[1]] if role else ["demo"]
    more = asked[2:] if role else asked
    for command in (
        ["distill", "rows.jsonl", *asked, "--out", "out"],
        ["elicit", *(["--teacher", *model] if role else []), *more, "--data", "questions.jsonl"],
        ["evaluate", *model, *more, "--strategy", "cot", "--data", "questions.jsonl", "--out", "out"],
        *(
            []
            if "--revision" in asked
            else [["ablate", "rows.jsonl", *asked, "--data", "questions.jsonl", "--out", "out"]]
        ),
    ):
        done = run(*command)
        assert done.code == code, (command, done.err)
        assert len(done.errors) == 1
        assert said in done.errors[0]
    assert not Path("out", "run.json").exists()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("teacher", ["rows", "openai:some-model", "recorded:rows.jsonl"])
def test_a_teacher_without_revisions_is_said(teacher: str) -> None:
    done = run("elicit", "--teacher", teacher, "--revision", "v1", "--data", "questions.jsonl")
    assert done.code == 2
    assert done.errors == [f"error: --revision v1: only hub models have revisions, {teacher} is not one"]
