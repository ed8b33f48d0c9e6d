"""Two stages as one run: the second goes on from the weights of the first, and a resumed run from where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from cotdistill.config import DistillConfig
from cotdistill.data.inputs import STDIN
from cotdistill.distilling import distill_items
from cotdistill.errors import UsageError
from cotdistill.strategies.registry import create
from cotdistill.training import train as loop
from tests.in_process import run
from tests.models import items, student

ROWS = items(6)


def distilled(folder: Path, name: str, strategy: str, base: Path, **params: str) -> Path:
    config = DistillConfig.model_validate(
        {
            "strategy": strategy,
            "param": params,
            "student": str(base),
            "steps": 6,
            "batch_size": 3,
            "lr": 1e-3,
            "device": "cpu",
            "max_unknown": 1,
            "checkpoint_every": 2,
            "out": folder / name,
        }
    )
    distill_items(config, create(strategy, params), ROWS, STDIN)
    return folder / name


def weights(path: Path) -> dict[str, Any]:
    return load_file(path / "student" / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    mine, theirs = weights(one), weights(other)
    return all(bool((mine[name] == theirs[name]).all()) for name in mine)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    student("llama").save(tmp_path / "base")
    return tmp_path / "base"


def test_it_is_what_two_commands_give(tmp_path: Path, base: Path) -> None:
    first = distilled(tmp_path, "first", "cot", base)
    by_hand = distilled(tmp_path, "by-hand", "edit-krsl", first / "student")
    chained = distilled(tmp_path, "chained", "edit-krsl", base, after="cot")
    alone = distilled(tmp_path, "alone", "edit-krsl", base)
    assert same(chained, by_hand)
    assert not same(chained, alone)
    card = json.loads((chained / "run.json").read_text())
    assert card["strategy"]["params"]["after"] == "cot"
    assert card["trained"]["first_stage_steps"] == 6
    assert not (chained / "first" / "stage").exists()
    assert (chained / "first" / "metrics.jsonl").read_text() == (first / "metrics.jsonl").read_text()


@pytest.mark.parametrize("steps", [3, 6, 9])
def test_killed_in_either_stage_and_resumed(
    steps: int, tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = distilled(tmp_path, "whole", "edit-krsl", base, after="cot")
    own, done = loop.Loop._step, 0

    def killed(self: Any, log: Any) -> None:
        nonlocal done
        if done == steps:
            raise KeyboardInterrupt
        done += 1
        own(self, log)

    monkeypatch.setattr(loop.Loop, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        distilled(tmp_path, "parts", "edit-krsl", base, after="cot")
    monkeypatch.undo()
    assert same(distilled(tmp_path, "parts", "edit-krsl", base, after="cot"), whole)


def test_the_second_stage_goes_on_at_its_share_of_the_rate(tmp_path: Path, base: Path) -> None:
    chained = distilled(tmp_path, "chained", "edit-krsl", base, after="cot:0.1")
    rates = [json.loads(line)["lr"] for line in (chained / "metrics.jsonl").read_text().splitlines()]
    before = [json.loads(line)["lr"] for line in (chained / "first" / "metrics.jsonl").read_text().splitlines()]
    assert rates == pytest.approx([0.1 * rate for rate in before])
    assert max(before) == pytest.approx(1e-3)
    for share in ("0", "2", "-1", "nan", "much"):
        with pytest.raises(UsageError, match="above 0 and at most 1"):
            create("edit-krsl", {"after": f"cot:{share}"})


def test_unknown_first_stages_are_refused() -> None:
    with pytest.raises(UsageError, match=r"unknown strategy 'cott' \(did you mean"):
        create("edit-krsl", {"after": "cott"})
    assert create("edit-krsl", {"after": "none"}).after is None


def test_an_arm_of_a_grid(tmp_path: Path, base: Path) -> None:
    rows, asked = tmp_path / "rows.jsonl", tmp_path / "asked.jsonl"
    rows.write_text("".join(row.line() + "\n" for row in ROWS))
    asked.write_text("".join(row.example().line().replace('"row-', '"asked-') + "\n" for row in ROWS))
    options = (
        "--student",
        str(base),
        "--steps",
        "4",
        "--seeds",
        "0",
        "--device",
        "cpu",
        "--jobs",
        "1",
        "--no-controls",
    )
    grid = ("ablate", str(rows), "--strategies", "cot,edit-krsl", "--param", "edit-krsl.after=none,cot")
    done = run(*grid, "--data", str(asked), *options, "--max-unknown", "1", "--out", str(tmp_path / "grid"))
    assert done.code == 0, done.err
    arms = [json.loads(line)["arm"] for line in done.out.splitlines()]
    assert arms == ["untrained student", "cot", "edit-krsl", "edit-krsl(after=cot)"]
    checked = run("verify", str(tmp_path / "grid"))
    assert checked.code == 0, checked.err
