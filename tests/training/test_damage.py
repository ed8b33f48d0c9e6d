"""A checkpoint that a disk damaged is told from a good one: the run goes on from the one before, to the same bytes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cotdistill.config import DistillConfig
from cotdistill.training.train import Loop
from tests.models import student
from tests.training.learning import encode

STEPS, EVERY = 9, 3
NEWEST = Path("checkpoints") / f"step-{STEPS}"
FILES = ("model.safetensors", "optimizer.safetensors", "progress.json")


def trained(folder: Path, steps: int = STEPS, dev: bool = False) -> Any:
    torch.manual_seed(1)
    pupil = student("gpt2", width=16, layers=1)
    config = DistillConfig(
        steps=steps,
        batch_size=3,
        lr=1e-3,
        device="cpu",
        checkpoint_every=EVERY,
        keep_checkpoints=3,
        token_budget=150,
        schedule="constant",
        dev_every=3,
    )
    Loop(pupil, encode(pupil, "cot", count=6), config, folder, dev_accuracy=(lambda _: 0.5) if dev else None).run()
    return pupil


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    trained(folder, dev=True)
    return folder


def flip(path: Path, at: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 4
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_shape(path: Path) -> None:
    save_file({name: tensor.flatten()[:1] for name, tensor in load_file(path).items()}, path)


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], object]] = {
    **{
        f"{name}: {what}": (lambda newest, name=name, how=how: how(newest / name))
        for name in FILES
        for what, how in {
            "missing": Path.unlink,
            "empty": lambda path: path.write_bytes(b""),
            "cut off": truncate,
            "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
            "noise": lambda path: path.write_bytes(b"\xff\x00{" * 50),
            "a folder": folder_instead,
            "a bit of its head": lambda path: flip(path, 0.02),
            "a bit of its middle": lambda path: flip(path, 0.6),
            "its last bit": lambda path: flip(path, 1.0),
        }.items()
    },
    "model.safetensors: of another model": lambda newest: other_shape(newest / FILES[0]),
    "model.safetensors: of another step": lambda newest: shutil.copy(newest.with_name("step-6") / FILES[0], newest),
    "optimizer.safetensors: of another step": lambda newest: shutil.copy(newest.with_name("step-6") / FILES[1], newest),
    "progress.json: of another step": lambda newest: shutil.copy(newest.with_name("step-6") / FILES[2], newest),
    "progress.json: a list": lambda newest: (newest / FILES[2]).write_text("[1]"),
    "progress.json: nested deeply": lambda newest: (newest / FILES[2]).write_text("[" * 100_000),
    "no file at all": lambda newest: [path.unlink() for path in newest.iterdir()],
    "a file, not a folder": lambda newest: (shutil.rmtree(newest), newest.write_text("x")),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_run_goes_on_from_the_checkpoint_before(
    damage: str, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "run"
    shutil.copytree(whole, broken)
    DAMAGE[damage](broken / NEWEST)
    trained(broken, dev=True)
    said = capsys.readouterr().err
    assert f"{broken / NEWEST} cannot be used (" in said
    assert "resuming after step 6" in said
    assert (broken / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    for name in FILES:
        assert (broken / NEWEST / name).read_bytes() == (whole / NEWEST / name).read_bytes()


def test_with_no_whole_one_left_it_starts_again(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "run"
    shutil.copytree(whole, broken)
    for path in broken.glob("checkpoints/*/model.safetensors"):  # the best weights, too
        flip(path, 0.9)
    (broken / "checkpoints" / ".step-3.tmp").mkdir()  # what a kill leaves
    (broken / "checkpoints" / "step-old").mkdir()  # a copy of the user's
    trained(broken, dev=True)
    assert "resuming" not in capsys.readouterr().err
    assert sorted(path.name for path in (broken / "checkpoints").iterdir()) == [
        "best",
        "step-3",
        "step-6",
        "step-9",
        "step-old",
    ]
    for name in FILES:
        assert (broken / NEWEST / name).read_bytes() == (whole / NEWEST / name).read_bytes()


def test_damaged_best_weights_are_found_again(whole: Path, tmp_path: Path) -> None:
    broken = tmp_path / "run"
    shutil.copytree(whole, broken)
    flip(broken / "checkpoints" / "best" / "model.safetensors", 0.9)
    pupil = trained(broken, dev=True)
    best = load_file(whole / "checkpoints" / "best" / "model.safetensors")
    assert all(torch.equal(best[name], value) for name, value in pupil.model.named_parameters() if name in best)
