"""Which words of a rationale carry the answer: gradients of the answer's log probability, one score per word.

Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365) through captum, along the straight line from a
baseline in which every token of the rationale is the *mean* embedding to the rationale as it is; everything else of
the sequence stays what it is, so the scores of a rationale's words sum to what the rationale as a whole is worth.
(A zero embedding is not a valid baseline under RMSNorm: completeness fails.) Gradient x input is the cheap twin.

B rationales, T positions, H width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from cotdistill.data.records import Example
from cotdistill.errors import UsageError, missing_extra
from cotdistill.strategies.forms import Form
from cotdistill.students.encode import Encoder
from cotdistill.students.student import Student
from cotdistill.students.tokens import NEUTRAL

Method = Literal["integrated-gradients", "gradient-input"]
STEPS = 32  # of the path integral, Gauss-Legendre
FINER = 4  # times as many for a rationale that is not complete
COMPLETE = 0.05  # a larger relative completeness error is tried again, and said where it stays


@dataclass(frozen=True)
class Attribution:
    """Scores of one rationale's words. `worth`: log p(answer) with the rationale minus with the baseline in its
    place; `error`: |sum of scores - worth| / |worth| (None for gradient x input, which promises no such sum)."""

    scores: tuple[float, ...]
    worth: float
    error: float | None


@dataclass(frozen=True)
class Filled:
    """One rationale in place: ids [T], where the rationale is, and which positions predict the answer."""

    ids: list[int]
    source: list[int] | None
    rationale: range
    words: list[int]  # of each rationale token, the word it belongs to
    targets: list[tuple[int, int]]  # (position, token)


def check_method(method: str) -> None:
    """Complain about a method whose package is not installed."""
    if method == "integrated-gradients":
        _integrated_gradients()


def _integrated_gradients() -> Any:
    try:
        from captum.attr import IntegratedGradients
    except ImportError:
        raise missing_extra("attribution", "integrated gradients") from None
    return IntegratedGradients


def attribute(
    student: Student,
    encoder: Encoder,
    form: Form,
    rationales: Sequence[tuple[Example, str, str]],
    method: Method = "integrated-gradients",
    steps: int = STEPS,
    batch_size: int = 8,
) -> list[Attribution]:
    """Scores for every (example, rationale, answer); `form` shows the rationale before the answer in its target.

    Rationales that do not fit the student's context get scores of 0, and worth 0.
    """
    sequences = [filled(student, encoder, form, *question) for question in rationales]
    order = sorted(
        (at for at in range(len(rationales)) if not encoder.too_long(sequences[at].ids)),
        key=lambda at: len(sequences[at].ids),
    )
    attributions = [Attribution((0.0,) * len(rationale.split()), 0.0, None) for _, rationale, _ in rationales]
    student.model.eval()
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        scored = _attribute_batch(student, [sequences[at] for at in chosen], method, steps)
        for n, (at, (_, _, error)) in enumerate(zip(chosen, scored, strict=True)):
            if error is not None and error > COMPLETE:
                scored[n] = _attribute_batch(student, [sequences[at]], method, FINER * steps)[0]
        for at, (scores, worth, error) in zip(chosen, scored, strict=True):
            attributions[at] = Attribution(
                _by_word(scores, sequences[at].words, len(rationales[at][1].split())), worth, error
            )
    return attributions


def filled(student: Student, encoder: Encoder, form: Form, example: Example, rationale: str, answer: str) -> Filled:
    """The form's own text with both slots filled, as it is trained and walked."""
    slots = {"rationale": rationale, "answer": answer}
    source, ids = encoder.prompt(form, example, slots)  # type: ignore[arg-type]
    at, targets = range(0), []
    for part in form.target:
        piece = encoder.part_ids(part, slots)  # type: ignore[arg-type]
        if part.slot == "rationale":
            at = range(len(ids), len(ids) + len(piece))
        if part.slot == "answer":
            targets = [(len(ids) + n - 1, token) for n, token in enumerate(piece)]
        ids += piece
    if not at or not targets or targets[0][0] < at[-1]:
        raise UsageError(f"attribution needs a form that shows the rationale before the answer, not {form.name!r}")
    return Filled(ids, source, at, words_of_tokens(student, rationale, len(at)), targets)


def words_of_tokens(student: Student, text: str, count: int) -> list[int]:
    """For each of the `count` tokens of " text" the number of the word it belongs to (by its last character)."""
    padded = f"{NEUTRAL} {text.strip()}"
    read = student.tokenizer(padded, add_special_tokens=False, return_offsets_mapping=True)
    offsets = read["offset_mapping"][-count:]
    starts = [at for at, c in enumerate(padded) if not c.isspace() and (at == 0 or padded[at - 1].isspace())][1:]
    return [max(0, sum(start < max(end, 1) for start in starts) - 1) for _, end in offsets]


