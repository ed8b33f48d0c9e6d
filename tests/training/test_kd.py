"""The teacher's distribution as a second term of the loss: value and gradient against the formula written plainly."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from cotdistill.errors import UsageError
from cotdistill.training import kd, loss
from cotdistill.training.kd import Divergence, TeacherSignal

KINDS = [
    Divergence(kind, beta, t) for t in (1.0, 2.0) for kind, beta in (("kl", 0.5), ("reverse-kl", 0.5), ("jsd", 0.3))
]


def plainly(logits: torch.Tensor, signal: TeacherSignal, how: Divergence) -> torch.Tensor:
    """Bucket by bucket, in float64, from probabilities."""
    total = torch.zeros((), dtype=torch.float64)
    for row, ids, logprobs, coef in zip(logits.double(), signal.ids, signal.logprobs, signal.coef, strict=True):
        q = row.softmax(-1)[ids]
        p = logprobs.double().exp()
        p, q = (torch.cat([side, 1 - side.sum()[None]]) ** (1 / how.temperature) for side in (p, q))
        p, q = p / p.sum(), q / q.sum()
        m = how.beta * p + (1 - how.beta) * q
        value = {
            "kl": (p * (p / q).log()).sum(),
            "reverse-kl": (q * (q / p).log()).sum(),
            "jsd": how.beta * (p * (p / m).log()).sum() + (1 - how.beta) * (q * (q / m).log()).sum(),
        }[how.kind]
        total = total + coef.double() * value * how.temperature**2
    return total


def problem(how: Divergence) -> tuple[list[torch.Tensor], TeacherSignal]:
    draw = torch.Generator().manual_seed(1)
    hidden, weight, bias = (torch.randn(size, generator=draw, requires_grad=True) for size in ((11, 6), (40, 6), (40,)))
    top = torch.randn(11, 40, generator=draw).log_softmax(-1).topk(5)
    coef = torch.rand(11, generator=draw)
    return [hidden, weight, bias], TeacherSignal(torch.arange(11), top.indices, top.values, coef, how)


@pytest.mark.parametrize("how", KINDS, ids=str)
def test_value_and_gradient_are_the_formulas(how: Divergence, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(loss.CHUNK_BYTES, "cpu", 4 * 40 * 3)  # chunks of three rows: the last one is short
    (hidden, weight, bias), signal = problem(how)
    signal = replace(signal, rows=torch.arange(1, 12))
    tokens, coef = torch.arange(13) * 3, torch.linspace(-0.2, 1, 13)  # two have no teacher, some are unlearned
    states = torch.cat([hidden[:1], hidden, hidden[-1:]])
    total, nll, shares = loss.weighted_nll(states, weight, bias, tokens, coef, signal=signal)
    (2 * total).backward()
    copies = [tensor.detach().double().requires_grad_() for tensor in (hidden, weight, bias)]
    logits = torch.cat([copies[0][:1], copies[0], copies[0][-1:]]) @ copies[1].T + copies[2]
    each = torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
    expected = (coef * each).sum() + plainly(logits[1:12], signal, how)
    assert float(total.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert float(shares.sum()) == pytest.approx(float(total.detach()), rel=1e-5)
    torch.testing.assert_close(nll.double(), each.detach(), rtol=1e-5, atol=1e-5)
    (2 * expected).backward()
    for tensor, copy in zip((hidden, weight, bias), copies, strict=True):
        torch.testing.assert_close(tensor.grad.double(), copy.grad, rtol=1e-4, atol=1e-6)


def test_another_direction_and_a_lost_rest_are_seen() -> None:
    """The wrong variants: forward for reverse, and the K tokens renormalised without the rest bucket."""
    (hidden, weight, bias), signal = problem(Divergence("reverse-kl"))
    logits = (hidden @ weight.T + bias).detach()
    right = kd.divergences(logits, signal)
    forward = Divergence("kl")(kd._with_rest(signal.logprobs), _buckets(logits, signal))
    renormalised = signal.divergence(signal.logprobs, logits.gather(1, signal.ids))
    for wrong in (forward, renormalised):
        assert not torch.allclose(right, wrong, rtol=0.05)


def test_a_teacher_that_agrees_costs_nothing() -> None:
    """Also where all tokens are recorded and the rest is empty."""
    logits = torch.randn(4, 8, generator=torch.Generator().manual_seed(2))
    for k in (3, 7):
        top = logits.log_softmax(-1).topk(k)
        signal = TeacherSignal(torch.arange(4), top.indices, top.values, torch.ones(4), Divergence("jsd", 0.5))
        assert float(kd.divergences(logits, signal).abs().max()) < 1e-5


def test_tokens_that_were_not_told_count_for_the_rest() -> None:
    """-1 behind the first is as if fewer had been stored."""
    (hidden, weight, bias), signal = problem(Divergence("jsd", 0.3))
    logits = (hidden @ weight.T + bias).detach()
    padded = replace(signal, ids=signal.ids.clone(), logprobs=signal.logprobs.clone())
    padded.ids[:, 3:], padded.logprobs[:, 3:] = -1, -math.inf
    fewer = replace(signal, ids=signal.ids[:, :3], logprobs=signal.logprobs[:, :3])
    assert torch.allclose(kd.divergences(logits, padded), kd.divergences(logits, fewer), atol=1e-5)
    assert not torch.allclose(kd.divergences(logits, padded), kd.divergences(logits, signal), atol=1e-2)


def test_only_one_chunk_of_logits_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(loss.CHUNK_BYTES, "cpu", 4 * 40 * 3)
    sizes: list[int] = []
    plain = kd.LaidOut.fold

    def counted(self: kd.LaidOut, part: slice, softmax: torch.Tensor, *rest: torch.Tensor) -> object:
        sizes.append(len(softmax))
        memory = softmax.data_ptr()
        found = plain(self, part, softmax, *rest)
        assert softmax.data_ptr() == memory
        return found

    monkeypatch.setattr(kd.LaidOut, "fold", counted)
    (hidden, weight, bias), signal = problem(Divergence("kl"))
    loss.weighted_nll(hidden, weight, bias, torch.arange(11), torch.ones(11), signal=signal)
    assert sizes == [3, 3, 3, 3]


def test_a_rest_that_is_tiny_has_the_gradient_of_the_plain_reference() -> None:
    """Where the student is sure of a recorded token and the teacher is not: no difference of two large numbers."""
    (hidden, weight, bias), signal = problem(Divergence("kl"))
    signal = replace(signal, ids=signal.ids.clone())
    with torch.no_grad():
        signal.ids[:, 0] = bias.argmax()
        bias[bias.argmax()] = 60.0
    signal.ids[:, 1:] = torch.tensor([token for token in range(40) if token != int(bias.argmax())][:4])
    loss.weighted_nll(hidden, weight, bias, torch.zeros(11, dtype=torch.long), torch.zeros(11), signal=signal)[
        0
    ].backward()
    leaf = bias.detach().clone().requires_grad_()
    (signal.coef * kd.divergences(hidden.detach() @ weight.detach().T + leaf, signal)).sum().backward()
    torch.testing.assert_close(bias.grad, leaf.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("text", ["jsd", "jsd:0", "jsd:1", "jsd:x", "jsd:nan", "forward", "kl:1", ""])
def test_other_divergences_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="kl, reverse-kl or jsd:B"):
        Divergence.parse(text)
    assert Divergence.parse("jsd:0.25") == Divergence("jsd", 0.25)


def _buckets(logits: torch.Tensor, signal: TeacherSignal) -> torch.Tensor:
    kept = logits.log_softmax(-1).gather(1, signal.ids)
    return torch.cat([kept, torch.log1p(-kept.exp().sum(-1, keepdim=True))], 1)


def test_an_empty_bucket_stays_finite() -> None:
    assert math.isfinite(
        float(Divergence("reverse-kl")(kd._with_rest(torch.tensor([[0.0, -60.0]])), torch.zeros(1, 3))[0])
    )
