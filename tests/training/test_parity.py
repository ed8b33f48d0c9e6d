"""Each paper's loss, written out from its text and the model's logits, equals ours; the known wrong ways do
not.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from cotdistill.strategies.registry import create
from tests.models import items, student
from tests.training.learning import distance, encode, flat_gradient, mean_over_rows, step_gradient, target_nll

ALPHA = 0.3
FAMILIES = ["gpt2", "t5"]


def scott(pupil: Any) -> Tensor:
    """Factual: every target token. Counterfactual: answer and EOS only. Token means of their own kind."""
    factual, counterfactual = [], []
    for row in items(4):
        right, wrong = row.rationales
        question = row.example().text()
        source = lambda tag, question=question: f"[{tag}] {question}\nReason:"  # noqa: E731
        factual.append(
            target_nll(pupil, source("factual"), "", f" [factual] {right.text} So the answer is {row.answer}")
        )
        counterfactual.append(
            target_nll(
                pupil, source("counterfactual"), f" [counterfactual] {wrong.text} So the answer is", f" {wrong.answer}"
            )
        )
    return (1 - ALPHA) * mean_over_rows(factual) + ALPHA * mean_over_rows(counterfactual)


def cascod(pupil: Any) -> Tensor:
    """Step 1: the rationale; step 2: the answer after question and rationale; of step 2 only the answer."""
    first, second = [], []
    for row in items(4):
        prompt, text = f"{row.example().text()}\nRationale:", row.rationales[0].text
        first.append(target_nll(pupil, prompt, "", f" {text}"))
        second.append(target_nll(pupil, f"{prompt} {text}\nTherefore, the answer is", "", f" {row.answer}"))
    return (1 - ALPHA) * mean_over_rows(first) + ALPHA * mean_over_rows(second)


def step_by_step(pupil: Any) -> Tensor:
    """Two tasks told apart by their prefix."""
    predict, explain = [], []
    for row in items(4):
        question = row.example().text()
        predict.append(target_nll(pupil, f"predict: {question}\nAnswer:", "", f" {row.answer}"))
        explain.append(target_nll(pupil, f"explain: {question}\nReason:", "", f" {row.rationales[0].text}"))
    return ALPHA * mean_over_rows(predict) + (1 - ALPHA) * mean_over_rows(explain)


PAPERS = {"scott": scott, "cascod": cascod, "step-by-step": step_by_step}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", PAPERS)
def test_loss_and_gradient_are_the_papers(name: str, family: str) -> None:
    pupil = student(family)
    wanted = PAPERS[name](pupil)
    wanted.backward()
    gradient = flat_gradient(pupil)
    loss, found = step_gradient(pupil, encode(pupil, create(name, {"alpha": ALPHA})))
    assert loss == pytest.approx(float(wanted.detach()), rel=1e-5)
    assert distance(found, gradient) < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", PAPERS)
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_alpha_switches_off_exactly_one_term(alpha: float, name: str, family: str) -> None:
    pupil = student(family)
    both = create(name, {"alpha": 0.5})
    alone = create(name, {"alpha": alpha})
    assert len(alone.learned_forms()) == 1
    kept = alone.learned_forms()[0].name
    loss, gradient = step_gradient(pupil, encode(pupil, alone))
    # The same term inside the mixed loss: leave the other form's targets out by giving them a coef of 0.
    data = encode(pupil, both, sharing="none")
    at = [form.name for form in data.forms].index(kept)
    data.samples[:] = [[tree for tree in trees if int(tree.forms[0]) == at] for trees in data.samples]
    half, other = step_gradient(pupil, data, plain=True)
    assert loss == pytest.approx(2 * half, rel=1e-5)
    assert distance(gradient, 2 * other) < 1e-4


def test_masked_labels_would_erase_what_the_t5_decoder_reads() -> None:
    pupil = student("t5")
    row = items(1)[0]
    wrong = row.rationales[1]
    source = f"[counterfactual] {row.example().text()}\nReason:"
    shown = f" [counterfactual] {wrong.text} So the answer is"
    right = target_nll(pupil, source, shown, f" {wrong.answer}").mean()
    whole = pupil.tokenizer(shown + f" {wrong.answer}")["input_ids"]
    begun = len(pupil.tokenizer(shown, add_special_tokens=False)["input_ids"])
    masked = pupil.model(
        input_ids=torch.tensor([pupil.tokenizer(source)["input_ids"]]),
        labels=torch.tensor([[-100] * begun + whole[begun:]]),
    ).loss
    loss, _ = step_gradient(pupil, encode(pupil, create("scott", {"alpha": 1.0}), count=1))
    assert loss == pytest.approx(float(right), rel=1e-5)
    assert abs(loss - float(masked)) > 1e-3


def test_alpha_as_a_token_weight_without_the_means_is_another_loss() -> None:
    pupil = student("gpt2")
    rationales, answers = [], []
    for row in items(4):
        prompt, text = f"{row.example().text()}\nRationale:", row.rationales[0].text
        rationales.append(target_nll(pupil, prompt, "", f" {text}"))
        answers.append(target_nll(pupil, f"{prompt} {text}\nTherefore, the answer is", "", f" {row.answer}"))
    rationale, answer = torch.cat(rationales), torch.cat(answers)
    weight = 0.7 * len(rationale) + 0.3 * len(answer)
    assert 0.3 * len(answer) / weight < 0.1  # where 0.3 was asked for
    ((0.7 * rationale.sum() + 0.3 * answer.sum()) / weight).backward()
    folded = flat_gradient(pupil)
    _, gradient = step_gradient(pupil, encode(pupil, create("cascod", {"alpha": 0.3})))
    assert distance(folded, gradient) > 0.1


def test_unscored_inputs_count_and_unscored_labels_do_not() -> None:
    pupil = student("t5")
    data = encode(pupil, create("scott", {"alpha": 1.0}), count=1)
    tree = data.samples[0][0]
    before, _ = step_gradient(pupil, data)
    assert len(tree.tokens) < len(tree.ids)  # only answer and EOS are targets: there is no label to change
    tree.ids[3] = (tree.ids[3] + 1) % len(pupil.tokenizer)  # a token of the rationale the decoder reads
    after, _ = step_gradient(pupil, data)
    assert abs(before - after) > 1e-6
