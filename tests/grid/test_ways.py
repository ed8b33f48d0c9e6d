"""What a grid adds beside a choice of rows: all rows, right answers only, as many random ones; beside a mixture each
source alone, on as many tokens; all together with a rewrite, under one budget, in one family, verified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cotdistill.config import AblateConfig
from cotdistill.grid.arms import arms, baseline
from cotdistill.grid.budgets import Load, Taught, budget_steps
from cotdistill.grid.ways import size_matched
from tests.grids import question_files
from tests.in_process import run


def labels(**options: Any) -> list[str]:
    return [arm.label for arm in arms(AblateConfig.build(**options))]


def test_a_ranked_choice_never_stands_alone() -> None:
    config = AblateConfig.build(strategies=["cot", "post-cot"], select="rsr")
    made = arms(config)
    choices = ("none", "right", "rsr", "random")
    assert [arm.label for arm in made if not arm.is_control] == [
        f"{name} [select {how}]" for how in choices for name in ("cot", "post-cot")
    ]
    # One floor of each kind, and all is compared with no filter.
    assert {arm.label for arm in made if arm.is_control} == {
        "answer-only [select none]",
        *(f"cot [{what}, select none]" for what in ("swapped rationales", "random words", "shuffled labels")),
    }
    assert baseline(config, made).label == "cot [select none]"
    matched = {arm.label: size_matched(config, arm.training) for arm in made if arm.variant.label == "cot"}
    assert matched["cot [select rsr]"] == (("select", "random"),)
    assert [label for label, other in matched.items() if other] == [
        label for label in matched if label.endswith("select rsr]")
    ]


@pytest.mark.parametrize("select", ["right", "wrong", "random"])
def test_what_ranks_nothing_stands_as_before(select: str) -> None:
    assert labels(strategies=["cot"], select=select, controls=False) == ["cot"]
    assert labels(strategies=["cot"], select=select)[0] == "cot"
    assert not any("select" in label for label in labels(strategies=["cot"], select=select))


def test_without_controls_nothing_is_added() -> None:
    assert labels(strategies=["cot"], select="nll", controls=False) == ["cot"]


def test_shares_that_vary_are_those_of_choices_that_have_one() -> None:
    found = labels(strategies=["cot"], select="rsr", vary={"select_share": ("0.25", "0.5")})
    assert [label for label in found if label.startswith("cot [select")] == [
        "cot [select none]",
        "cot [select right]",
        *(f"cot [select-share {share}, select {how}]" for share in ("0.25", "0.5") for how in ("rsr", "random")),
    ]


def test_an_axis_is_completed_and_nothing_comes_twice() -> None:
    found = labels(strategies=["cot"], vary={"select": ("random", "rsr", "length"), "lr": ("0.1", "0.2")})
    assert [label for label in found if label.startswith("cot [select") and label.endswith("lr 0.1]")] == [
        f"cot [select {how}, lr 0.1]" for how in ("random", "none", "right", "rsr", "length")
    ]
    assert [label for label in found if label.startswith("answer-only")] == [
        f"answer-only [select random, lr {lr}]" for lr in ("0.1", "0.2")
    ]


def test_a_mixture_stands_beside_its_sources() -> None:
    config = AblateConfig.build(strategies=["cot", "answer-only"], vary={"mix": ("none", "a:0.3+b:0.7", "b:1")})
    made = {arm.label: arm for arm in arms(config) if arm.variant.label == "cot" and not arm.control}
    assert {label: arm.mixture for label, arm in made.items()} == {
        "cot [mix none]": None,
        "cot [mix a:0.3+b:0.7]": None,
        "cot [mix a:1, as many tokens as mix a:0.3+b:0.7]": "cot [mix a:0.3+b:0.7]",
        "cot [mix b:1, as many tokens as mix a:0.3+b:0.7]": "cot [mix a:0.3+b:0.7]",
        "cot [mix b:1]": None,
    }
    assert not any(arm.matched for arm in arms(config) if arm.variant.label == "answer-only")
    assert labels(strategies=["cot"], mix=["a:0.5", "b:0.5"], controls=False) == ["cot"]


def test_a_source_alone_is_given_as_many_tokens_whatever_the_budget() -> None:
    made = arms(AblateConfig.build(strategies=["cot"], mix=["a:0.5", "b:0.5"]))
    mixture, *alone = (arm for arm in made if not arm.is_control)
    learned = {mixture.label: 30, alone[0].label: 45, alone[1].label: 15}
    for budget, steps in (("examples", 40), ("steps", 40), ("learned-tokens", 40), ("flops", 40)):
        config = AblateConfig.build(budget=budget, steps=40, batch_size=10)
        found = budget_steps(
            budget,
            dict.fromkeys(learned, config),
            mixture.label,
            dict.fromkeys(learned, Taught(100, 100)),
            {label: Load(tokens, 2 * tokens, 10) for label, tokens in learned.items()},
            [mixture, *alone],
        )
        assert found[mixture.label] == steps
        assert [found[arm.label] for arm in alone] == [round(steps * 30 / 45), steps * 2]


@pytest.mark.slow
def test_choices_mixtures_rewrites_and_axes_together(tmp_path: Path) -> None:
    rows, long = tmp_path / "rows.jsonl", tmp_path / "long.jsonl"
    assert run("elicit", "--limit", "16", "-o", str(rows)).code == 0
    lines = [json.loads(line) for line in rows.read_text().splitlines() if '"rationales"' in line]
    for line in lines:
        for one in line["rationales"]:
            one["text"] += f" {one['text']}" * 2
    long.write_text("".join(json.dumps(line) + "\n" for line in lines))
    mixture = f"rows:0.5+{long}:0.5"
    options = ["--strategies", "cot", "--rewrite", "permute:step", "--select", "rsr", "--vary", f"mix={mixture}"]
    options += ["--seeds", "0", "--steps", "6", "--batch-size", "4", "--jobs", "1", "--eval-max-new-tokens", "8"]
    grid = ["ablate", str(rows), *options, "--data", question_files(tmp_path, 2)[0], "--out", str(tmp_path / "grid")]
    done = run(*grid)
    assert done.code == 0, done.err
    records = {one["arm"]: one for one in map(json.loads, done.out.splitlines()) if one["role"] == "strategy"}
    asked = {
        f"{variant} [mix {mixture}, select {how}]": steps
        for variant in ("cot", "cot(rewrite=permute:step)")
        for how, steps in (("none", 6), ("right", 6), ("rsr", 3), ("random", 3))
    }
    assert {arm: record["steps"] for arm, record in records.items() if arm in asked} == asked
    for variant in ("cot", "cot(rewrite=permute:step)"):
        mixture_learned = records[f"{variant} [mix {mixture}, select none]"]["learned_tokens"]
        for name in ("rows", str(long)):  # matched, to half a step of theirs
            alone = records.pop(f"{variant} [mix {name}:1, select none, as many tokens as mix {mixture}]")
            assert abs(alone["learned_tokens"] - mixture_learned) <= alone["learned_tokens"] / alone["steps"] / 2 + 1
    assert set(records) == set(asked)
    compared = [json.loads(line) for line in (tmp_path / "grid" / "comparisons.jsonl").read_text().splitlines()]
    assert {(one["name"], one["baseline"]) for one in compared} >= {
        (f"{variant} [mix {mixture}, select rsr]", f"{variant} [mix {mixture}, select random]")
        for variant in ("cot", "cot(rewrite=permute:step)")
    }
    assert len({one["p_holm"] is None for one in compared}) == 1  # one family
    long.rename(tmp_path / "elsewhere")  # what the floors learned is made again from the grid's own copy
    assert run("verify", str(tmp_path / "grid")).code == 0
    (tmp_path / "elsewhere").rename(long)
    before = (tmp_path / "grid" / "cells.jsonl").read_bytes()
    assert run(*grid).code == 0
    assert (tmp_path / "grid" / "cells.jsonl").read_bytes() == before
