"""Strategies that learn other things as training goes on: what each pass learns, to the token, and exact resuming."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from math import e, exp, sqrt
from pathlib import Path
from typing import Any

import pytest
import torch

from cotdistill.config import DistillConfig
from cotdistill.errors import DataError, UsageError
from cotdistill.strategies.forms import Draft, FillContext, Strategy, Tokens
from cotdistill.strategies.join import join
from cotdistill.strategies.registry import create
from cotdistill.strategies.rewriting import rewrite_of
from cotdistill.students.encode import EncodedSet
from cotdistill.students.student import Student
from cotdistill.training.stages import Stages, epochs_of
from cotdistill.training.train import Loop
from cotdistill.training.training_set import TrainingRows
from tests.in_process import run
from tests.models import items, student

ROWS = items(6)
EXAMPLE = Path(__file__).parents[2] / "examples" / "fading.py"


def config(**options: Any) -> DistillConfig:
    given = {"steps": 9, "batch_size": 2, "device": "cpu", "lr": 1e-3, "checkpoint_every": 4, **options}
    return DistillConfig.model_validate(given)


def loop(strategy: Strategy, folder: Path, reset: bool | None = None) -> Loop:
    """A run as `distill` sets it up. 6 rows, 2 a step: a pass takes 3 steps, 9 steps are 3 passes."""
    pupil = student("llama")
    learned = TrainingRows(config(), strategy, ROWS, pupil).training_set()
    assert learned.stages is not None
    stages = learned.stages if reset is None else Stages(learned.stages.encode, reset)
    return Loop(pupil, learned.data, config(), folder, stages=stages)


def weights(pupil: Student) -> torch.Tensor:
    return torch.cat([one.detach().flatten() for one in pupil.model.parameters()])


def draft() -> Draft:
    return join(ROWS, create("cot"))[0][0].drafts["factual"]


def at(epoch: int, progress: float) -> FillContext:
    return FillContext(0, student("llama").tokens.segment, epoch=epoch, progress=progress)


def test_the_rationale_vanishes_from_its_beginning() -> None:
    whole = at(0, 0).tokenize(" " + draft().rationale)
    never = "1e9"  # no smoothing
    for epoch in range(5):
        value = rewrite_of(f"vanish:3:{never}")(draft(), at(epoch, epoch / 20))
        assert isinstance(value, Tokens)
        assert value.ids == whole[3 * epoch :]
    half = rewrite_of(f"vanish:none:{never}")(draft(), at(3, 0.375))
    gone = rewrite_of(f"vanish:none:{never}")(draft(), at(6, 0.75))
    assert isinstance(half, Tokens)
    assert isinstance(gone, Tokens)
    assert half.ids == whole[-(len(whole) // 2) :]
    assert gone.ids == ()


def test_smoothing_removes_more_with_the_published_probability() -> None:
    """P(o) = (1 - exp(-lambda)) exp(-lambda o), lambda = 1 here; drawn anew for each row in each pass."""
    made, given, context = rewrite_of("vanish:1:1"), draft(), at(0, 0)
    text = " ".join("a" for _ in range(100))
    whole, more = len(context.tokenize(" " + text)), Counter[int]()
    rows = [given.example.model_copy(update={"id": f"row {number}"}) for number in range(150)]
    for epoch in range(1, 21):
        passing = replace(context, epoch=epoch)
        for row in rows:
            value = made(Draft(row, text, "x"), passing)
            assert isinstance(value, Tokens)
            more[whole - epoch - len(value.ids)] += 1
    share, drawn = exp(-1), more.total()
    for removed in range(4):
        expected = (1 - share) * share**removed
        assert more[removed] / drawn == pytest.approx(expected, abs=4 * sqrt(expected * (1 - expected) / drawn))
    assert sum(removed * count for removed, count in more.items()) / drawn == pytest.approx(1 / (e - 1), rel=0.1)


def test_the_last_steps_are_learned_first() -> None:
    text = draft().rationale
    made, segment = rewrite_of("backward:0.5"), at(0, 0).tokenize
    first = text.split(". ")[0] + "."
    for progress, shown in ((0.0, first), (0.2, first), (0.3, ""), (0.6, "")):
        value = made(draft(), at(1, progress))
        assert isinstance(value, Tokens)
        assert value.weights is not None
        assert value.ids == segment(" " + text)
        assert value.weights.count(0.0) == (len(segment(" " + first)) if shown else 0)
        assert list(value.weights) == sorted(value.weights)


@pytest.mark.parametrize("name", ["icot-si", "backward-cot"])
def test_each_pass_learns_its_own_trees(name: str, tmp_path: Path) -> None:
    strategy = create(name)
    running = loop(strategy, tmp_path)
    seen: list[EncodedSet] = []
    for _ in range(9):
        running.advance(1)
        seen.append(running.data)
    pupil = student("llama")
    encode = TrainingRows(config(), strategy, ROWS, pupil).training_set().stages
    assert encode is not None
    for step, data in enumerate(seen):
        wanted = encode.encode(step // 3, (step // 3) / 3)
        assert [tree.tokens.tolist() for trees in data.samples for tree in trees] == [
            tree.tokens.tolist() for trees in wanted.samples for tree in trees
        ]
    counts = [sum(data.learned_tokens().values()) for data in seen]
    assert len({*counts}) == (3 if name == "icot-si" else 2)
    assert (counts == sorted(counts, reverse=True)) == (name == "icot-si")


@pytest.mark.parametrize("stop", [2, 3, 5, 6])
@pytest.mark.parametrize("name", ["icot-si", "backward-cot"])
def test_resumed_equals_uninterrupted(name: str, stop: int, tmp_path: Path) -> None:
    whole = loop(create(name), tmp_path / "whole")
    whole.run()
    stopped = loop(create(name), tmp_path / "parts")
    stopped.advance(stop)
    stopped._save()
    again = loop(create(name), tmp_path / "parts")
    assert again.progress.step == stop
    again.run()
    assert torch.equal(weights(whole.student), weights(again.student))


def test_the_optimizer_begins_anew_in_each_pass(tmp_path: Path) -> None:
    strategy = create("icot-si")
    published, kept = loop(strategy, tmp_path / "published"), loop(strategy, tmp_path / "kept", reset=False)
    taken = []
    for running in (published, kept):
        running.advance(4)
        state = next(iter(running.optimizer.optimizer.state.values()))
        taken.append(int(state["step"]))
    assert taken == [1, 4]
    assert not torch.equal(weights(published.student), weights(kept.student))


def test_samples_may_not_come_and_go() -> None:
    whole = TrainingRows(config(), create("icot-si"), ROWS, student("llama")).training_set()
    fewer = TrainingRows(config(), create("icot-si"), ROWS[:5], student("llama")).training_set()
    with pytest.raises(DataError, match="5 samples can be encoded in epoch 2 and 6 in the first"):
        Stages(lambda epoch, progress: fewer.data).data(1, 3, whole.data)
    assert [epochs_of(9, 2, 6), epochs_of(10, 2, 6), epochs_of(1, 2, 6)] == [3, 4, 1]


def test_wrong_schedules_are_refused() -> None:
    for params, message in (({"smoothing": "0"}, "above 0"), ({"per_epoch": "x"}, "whole number")):
        with pytest.raises(UsageError, match=message):
            create("icot-si", params)
    with pytest.raises(UsageError, match="learns no rationale"):
        create("answer-only", {"rewrite": "vanish"})
    with pytest.raises(UsageError, match="until must lie"):
        create("backward-cot", {"until": "0"})


def rows_file(folder: Path) -> str:
    (folder / "rows.jsonl").write_text("".join(row.line() + "\n" for row in ROWS))
    return str(folder / "rows.jsonl")


def test_a_student_without_rationale_answers_at_once(tmp_path: Path) -> None:
    student("llama").save(tmp_path / "base")
    options = ("--student", str(tmp_path / "base"), "--steps", "9", "--batch-size", "2", "--device", "cpu")
    done = run("distill", rows_file(tmp_path), "--strategy", "icot-si", *options, "-o", str(tmp_path / "run"))
    assert done.code == 0, done.err
    asked = tmp_path / "asked.jsonl"
    asked.write_text("".join(row.example().line() + "\n" for row in ROWS))
    found = run("predict", str(tmp_path / "run"), "--data", str(asked), "--prompts", "--limit", "1")
    assert found.code == 0, found.err
    (record,) = map(json.loads, found.out.splitlines())
    assert "So the answer is" in json.dumps(record)


def test_preview_shows_what_is_learned_later(tmp_path: Path) -> None:
    asked = ("preview", rows_file(tmp_path), "--plugin", str(EXAMPLE), "--strategy", "cot", "--rewrite", "fading")
    first, later = (run(*asked, "--progress", share) for share in ("0", "0.99"))
    assert (first.code, later.code) == (0, 0), later.err
    (before,), (after,) = ([json.loads(line) for line in done.out.splitlines()] for done in (first, later))
    assert "_" not in "".join(before["tokens"])
    assert "".join(after["tokens"]).count("_") > 5
    refused = run("preview", rows_file(tmp_path), "--strategy", "cot", "--progress", "0.5")
    assert refused.code == 2
    assert "learns the same from beginning to end" in refused.err


def test_a_grid_with_a_schedule_verifies(tmp_path: Path) -> None:
    student("llama").save(tmp_path / "base")
    asked = tmp_path / "asked.jsonl"
    asked.write_text("".join(row.example().line().replace('"row-', '"asked-') + "\n" for row in ROWS))
    options = ("--student", str(tmp_path / "base"), "--steps", "6", "--seeds", "0", "--device", "cpu", "--jobs", "1")
    grid = ("ablate", rows_file(tmp_path), "--strategies", "cot,icot-si", "--rewrite", "backward", "--no-controls")
    done = run(
        *grid,
        "--data",
        str(asked),
        *options,
        "--max-unknown",
        "1",
        "--eval-max-new-tokens",
        "8",
        "--out",
        str(tmp_path / "grid"),
    )
    assert done.code == 0, done.err
    arms = [json.loads(line)["arm"] for line in done.out.splitlines()]
    assert arms == ["untrained student", "cot", "icot-si", "cot(rewrite=backward)"]
    checked = run("verify", str(tmp_path / "grid"))
    assert checked.code == 0, checked.err
