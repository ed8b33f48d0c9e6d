"""Gradients of the vocabulary that are added in place are those autograd hands on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cotdistill.training.cpu_kernels import InPlaceProducts, rows_added
from cotdistill.training.loss import TORCH, Products, weighted_nll
from tests.models import student
from tests.training.learning import distance, encode, flat_gradient, step_gradient


def lookups(table: nn.Embedding) -> torch.Tensor:
    """The table's gradient after it was read twice, padding and repeated ids among them."""
    table.zero_grad()
    for ids in (torch.tensor([[1, 2, 2], [0, 5, 1]]), torch.tensor([[0, 2]])):
        (table(ids) * torch.arange(1.0, 4.0)).sum().backward()
    assert table.weight.grad is not None
    return table.weight.grad.clone()


@pytest.mark.parametrize("padding", [None, 0])
def test_rows_read_twice_and_padding_as_autograd_has_them(padding: int | None) -> None:
    table = nn.Embedding(7, 3, padding_idx=padding)
    wanted = lookups(table)
    assert bool(wanted[0].any()) == (padding is None)
    with rows_added(table):
        assert torch.equal(lookups(table), wanted)
    assert "forward" not in vars(table)


def test_a_gradient_stays_where_it_is_and_nothing_is_handed_on() -> None:
    table = nn.Embedding(7, 3)
    table.weight.grad = before = torch.ones(7, 3)
    handed: list[torch.Tensor | None] = []
    table.weight.register_hook(handed.append)
    with rows_added(table):
        table(torch.tensor([3])).sum().backward()
    assert table.weight.grad is before
    assert before[3].tolist() == [2.0, 2.0, 2.0]
    assert not any(torch.is_tensor(gradient) for gradient in handed)


def test_a_frozen_table_stays_frozen() -> None:
    pupil = student("llama")
    pupil.model.get_input_embeddings().weight.requires_grad_(False)
    step_gradient(pupil, encode(pupil, "cascod"))
    assert pupil.model.get_input_embeddings().weight.grad is None
    assert bool(flat_gradient(pupil).any())


@pytest.mark.parametrize("trained", [True, False])
def test_the_heads_gradient_over_chunks_and_micro_batches(trained: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cotdistill.training.loss.CHUNK_BYTES", {"cpu": 4 * 11 * 4})  # four rows of logits
    torch.manual_seed(0)
    weight = torch.randn(11, 5, requires_grad=trained)
    batches = [(torch.randn(n, 5), torch.randint(0, 11, (n,)), torch.rand(n)) for n in (9, 3, 4)]

    def gradients(products: Products) -> tuple[list[torch.Tensor], torch.Tensor | None]:
        weight.grad = None
        found = []
        for hidden, tokens, coef in batches:
            leaf = hidden.clone().requires_grad_()
            weighted_nll(leaf, weight, None, tokens, coef, products=products)[0].backward()
            assert leaf.grad is not None
            found.append(leaf.grad)
        return found, weight.grad

    (plain, head), (fast, added) = gradients(TORCH), gradients(InPlaceProducts(9, 11))
    for one, other in zip(fast, plain, strict=True):
        torch.testing.assert_close(one, other)
    if trained:
        torch.testing.assert_close(added, head)
    else:
        assert head is None
        assert added is None


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_a_second_step_starts_from_nothing(family: str) -> None:
    pupil = student(family)
    data = encode(pupil, "scott")
    first = step_gradient(pupil, data, budget=200)[1]
    assert distance(step_gradient(pupil, data, budget=200)[1], first) == 0
