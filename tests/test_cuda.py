"""What one CUDA device does, held against this machine's CPU: losses, gradients, packing, decoding, the commands."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch

from cotdistill.config import DistillConfig
from cotdistill.decoding import choose_decoder
from cotdistill.decoding.choose_decoder import decoder_for
from cotdistill.decoding.contrast import Contrast
from cotdistill.students.student import Student
from cotdistill.training import objective
from cotdistill.training.batches import micro_batches, step_trees
from cotdistill.training.packed_attention import PACKED, using_attention
from cotdistill.training.train import Loop
from tests import grids
from tests.decoding.sessions import free_sessions
from tests.in_process import run
from tests.lm_families import FAMILIES, language_model
from tests.models import student
from tests.training.learning import distance, encode, flat_gradient, step_gradient

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
MODELS = ["gpt2", "llama", "t5"]
STRATEGIES = ["cot", "cascod", "scott"]


def on_cuda(pupil: Student) -> Student:
    """The same weights on the GPU."""
    return Student(copy.deepcopy(pupil.model).to("cuda"), pupil.tokenizer)


def llama() -> Student:
    """A Llama whose heads are as wide as the variable-length kernel wants them."""
    return student("llama", width=128)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("family", MODELS)
def test_loss_and_gradient_are_the_cpu_s(family: str, strategy: str) -> None:
    pupil = student(family)
    expected = step_gradient(pupil, encode(pupil, strategy, sharing="none"), plain=True)
    other = on_cuda(pupil)
    loss, gradient = step_gradient(other, encode(other, strategy))
    assert loss == pytest.approx(expected[0], rel=1e-5)
    assert distance(gradient.cpu(), expected[1]) < 1e-4


def test_rows_are_packed_by_the_variable_length_kernel_and_leak_nothing() -> None:
    """bfloat16 beside float32: the packed gradient is as near as the padded one."""
    pupil = on_cuda(llama())
    assert objective.can_pack(pupil)
    data = encode(pupil, "cascod", 8)
    exact = step_gradient(pupil, data, plain=True)[1]

    def half(packed: bool) -> torch.Tensor:
        pupil.model.zero_grad()
        with using_attention(pupil.model, PACKED if packed else None), torch.autocast("cuda", torch.bfloat16):
            for trees in micro_batches(step_trees(data.samples, data.forms), 4096, packed):
                batch = objective.collate(pupil, trees, packed)
                objective.loss(pupil, batch)[0].backward()
        return flat_gradient(pupil)

    padded, packed = (distance(half(way), exact) for way in (False, True))
    assert packed < max(2 * padded, 1e-2)


@pytest.mark.parametrize("name", sorted(FAMILIES))
@pytest.mark.parametrize("rule", [choose_decoder.greedy, Contrast(0.5)], ids=["greedy", "contrast"])
def test_every_family_decodes_on_the_gpu_as_on_the_cpu(name: str, rule: object) -> None:
    """In float32; where two tokens are all but equally likely the devices may differ, so most must agree."""
    pupil = language_model(name)
    said = []
    for one in (pupil, on_cuda(pupil)):
        sessions = free_sessions(8, 2, 40, len(pupil.tokenizer))
        decoder_for(one, rule, 4).run(sessions)
        said.append([session.out for session in sessions])
    assert sum(a == b for a, b in zip(*said, strict=True)) >= 7


def config(**changes: object) -> DistillConfig:
    """A short run on the GPU."""
    settings = {"steps": 12, "batch_size": 4, "lr": 1e-3, "device": "cuda", "token_budget": 200}
    return DistillConfig.model_validate(settings | changes)


def losses(folder: Path) -> list[float]:
    """Of every step."""
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("family", MODELS)
def test_training_follows_the_cpu_s_curve(family: str, tmp_path: Path) -> None:
    pupil = student(family)
    other = on_cuda(pupil)
    Loop(pupil, encode(pupil, "cascod", 8), config(device="cpu"), tmp_path / "cpu").run()
    Loop(other, encode(other, "cascod", 8), config(), tmp_path / "cuda").run()
    assert losses(tmp_path / "cuda") == pytest.approx(losses(tmp_path / "cpu"), rel=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "bfloat16"},
        {"dtype": "float16"},
        {"dtype": "bfloat16", "compile": True},
        {"dtype": "bfloat16", "checkpoint_activations": True},
        {"optimizer": "adafactor"},
    ],
    ids=str,
)
def test_every_way_of_training_follows_float32(changes: dict[str, object], tmp_path: Path) -> None:
    pupil = on_cuda(llama())
    other = on_cuda(pupil)
    plain = {name: value for name, value in changes.items() if name == "optimizer"}
    Loop(pupil, encode(pupil, "cascod", 8), config(**plain), tmp_path / "a").run()
    Loop(other, encode(other, "cascod", 8), config(**changes), tmp_path / "b").run()
    assert losses(tmp_path / "b") == pytest.approx(losses(tmp_path / "a"), rel=3e-2)


def test_a_run_that_goes_on_from_a_checkpoint_is_the_uninterrupted_one(tmp_path: Path) -> None:
    runs = []
    for name, stops in (("whole", [12]), ("broken", [6, 12])):
        for steps in stops:
            pupil = on_cuda(llama())
            done = config(checkpoint_every=3, schedule="constant", warmup=0, steps=steps)
            Loop(pupil, encode(pupil, "cascod", 8), done, tmp_path / name).run()
        runs.append(losses(tmp_path / name))
    assert runs[1] == pytest.approx(runs[0], rel=1e-4)


def test_out_of_memory_makes_micro_batches_smaller(tmp_path: Path) -> None:
    """A model wide enough to notice, and a limit below what the first micro-batch needs."""
    pupil = on_cuda(student("llama", width=512, layers=4))
    held = torch.cuda.memory_allocated()
    settings = config(steps=1, batch_size=256, token_budget=16384, max_memory=(held * 5 + (300 << 20)) / 2**30)
    try:
        done = Loop(pupil, encode(pupil, "cot", 256), settings, tmp_path).run()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert done.steps == 1


def test_the_commands_use_the_gpu_and_learn_what_they_learn_on_a_cpu(tmp_path: Path) -> None:
    rows, questions = tmp_path / "rows.jsonl", tmp_path / "asked.jsonl"
    assert run("elicit", "--data", "demo", "--split", "train", "--limit", "300", "-o", str(rows)).code == 0
    assert run("elicit", "--data", "demo", "--split", "id", "--limit", "60", "-o", str(questions)).code == 0
    right = {}
    for device in ("cpu", "auto"):
        folder = tmp_path / device
        made = run("distill", str(rows), "--strategy", "cascod", "--device", device, "--out", str(folder))
        assert made.code == 0, made.err
        done = run("evaluate", str(folder), "--data", str(questions), "--device", device)
        assert done.code == 0, done.err
        right[device] = json.loads(done.out.splitlines()[0])["accuracy"]
    assert right["auto"] == pytest.approx(right["cpu"], abs=0.15)
    asked = run("predict", str(tmp_path / "auto"), "--data", str(questions), "--limit", "5")
    assert asked.code == 0, asked.err
    assert len(asked.out.splitlines()) == 5


def test_cells_share_a_gpu_and_the_grid_is_the_one_process_s(tmp_path: Path) -> None:
    """Three workers on one GPU; nothing is learned in two steps, so losses are compared, not answers."""
    curves = []
    for name, changes in (("one", {"jobs": 1}), ("many", {"jobs": 3, "gpus_per_cell": 0.25})):
        (tmp_path / name).mkdir()
        records = grids.run(tmp_path / name, device="auto", controls=False, **changes)
        assert sum(record["role"] == "strategy" for record in records) == 4
        curves.append([loss for run in sorted((tmp_path / name / "grid/runs").iterdir()) for loss in losses(run)])
    assert len(curves[0]) == 8
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)
