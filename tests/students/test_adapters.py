"""PEFT adapters, and runs whose LoRA was not merged: students, teachers and models to evaluate like any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from cotdistill.students.load import load_student
from tests.in_process import Done, run
from tests.models import items, student


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("adapters")
    student("llama").save(made / "base")
    (made / "rows.jsonl").write_text("".join(row.line() + "\n" for row in items(8)))
    questions = [row.model_dump(include={"id", "question", "choices", "answer"}) for row in items(6)]
    (made / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    for name, merged in (("merged", []), ("apart", ["--no-merge-lora"])):
        done = distill(made, name, "--lora", "r=4,alpha=32", "--steps", "12", *merged)
        assert done.code == 0, done.err
    return made


def distill(folder: Path, out: str, *options: str, base: str = "base") -> Done:
    return run(
        "distill",
        str(folder / "rows.jsonl"),
        "--student",
        str(folder / base),
        "--lr",
        "1e-2",
        "--device",
        "cpu",
        "--out",
        str(folder / out),
        *options,
    )


def predicted(folder: Path, *asked: str) -> list[list[str | None]]:
    done = run(
        "evaluate",
        *asked,
        "--data",
        str(folder / "questions.jsonl"),
        "--device",
        "cpu",
        "--max-new-tokens",
        "12",
        "--no-calibrate",
    )
    assert done.code == 0, done.err
    where = Path(asked[-1] if "--out" in asked else asked[0]) / "predictions" / "questions.jsonl"
    lines = [json.loads(line) for line in where.read_text().splitlines()]
    return [[line["rationale"], line["output"]] for line in lines if "output" in line]


def test_a_run_that_was_not_merged_is_evaluated_as_the_merged_one(folder: Path) -> None:
    assert (folder / "apart" / "student" / "adapter_model.safetensors").is_file()
    found = predicted(folder, str(folder / "apart"))
    assert len(found) == 6
    assert found == predicted(folder, str(folder / "merged"))
    plain = ("--strategy", "cot", "--out")
    assert found == predicted(folder, str(folder / "apart" / "student"), *plain, str(folder / "plain"))
    assert found != predicted(folder, str(folder / "base"), *plain, str(folder / "untrained"))


def test_an_adapter_that_is_kept_beside_its_merged_weights_answers_as_they_do(folder: Path) -> None:
    done = distill(folder, "both", "--lora", "r=4,alpha=32", "--steps", "12", "--keep-adapter")
    assert done.code == 0, done.err
    both, plain = folder / "both", ("--strategy", "cot", "--out")
    weights = "model.safetensors"
    assert (both / "student" / weights).read_bytes() == (folder / "merged" / "student" / weights).read_bytes()
    assert (both / "adapter" / "adapter_model.safetensors").is_file()
    assert not (both / "adapter" / weights).exists()
    found = predicted(folder, str(both))
    assert found == predicted(folder, str(both / "adapter"), *plain, str(folder / "beside"))
    again = distill(folder, "on-kept", "--steps", "1", base="both/adapter")
    assert again.code == 0, again.err
    # Another run in its place takes the adapter with it.
    done = distill(folder, "both", "--steps", "1", "--overwrite")
    assert done.code == 0, done.err
    assert not (both / "adapter").exists()


@pytest.mark.parametrize("command", ["distill", "ablate"])
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "--keep-adapter changes nothing without --lora"),
        (["--lora", "r=4", "--no-merge-lora"], "with --no-merge-lora they are saved alone, as the student"),
    ],
    ids=["no adapters", "no merged weights"],
)
def test_an_adapter_is_kept_only_beside_merged_weights(
    command: str, options: list[str], says: str, folder: Path, tmp_path: Path
) -> None:
    rows, out = str(folder / "rows.jsonl"), tmp_path / "out"
    named = ["--strategies", "cot", "--data", rows] if command == "ablate" else []
    done = run(
        command, rows, *named, "--student", str(folder / "base"), "--keep-adapter", *options, "--steps", "1",
        "--out", str(out),
    )  # fmt: skip
    assert (done.code, len(done.errors)) == (2, 1), done.err
    assert says in done.errors[0]
    assert not out.exists()


def test_an_adapter_is_a_student_and_a_teacher(folder: Path) -> None:
    again = distill(folder, "again", "--steps", "1", base="apart/student")
    assert again.code == 0, again.err
    assert (folder / "again" / "student" / "model.safetensors").is_file()
    asked = run(
        "elicit",
        "--teacher",
        str(folder / "apart" / "student"),
        "--data",
        str(folder / "questions.jsonl"),
        "--max-new-tokens",
        "4",
        "--keep",
        "all",
        "--device",
        "cpu",
        "-o",
        str(folder / "elicited.jsonl"),
    )
    assert asked.code in (0, 4), asked.err  # four tokens argue for nothing
    assert len((folder / "elicited.jsonl").read_text().splitlines()) == 6


def test_an_adapter_on_an_adapter_stands_on_both(folder: Path) -> None:
    for name, merged in (("twice", []), ("on-top", ["--no-merge-lora"])):
        done = distill(folder, name, "--lora", "r=2,alpha=16", "--steps", "6", *merged, base="apart/student")
        assert done.code == 0, done.err
    below, merged, found = (
        load_student(str(folder / name / "student")).model.model.layers[0].self_attn.q_proj.weight
        for name in ("apart", "twice", "on-top")
    )
    torch.testing.assert_close(found, merged, atol=1e-6, rtol=0)
    assert (found - below).abs().max() > 1e-3
    assert len(predicted(folder, str(folder / "on-top"))) == 6


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base_model_name_or_path": "SELF"}, "which is itself an adapter of it; write the base model's path into"),
        ({"base_model_name_or_path": "/nowhere/base"}, "is an adapter of '/nowhere/base', which cannot be loaded"),
        ({"base_model_name_or_path": None}, "adapter_config.json: no base_model_name_or_path"),
        ({"peft_type": "NOSUCH"}, "cannot load the model"),
    ],
)
def test_a_base_that_is_not_there_is_said(changes: dict[str, str], said: str, folder: Path, tmp_path: Path) -> None:
    for file in (folder / "apart" / "student").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    changes = {key: str(tmp_path) if value == "SELF" else value for key, value in changes.items()}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | changes))
    done = run("evaluate", str(tmp_path), "--strategy", "cot", "--data", str(folder / "questions.jsonl"))
    assert done.code == 6, done.err
    assert len(done.errors) == 1
    assert said in done.errors[0]