def _attribute_batch(
    student: Student, batch: Sequence[Filled], method: Method, steps: int
) -> list[tuple[list[float], float, float | None]]:
    """(score of every rationale token, worth, completeness error) of each rationale."""
    given, forward, inside, baseline = _set_up(student, batch)
    with torch.no_grad():
        worth = (forward(given) - forward(baseline)).tolist()
    if method == "integrated-gradients":
        scores, delta = _integrated(forward, given, baseline, steps)
    else:
        scores, delta = _gradient_input(forward, given), None
    each = (scores * inside[..., None]).sum(-1)  # [B T]
    parts = []
    for at, sequence in enumerate(batch):
        error = None if delta is None else abs(float(delta[at])) / max(abs(worth[at]), 1e-6)
        parts.append((each[at, sequence.rationale.start : sequence.rationale.stop].tolist(), worth[at], error))
    return parts


def _set_up(student: Student, batch: Sequence[Filled]) -> tuple[Tensor, Callable[[Tensor], Tensor], Tensor, Tensor]:
    """Embeddings [B T H], what they give [B], where rationales are [B T], and the baseline's embeddings [B T H]."""
    model, device, pad = student.model, student.device, student.tokens.pad
    width = max(len(sequence.ids) for sequence in batch)
    ids = torch.tensor([sequence.ids + [pad] * (width - len(sequence.ids)) for sequence in batch], device=device)
    # On an encoder-decoder the rationale is in the decoder, which has embeddings of its own to look up.
    table = model.get_decoder().embed_tokens if student.encoder_decoder else model.get_input_embeddings()
    with torch.no_grad():
        given = table(ids)
        mean = table.weight.mean(0) if not hasattr(table, "embed_scale") else table.weight.mean(0) * table.embed_scale
    inside = torch.zeros(ids.shape, device=device)
    for row, sequence in zip(inside, batch, strict=True):
        row[sequence.rationale.start : sequence.rationale.stop] = 1.0
    baseline = torch.where(inside[..., None] > 0, mean.to(given.dtype), given)
    inputs = _encoder_inputs(batch, pad, device) if student.encoder_decoder else {}

    positions, tokens, real = _targets(batch, device)

    def forward(embeddings: Tensor) -> Tensor:
        """Log probability of each answer, float32 [B]; captum repeats the batch once per step of the path."""
        repeats = len(embeddings) // len(batch)
        more = {name: value.repeat(repeats, 1) for name, value in inputs.items()}
        name = "decoder_inputs_embeds" if student.encoder_decoder else "inputs_embeds"
        logits = model(**{name: embeddings}, **more, use_cache=False).logits  # [B T V]
        where = positions.repeat(repeats, 1)[..., None].expand(-1, -1, logits.shape[-1])
        steps = logits.gather(1, where).float().log_softmax(-1)  # [B N V]
        chosen: Tensor = steps.gather(2, tokens.repeat(repeats, 1)[..., None])[..., 0]
        return (chosen * real.repeat(repeats, 1)).sum(-1)

    return given, forward, inside, baseline


def _targets(batch: Sequence[Filled], device: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Positions, tokens and 1 for a real one, each [B N]: the answers padded to the longest."""
    width = max(len(sequence.targets) for sequence in batch)
    padded = [
        [*((p, t, 1) for p, t in sequence.targets), *[(0, 0, 0)] * (width - len(sequence.targets))]
        for sequence in batch
    ]
    positions, tokens, real = torch.tensor(padded, device=device).unbind(-1)
    return positions, tokens, real.float()


def _encoder_inputs(batch: Sequence[Filled], pad: int, device: Any) -> dict[str, Tensor]:
    sources = [sequence.source or [] for sequence in batch]
    width = max(map(len, sources))
    return {
        "input_ids": torch.tensor([s + [pad] * (width - len(s)) for s in sources], device=device),
        "attention_mask": torch.tensor([[1] * len(s) + [0] * (width - len(s)) for s in sources], device=device),
    }


def _integrated(
    forward: Callable[[Tensor], Tensor], given: Tensor, baseline: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    scores, delta = _integrated_gradients()(forward).attribute(
        given,
        baseline,
        n_steps=steps,
        method="gausslegendre",
        internal_batch_size=8 * len(given),
        return_convergence_delta=True,
    )
    return scores.detach(), delta.detach()


def _gradient_input(forward: Callable[[Tensor], Tensor], given: Tensor) -> Tensor:
    embeddings = given.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(forward(embeddings).sum(), embeddings)
    return gradient * given


def _by_word(scores: Sequence[float], words: Sequence[int], count: int) -> tuple[float, ...]:
    total = [0.0] * count
    for score, word in zip(scores, words, strict=True):
        total[min(word, count - 1)] += score
    return tuple(total)
