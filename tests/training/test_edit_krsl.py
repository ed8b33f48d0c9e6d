"""edit-krsl against its formula: the edit script, signed weights, means over weighted tokens, the gate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cotdistill.strategies.edit_krsl import edited
from cotdistill.strategies.registry import create
from cotdistill.training.train import Loop
from tests.models import items, student
from tests.training.learning import distance, encode, flat_gradient, step_gradient, target_nll
from tests.training.test_training_options import config


@pytest.mark.parametrize(
    ("one", "other", "touched"),
    [
        ("abcd", "abcd", ""),
        ("abxd", "abcd", "x"),  # replaced
        ("abcxd", "abcd", "x"),  # deleted
        ("abd", "abcd", ""),  # the other one has more: nothing of this one is touched
        ("xyz", "", "xyz"),
        ("kitten", "sitting", "ke"),
    ],
)
def test_tokens_of_a_minimum_edit_script(one: str, other: str, touched: str) -> None:
    found = edited([ord(c) for c in one], [ord(c) for c in other])
    assert "".join(c for c, hit in zip(one, found, strict=True) if hit) == touched


def written_out(threshold: float | None = None) -> tuple[float, torch.Tensor]:
    """0.5 * sum_right w nll / N_right + 0.5 * sum_wrong w nll / N_wrong from the texts; loss and gradient."""
    pupil = student("gpt2")
    words = pupil.tokenizer
    sums, counts = [torch.zeros(()), torch.zeros(())], [0, 0]
    for row in items(4):
        source = f"{row.example().text()}\nReason:"
        for at, weight in ((0, 1.0), (1, -0.025)):
            mine, other = row.rationales[at], row.rationales[1 - at]
            nll = target_nll(pupil, source, "", f" {mine.text} So the answer is {mine.answer}")
            tokens = [words(f" {text}")["input_ids"] for text in (mine.text, other.text)]
            answers = [words(f" {answer}")["input_ids"] for answer in (mine.answer, other.answer)]
            between = len(words(" So the answer is")["input_ids"])
            touched = [*edited(*tokens), *[False] * between, *edited(*answers), False]  # EOS is in both
            for hit, loss in zip(touched, nll, strict=True):
                counts[at] += hit
                if hit and (weight > 0 or threshold is None or float(loss.detach()) < threshold):
                    sums[at] = sums[at] + weight * loss
    total = 0.5 * sums[0] / counts[0] + 0.5 * sums[1] / counts[1]
    total.backward()
    return float(total.detach()), flat_gradient(pupil)


def median_nll() -> float:
    """Of all target tokens: a threshold that lets some wrong tokens through and stops others."""
    pupil = student("gpt2")
    with torch.no_grad():
        return float(
            torch.cat(
                [
                    target_nll(pupil, f"{row.example().text()}\nReason:", "", f" {row.rationales[1].text}")
                    for row in items(4)
                ]
            ).median()
        )


@pytest.mark.parametrize("gated", [False, True])
def test_loss_and_gradient_are_the_formula(gated: bool) -> None:
    threshold = median_nll() if gated else None
    wanted, gradient = written_out(threshold)
    pupil, strategy = student("gpt2"), create("edit-krsl", {"threshold": threshold})
    loss, found = step_gradient(pupil, encode(pupil, strategy), strategy)
    assert loss == pytest.approx(wanted, rel=1e-5)
    assert distance(found, gradient) < 1e-4
    if gated:
        assert abs(wanted - written_out()[0]) > 1e-4  # the gate did something


def test_a_gate_shifted_by_one_is_another_loss() -> None:
    threshold = median_nll()
    pupil, strategy = student("gpt2"), create("edit-krsl", {"threshold": threshold})
    data = encode(pupil, strategy)
    right, _ = step_gradient(pupil, data, strategy)

    def shifted(coef: torch.Tensor, nll: torch.Tensor) -> torch.Tensor:
        return coef * ((coef >= 0) | (nll.roll(-1) < threshold))

    wrong, _ = step_gradient(pupil, data, replace(strategy, reweight=shifted))
    assert abs(right - wrong) > 1e-4


def test_as_a_second_stage_it_unlearns_the_wrong_chains(tmp_path: Path) -> None:
    pupil = student("gpt2", width=64)
    Loop(pupil, encode(pupil, "cot"), config(steps=80, lr=3e-3), tmp_path / "cot").run()

    def wrong_chains() -> float:
        with torch.no_grad():
            return float(
                sum(
                    target_nll(pupil, f"{row.example().text()}\nReason:", "", f" {row.rationales[1].text}").sum()
                    for row in items(4)
                )
            )

    before, right = wrong_chains(), step_gradient(pupil, encode(pupil, "cot"))[0]
    Loop(pupil, encode(pupil, "edit-krsl"), config(steps=10, lr=1e-3), tmp_path / "krsl").run()
    assert wrong_chains() > before
    assert step_gradient(pupil, encode(pupil, "cot"))[0] < right + 0.1
