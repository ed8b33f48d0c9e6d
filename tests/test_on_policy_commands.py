"""`distill --on-policy`: what it writes, what it refuses before a weight is loaded, a run that resumes, a grid."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cotdistill.config import DistillConfig
from cotdistill.plugins.files import load_plugin
from cotdistill.plugins.kinds import DIVERGENCES
from cotdistill.run_key import also_read
from cotdistill.students.load import outline_student
from cotdistill.students.places import demo_model
from cotdistill.training.footprint import footprint
from tests import models
from tests.grids import question_files
from tests.in_process import run

QUICK = ("--steps", "2", "--batch-size", "4", "--on-policy-tokens", "8")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    assert run("elicit", "--limit", "8", "-o", str(out)).code == 0
    return out


def test_what_the_student_wrote_is_in_the_metrics_and_the_settings_in_the_key(rows: Path, tmp_path: Path) -> None:
    keys = []
    for more in (
        ("--teacher", "demo"),
        ("--teacher", str(demo_model("teacher"))),
        ("--teacher", "demo", "--on-policy-divergence", "jsd:0.5"),
        ("--teacher", str(demo_model("base"))),
        ("--teacher", "demo", "--on-policy-signal", "constant"),
    ):
        out = tmp_path / str(len(keys))
        done = run("distill", str(rows), *QUICK, "--on-policy", "0.5", *more, "--out", str(out))
        assert done.code == 0, done.err
        keys.append(json.loads(done.out)["key"])
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        assert [line["on_policy"]["examples"] for line in lines] == [2, 2]
        assert all(line["on_policy"]["tokens"] > 0 for line in lines)
        card = json.loads((out / "run.json").read_text())
        assert card["config"]["on_policy"] == 0.5
        assert card["data"]["teacher"]
    assert keys[0] == keys[1]  # a teacher is known by its files
    assert len(set(keys)) == 4


def test_a_resumed_run_is_the_whole_run(rows: Path, tmp_path: Path) -> None:
    command = ("distill", str(rows), *QUICK, "--on-policy", "0.75", "--teacher", "demo", "--checkpoint-every", "1")
    for name in ("whole", "resumed"):
        assert run(*command, "--out", str(tmp_path / name)).code == 0
    out = tmp_path / "resumed"  # as a kill after the first step leaves it
    (out / "run.json").unlink()
    shutil.rmtree(out / "checkpoints" / "step-2")
    assert run(*command, "--out", str(out)).code == 0
    for file in ("metrics.jsonl", "student/model.safetensors"):
        assert (out / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_what_has_no_meaning_is_refused(rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, family in (("other", "gpt2"), ("t5", "t5")):
        models.student(family).save(tmp_path / name)
    teacher, own = ("--teacher", "demo"), ("--on-policy", "0.5")
    for says, command in (
        ("name it with --teacher", own),
        ("--teacher changes nothing without --on-policy", teacher),
        ("--on-policy-tokens changes nothing without --on-policy", ()),
        ("recorded:old.jsonl cannot score what the student writes", (*own, "--teacher", "recorded:old.jsonl")),
        ("openai:m cannot score", (*own, "--teacher", "openai:m")),
        ("has another vocabulary than the teacher", (*own, "--teacher", str(tmp_path / "other"))),
        ("is an encoder-decoder", (*own, "--teacher", str(tmp_path / "t5"))),
        ("is an encoder-decoder", (*own, *teacher, "--student", str(tmp_path / "t5"))),
        ("--on-policy-divergence takes kl", (*own, *teacher, "--on-policy-divergence", "jsd:2")),
        ("needs two examples a step", ("--on-policy", "0.1", *teacher, "--on-policy-signal", "other-row")),
        ("edit-krsl also unlearns tokens", (*own, *teacher, "--strategy", "edit-krsl")),
    ):
        done = run("distill", str(rows), *QUICK, *command, "--out", str(tmp_path / "run"))
        assert (done.code, len(done.errors)) == (2, 1), done.err
        assert says in " ".join(done.err.split())
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = run("distill", str(rows), *QUICK, *own, *teacher, "--out", str(tmp_path / "run"))
    assert (done.code, len(done.errors)) == (2, 1)
    assert "trains in one process" in done.err
    assert not (tmp_path / "run").exists()


def test_the_null_controls_are_an_axis_of_a_grid(tmp_path: Path) -> None:
    grid = (
        "ablate",
        "--strategies",
        "cot",
        "--no-controls",
        "--seeds",
        "0",
        "--limit",
        "6",
        "--out",
        str(tmp_path / "grid"),
    )
    signals = ("--on-policy", "0.5", "--vary", "on-policy-signal=teacher,constant,other-row,uniform")
    planned = run(*grid, *QUICK, *signals, "--dry-run", "--budget", "flops")
    assert planned.code == 0, planned.err
    assert "FLOPs are the students' writing of" in " ".join(planned.err.split())
    assert all(
        f"on-policy-signal {signal}" in planned.out + planned.err for signal in ("teacher", "constant", "uniform")
    )
    for says, command in (
        ("cannot score what the student writes", (*signals, "--teacher", "openai:m")),
        ("one process", (*signals, "--gpus-per-cell", "2")),
    ):
        done = run(*grid, *QUICK, *command, "--dry-run")
        assert (done.code, len(done.errors)) == (2, 1), done.err
        assert says in " ".join(done.err.split())


@pytest.mark.slow
def test_a_grid_of_the_null_controls_is_run_as_a_whole(tmp_path: Path) -> None:
    """Each signal is another student; what was written is counted, paid for and verified."""
    out, signals = tmp_path / "grid", ("teacher", "constant", "other-row", "uniform")
    grid = ["ablate", "--strategies", "cot", "--no-controls", "--seeds", "0", "--limit", "6", "--jobs", "1"]
    grid += ["--on-policy", "0.5", "--vary", f"on-policy-signal={','.join(signals)}", "--budget", "flops", *QUICK]
    grid += ["--data", question_files(tmp_path, 2)[0], "--eval-max-new-tokens", "8", "--out", str(out)]
    grid[grid.index("--steps") + 1] = "6"
    done = run(*grid)
    assert done.code == 0, done.err
    made = {one["training"]["on_policy_signal"]: one for one in map(json.loads, done.out.splitlines()) if "seed" in one}
    assert list(made) == list(signals)
    # Without a teacher's reading there is more to spend on steps.
    assert made["teacher"]["steps"] == made["other-row"]["steps"] == 6
    assert made["constant"]["steps"] == made["uniform"]["steps"] > 6
    for signal, record in made.items():
        run_dir = out / Path(next(iter(record["sets"].values()))["predictions"]).parent.parent
        card = json.loads((run_dir / "run.json").read_text())
        lines = [json.loads(line)["on_policy"] for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
        wrote = card["trained"]["on_policy"]
        assert wrote["examples"] == 2 * record["steps"]
        assert wrote["tokens"] == sum(line["tokens"] for line in lines) == record["sampled_tokens"] > 0
        read = wrote["positions"] * (wrote["teacher_parameters"] if signal in ("teacher", "other-row") else 0)
        assert (wrote["teacher_parameters"] > 0) == (signal in ("teacher", "other-row"))
        parameters = record["parameters"]
        assert record["train_flops"] == 6 * parameters * record["input_tokens"] + 2 * (
            wrote["positions"] * parameters + read
        )
    weights = {record["files"][name] for record in made.values() for name in record["files"] if "model.safe" in name}
    assert len(weights) == 4
    assert "tokens written: cot [on-policy-signal teacher]" in (out / "report.md").read_text().replace("\\", "")
    assert run("verify", str(out)).code == 0


@pytest.mark.parametrize("more", [("--lora", "r=4"), ("--dtype", "bfloat16"), ("--strategy", "cascod", "--kd", "kl")])
def test_it_composes(more: tuple[str, ...], rows: Path, tmp_path: Path) -> None:
    """With adapters, half precision, and the recorded distributions of the other rows."""
    if "--kd" in more:
        rows = tmp_path / "rows.jsonl"
        assert run("elicit", "--limit", "8", "--logprobs", "4", "-o", str(rows)).code == 0
    own = ("--on-policy", "0.5", "--teacher", "demo")
    done = run("distill", str(rows), *QUICK, *own, *more, "--out", str(tmp_path / "run"))
    assert done.code == 0, done.err
    assert (tmp_path / "run" / "student" / "model.safetensors").is_file()


def test_the_teachers_weights_are_counted() -> None:
    """Before anything is loaded, and only where a signal is the teacher's."""
    own = {"on_policy": 0.5, "teacher": "demo"}
    plain, asked, uniform = (
        footprint(DistillConfig.model_validate(given)).memory
        for given in ({}, own, {**own, "on_policy_signal": "uniform"})
    )
    weights = outline_student(str(demo_model("teacher"))).model.num_parameters()
    assert (asked - plain, uniform) == (4 * weights, plain)


def test_the_code_of_a_divergence_of_ones_own_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DIVERGENCES, "_entries", dict(DIVERGENCES._entries))  # registered here only
    load_plugin(Path(__file__).parents[1] / "examples" / "skewed_kl.py")
    own, plain = (
        DistillConfig(on_policy=0.5, on_policy_divergence=divergence, teacher="demo")
        for divergence in ("skewed-kl", "kl")
    )
    assert also_read(own, None)["on_policy_code"] is not None
    assert also_read(plain, None)["on_policy_code"] is None
