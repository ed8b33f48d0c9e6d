"""LoRA, chat templates, letters and recipes in a grid: planned in a dry run, and whole on a tiny Llama."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotdistill.verify import verify
from tests.grids import question_files, run
from tests.in_process import run as command
from tests.models import student
from tests.students.test_chat import CHATML, chat_student


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("lora")
    chat_student(CHATML, "llama").save(made / "chat")
    student("llama").save(made / "llama")
    return made


def test_a_dry_run_plans_adapters_letters_a_chat_template_and_a_recipe(folder: Path) -> None:
    given = ["--student", str(folder / "chat"), "--lora", "r=2", "--answers", "letter", "--chat", "--recipe", "cascod"]
    data = [f"--data={path}" for path in question_files(folder)]
    small = ["--strategies", "cot,cascod", "--limit", "40", "--device", "cpu", "--out", str(folder / "grid")]
    done = command("ablate", *given, *small, *data, "--dry-run")
    assert done.code == 0, done.err
    lines = done.err.splitlines()
    (recipe,) = (line for line in lines if line.startswith("recipe cascod"))
    assert "epochs=15.0, batch_size=256" in recipe
    assert "lora=" not in recipe  # an option comes before a recipe
    rows = [row for row in map(str.split, lines) if row[:1] in (["cot"], ["cascod"]) and row[1].isdigit()]
    steps = {row[0]: row[1:4] for row in rows}
    assert steps == {"cot": ["3", "0", "3"], "cascod": ["3", "0", "3"]}  # 15 epochs of 40 rows, 256 a step
    model = student("llama", width=64).model
    (room,) = (line.split() for line in lines if line.startswith("cot, cascod") and "MiB" in line)
    adapters = 2 * 2 * (64 + 64) + 2 * 2 * (64 + 32)  # rank 2, two layers: q_proj; v_proj with half as many outputs
    assert f"{adapters:,}" in room
    assert f"{model.num_parameters():,}" not in room  # the chat tokens have embeddings, too
    assert not (folder / "grid").exists()


def test_a_grid_keeps_adapters_where_it_drops_the_merged_students(folder: Path) -> None:
    records = run(
        folder / "kept",
        student=str(folder / "llama"),
        strategies="cot",
        lora="r=2",
        keep_adapter=True,
        controls=False,
        seeds=(0,),
        lr=1e-2,
        evaluate={"max_new_tokens": 8},
    )
    assert not any("error" in record for record in records)
    runs = [path.parent for path in (folder / "kept" / "grid" / "runs").glob("*/run.json")]
    assert runs
    for trained in runs:
        assert (trained / "adapter" / "adapter_model.safetensors").is_file()
        assert not (trained / "student").exists()
    assert verify(folder / "kept" / "grid")["cells"] == len(records)


def test_a_grid_with_an_axis_of_adapters_is_verified(folder: Path) -> None:
    records = run(
        folder,
        student=str(folder / "llama"),
        strategies="cot",
        vary=["lora=none,r=2"],
        controls=False,
        seeds=(0,),
        lr=1e-2,
        evaluate={"max_new_tokens": 8},
    )
    assert not any("error" in record for record in records)
    arms = {record["arm"] for record in records if record["role"] == "strategy"}
    assert arms == {"cot [lora none]", "cot [lora r=2]"}
    assert verify(folder / "grid")["cells"] == len(records)
    kept = [path.parent.name for path in (folder / "grid" / "runs").glob("*/student")]
    assert kept
    for run_ in kept:  # of a pretrained student adapters alone are kept
        assert (folder / "grid" / "runs" / run_ / "student" / "adapter_model.safetensors").is_file()
        assert not (folder / "grid" / "runs" / run_ / "student" / "model.safetensors").exists()
