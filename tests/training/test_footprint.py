"""What a run takes of memory is estimated before it: held against what a real step keeps, said and checked."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from cotdistill import distilling
from cotdistill.config import DistillConfig
from cotdistill.training import room
from cotdistill.training.footprint import footprint
from cotdistill.training.lora import attach, parse_lora
from cotdistill.training.train import Loop
from tests.in_process import Done, run
from tests.models import items, student
from tests.training.learning import encode

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("footprint")
    for family in ("gpt2", "llama", "t5"):
        student(family, width=128, layers=4).save(made / family)
    (made / "rows.jsonl").write_text("".join(row.line() + "\n" for row in items(8)))
    return made


@pytest.mark.parametrize(
    ("family", "options", "off"),
    [
        ("gpt2", {}, 0.1),
        ("llama", {}, 0.1),
        ("t5", {}, 0.2),
        ("llama", {"lora": "r=4"}, 0.2),
        ("llama", {"dtype": "bfloat16"}, 0.2),
        ("gpt2", {"dtype": "bfloat16"}, 0.4),
    ],
    ids=str,
)
def test_activations_are_those_that_a_step_keeps(
    family: str, options: dict[str, str], off: float, folder: Path, tmp_path: Path
) -> None:
    """Every tensor that autograd saves in the one micro-batch of a step, weights aside, counted once."""
    pupil = student(family, width=128, layers=4)
    config = DistillConfig.model_validate(
        {"student": str(folder / family), "steps": 1, "batch_size": 16, "device": "cpu", **options}
    )
    if config.lora is not None:
        attach(pupil, parse_lora(config.lora))
    loop = Loop(pupil, encode(pupil, "cot", count=16), config, tmp_path)
    tokens = sum(tree.size for tree in loop._lesson(0).trees)
    weights = {one.untyped_storage()._cdata for one in (*pupil.model.parameters(), *pupil.model.buffers())}
    saved: dict[int, Tensor] = {}

    def save(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with saved_tensors_hooks(save, lambda tensor: tensor):
        loop.advance(1)
    kept = sum(one.untyped_storage().nbytes() for at, one in saved.items() if at not in weights)
    estimated = footprint(config.model_copy(update={"token_budget": tokens}))
    logits = 4 * tokens * len(pupil.model.get_output_embeddings().weight)
    assert estimated.activations - logits == pytest.approx(kept, rel=off)


def test_recomputed_activations_are_fewer(folder: Path) -> None:
    config = DistillConfig(student=str(folder / "llama"), token_budget=1024, device="cpu")
    fewer = footprint(config.model_copy(update={"checkpoint_activations": True}))
    assert fewer.activations < footprint(config).activations / 2


def distill(folder: Path, *options: str) -> Done:
    given = [str(folder / "rows.jsonl"), "--student", str(folder / "llama"), "--device", "cpu", "--steps", "2"]
    return run("distill", *given, "--out", str(folder / "out"), *options)


def test_a_dry_run_says_memory_and_disk(folder: Path) -> None:
    done = distill(folder, "--dry-run", "--lora", "r=2", "--no-merge-lora")
    assert done.code == 0, done.err
    (line,) = (line for line in done.err.splitlines() if "parameters, of which" in line)
    count = student("llama", width=128, layers=4).model.num_parameters()
    adapters = 4 * 2 * 2 * (128 + 128) - 4 * 2 * 64  # A and B of q_proj and v_proj, which has half as many outputs
    assert line.startswith(f"{count:,} parameters, of which {adapters:,} are trained: about ")
    assert f"{4 * adapters / (1 << 20):.1f} MiB of disk" in line
    assert not (folder / "out").exists()


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry run"])
@pytest.mark.parametrize(
    ("free", "remedy"),
    [
        (50, "--checkpoint-activations"),
        (20, "--token-budget 64"),
        (8, "--lora r=8 --token-budget 64 --checkpoint-activations"),
        (1, "a smaller --student, or a machine with more"),
    ],
)
def test_a_run_that_memory_cannot_hold_is_refused_before_its_student_is_loaded(
    free: float, remedy: str, dry: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _load_nothing(monkeypatch)
    for module in (room, distilling):
        monkeypatch.setattr(module, "free_memory", lambda device: int(free * (1 << 20)))
    done = distill(folder, *dry)
    assert done.code == 2, done.err
    (line,) = done.errors
    assert line.startswith("error: training takes ")
    assert line.endswith(f" of memory, and {free:.1f} MiB are free; use {remedy}")
    assert not list(folder.glob("out/*"))


def test_a_run_that_the_disk_cannot_hold_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _load_nothing(monkeypatch)
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(0, 0, 1 << 20))
    done = distill(folder, "--dry-run")
    assert (done.code, len(done.errors)) == (2, 1)
    assert "of disk, and 1.0 MiB are free; use --lora r=8 --no-merge-lora, or another --out" in done.errors[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--dtype", "float16"), "--dtype float16: trains on a GPU only; on a CPU use --dtype bfloat16"),
        (("--chat",), "the student's tokenizer has no chat template; omit --chat"),
        (("--lora", "r=2,target=nose"), "--lora: the model has no module 'nose'"),
    ],
)
def test_what_a_student_cannot_honour_is_refused_before_the_rows_are_read(
    options: tuple[str, ...], said: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _load_nothing(monkeypatch)
    monkeypatch.setattr(distilling, "read_items", _refuse)
    done = distill(folder, *options)
    assert done.code == 2, done.err
    assert done.errors[0].startswith(f"error: {said}")


def _load_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cotdistill.students.load._model", _refuse)


def _refuse(*_: object, **__: object) -> None:
    raise AssertionError("loaded")


def test_torch_counts_what_it_saves_by_storage() -> None:
    """What the two tests above stand on: a view is its base's memory, and is counted once."""
    whole = torch.zeros(4, 4)
    assert whole[0].untyped_storage()._cdata == whole.untyped_storage()._cdata
