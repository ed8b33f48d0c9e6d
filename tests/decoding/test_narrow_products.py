"""Large layers over few rows multiply weight first: the plain layer's numbers, and only where that was asked for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cotdistill.decoding import narrow_products as narrow
from cotdistill.decoding.continuous_batching import ContinuousDecoder
from cotdistill.decoding.decode import Decoder, Prompt
from tests.decoding.sessions import FreeSession
from tests.models import student

WIDE, NARROW = (1024, 512), (64, 64)


def layer(out: int, width: int, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(width, out, bias=bias)


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Sizes of what torch.mm multiplies first, call by call."""
    seen: list[tuple[int, ...]] = []
    own = torch.mm

    def watched(left: Tensor, right: Tensor) -> Tensor:
        seen.append(tuple(left.shape))
        return own(left, right)

    monkeypatch.setattr(torch, "mm", watched)
    return seen


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [2, 3, 4])
def test_few_rows_give_the_plain_layers_numbers(rows: int, bias: bool, products: list[tuple[int, ...]]) -> None:
    linear, states = layer(*WIDE, bias), torch.randn(1, rows, WIDE[1])
    with torch.inference_mode():
        expected = linear(states)
        with narrow.narrow_products(linear):
            found = linear(states)
            turned = linear(states.transpose(1, 2).contiguous().transpose(1, 2))  # rows that lie in columns
    assert products == [WIDE, WIDE]
    assert found.shape == expected.shape
    assert found.is_contiguous()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(turned, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 5])
def test_other_numbers_of_rows_are_the_layers_own(rows: int, products: list[tuple[int, ...]]) -> None:
    linear, states = layer(*WIDE), torch.randn(rows, WIDE[1])
    with torch.inference_mode(), narrow.narrow_products(linear):
        found = linear(states)
    assert products == []
    assert torch.equal(found, linear(states))


def test_gradients_small_layers_and_other_types_are_left_alone(products: list[tuple[int, ...]]) -> None:
    wide, small, half = layer(*WIDE), layer(*NARROW), layer(*WIDE).to(torch.bfloat16)
    with narrow.narrow_products(nn.ModuleList([wide, small, half])):
        wide(torch.randn(4, WIDE[1])).sum().backward()
        with torch.inference_mode():
            small(torch.randn(4, NARROW[1]))
            half(torch.randn(4, WIDE[1], dtype=torch.bfloat16))
    assert products == []
    assert wide.weight.grad is not None


def test_the_layers_forward_is_back_afterwards() -> None:
    linear = layer(*WIDE)
    with narrow.narrow_products(linear):
        assert "forward" in vars(linear)
    assert "forward" not in vars(linear)


def test_decoding_by_them_gives_the_plain_decoders_tokens(
    monkeypatch: pytest.MonkeyPatch, products: list[tuple[int, ...]]
) -> None:
    monkeypatch.setattr(narrow, "LEAST", 1)  # a tiny model's layers, too
    model = student("llama")
    prompts = [[5, 6, 7], [8, 9, 10, 11, 12], [13, 14]]
    plain, fast = ([FreeSession([Prompt(list(ids))], 6) for ids in prompts] for _ in range(2))
    Decoder(model, batch_size=3).run(plain)
    before = len(products)
    ContinuousDecoder(model, batch_size=3).run(fast)
    assert len(products) > before
    assert [session.out for session in fast] == [session.out for session in plain]
