"""Products by oneDNN where it leads: the same numbers, shapes cut to few, layers left as they were; the switch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers.pytorch_utils import Conv1D

from cotdistill.config import DistillConfig
from cotdistill.students.forwards import replaced
from cotdistill.training import cpu_kernels
from cotdistill.training.cpu_kernels import CpuProducts
from cotdistill.training.train import Loop
from tests.models import student
from tests.training.learning import encode

ROWS = st.integers(1, 200)
SIZES = st.integers(1, 40)


@pytest.fixture(autouse=True)
def small_products_too(monkeypatch):
    """LEAST spares small products the call's cost; here they are to take the same way."""
    monkeypatch.setattr(cpu_kernels, "LEAST", 0)


@pytest.fixture(params=["mkl", "onednn"])
def library(request, monkeypatch):
    """Both ways, as far as this processor has them."""
    if request.param == "onednn" and not cpu_kernels.onednn_leads():
        pytest.skip("oneDNN does not lead on this processor")
    monkeypatch.setattr(cpu_kernels, "onednn_leads", lambda: request.param == "onednn")


def close(found, left, right, times=1):
    """Near `times` left @ right in float64, by the size of the factors: sums may cancel."""
    wanted = times * (left.double() @ right.double())
    return float((found.double() - wanted).norm()) <= cpu_kernels.EXACT * times * float(left.norm() * right.norm())


@given(ROWS, SIZES, SIZES, st.integers(0, 99))
def test_products_are_those_of_float64(rows, inner, columns, seed):
    draw = torch.Generator().manual_seed(seed)
    left, right = (torch.randn(rows, inner, generator=draw), torch.randn(rows, columns, generator=draw))
    matrix = torch.randn(columns, inner, generator=draw).t()
    assert close(cpu_kernels.rows_times(left, matrix), left, matrix)
    out = cpu_kernels.rows_summed(left, right, torch.full((inner, columns), torch.nan))
    assert close(out, left.t(), right)
    assert close(cpu_kernels.rows_summed(left, right, out, add=True), left.t(), right, times=2)


def test_rows_are_cut_to_few_numbers():
    cut = {rows - rows % cpu_kernels._step(rows) for rows in range(16, 4097)}
    assert len(cut) < 70
    assert all(rows % cpu_kernels._step(rows) <= max(15, rows / 8) for rows in range(1, 4097))


def test_rounded_up_rows_are_cut_no_more(library):
    for rows in range(1, 2000):
        up = cpu_kernels.CpuProducts().rounded_up(rows)
        if not cpu_kernels.onednn_leads():
            assert up == rows
        else:
            assert 0 <= up - rows <= max(15, rows / 8)
            assert up % cpu_kernels._step(up) == 0


@pytest.mark.parametrize("layer", [nn.Linear(24, 40), nn.Linear(24, 40, bias=False), Conv1D(40, 24)])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_layer_and_its_gradients_are_torchs(library, layer, frozen):
    layer.weight.requires_grad_(not frozen)
    states = torch.randn(3, 37, 24, requires_grad=True)
    upstream = torch.randn(3, 37, 40)
    wanted = _step(layer, states, upstream)
    with cpu_kernels.linear_layers(nn.Sequential(layer)):
        assert ("forward" in vars(layer)) == cpu_kernels.onednn_leads()
        found = _step(layer, states, upstream)
    assert "forward" not in vars(layer)
    for one, other in zip(found, wanted, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_half_precision_and_autocast_stay_torchs(library):
    layer = nn.Linear(24, 40)
    states = torch.randn(37, 24)
    with cpu_kernels.linear_layers(layer), torch.autocast("cpu", torch.bfloat16):
        assert layer(states).dtype == torch.bfloat16
    with cpu_kernels.linear_layers(layer.bfloat16()):
        assert layer(states.bfloat16()).dtype == torch.bfloat16


def test_the_setting_is_torchs_own_again_outside_a_product():
    before = torch.backends.mkldnn.matmul.fp32_precision
    cpu_kernels.rows_times(torch.randn(64, 64), torch.randn(64, 64))
    assert torch.backends.mkldnn.matmul.fp32_precision == before


def test_replaced_forwards_may_lie_inside_each_other():
    layer = nn.Identity()
    with replaced({layer: lambda _: "outer"}):
        with replaced({layer: lambda _: "inner"}):
            assert layer(0) == "inner"
        assert layer(0) == "outer"
    assert layer(0) == 0


def _step(layer, states, upstream):
    layer.zero_grad()
    states.grad = None
    made = layer(states)
    made.backward(upstream)
    return made.detach(), states.grad, *(parameter.grad for parameter in layer.parameters())


@pytest.mark.parametrize("said", [None, "off", "0"])
def test_one_switch_leaves_plain_pytorch(said, monkeypatch, tmp_path):
    if said is not None:
        monkeypatch.setenv(cpu_kernels.SWITCH, said)
    pupil = student("llama")
    loop = Loop(pupil, encode(pupil, "cascod"), DistillConfig(steps=2, batch_size=4, device="cpu"), tmp_path)
    used = [loop.kernels.loss, loop.kernels.layers, loop.kernels.vocabulary]
    assert used == [said is None] * 3
    assert isinstance(loop.kernels.products(pupil.model, [loop._lesson(0).trees]), CpuProducts) == (said is None)
    table = pupil.model.get_input_embeddings()
    with loop.kernels.inside(pupil.model):
        assert ("forward" in vars(table)) == (said is None)


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_a_run_without_the_kernels_learns_the_same(family, monkeypatch, tmp_path):
    losses = {}
    for said in ("on", "off"):
        monkeypatch.setenv(cpu_kernels.SWITCH, said)
        pupil = student(family)
        config = DistillConfig(steps=4, batch_size=4, lr=1e-3, device="cpu")
        losses[said] = Loop(pupil, encode(pupil, "scott"), config, tmp_path / said).run().loss
    assert losses["on"] == pytest.approx(losses["off"], rel=1e-5)
