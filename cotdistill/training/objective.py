"""What turns micro-batches into a loss, and the start-up trials of the fast ways to it.

A row's way from file to gradient:

    Item           a line of the file: question, rationales of several kinds           data/records.py
     | join        one per rationale (or pair of them) that the strategy reads
    Sample         per kind a Draft: example, rationale, answer                        strategies/join.py
     | fill        the strategy's own rewriting of texts
    Slots          what {rationale} and {answer} are: text or token ids                strategies/forms.py
     | encode      each learned form by itself
    FormSequence   ids [t], targets (position, token, weight), encoder ids [s]         students/encode.py
     | merge       forms of an example that begin alike become one tree
    TokenTree      ids, parent [T]; positions, tokens, forms, weights [N]; source [S]  students/encode.py
     | step_trees  weights become coefs: share * weight / their sum in the whole step   training/batches.py
    TokenTree
     | collate     the trees of a micro-batch, packed into one row or padded on the right
    MicroBatch     ids [1, T] or [B, T]; kept, tokens, forms, coef [N]                 here
     | loss        sum of coef * nll, nll [N] of the logits at the flat positions kept
    gradient

T nodes of a tree, N targets (of one tree, then of a micro-batch). A chain of one form, CasCoD's first say: the prompt
"Q Rationale:" is ids 0 to 4, the rationale ids 5 to 8, and EOS is only ever a target:

    ids         q q q q :  r r r r              T = 9
    positions           4  5 6 7 8              N = 5: the node whose logits are read
    tokens              r  r r r EOS            what they are to predict

This is the one place in training that knows decoder-only from encoder-decoder. Nothing here lists models: what a fast
path needs of a model is tried on it, once (`Student.tried`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cotdistill.answers.answers import AnswerStyle
from cotdistill.strategies.forms import Reweight
from cotdistill.students.encode import Encoder, TokenTree
from cotdistill.students.forwards import replaced
from cotdistill.students.student import Student
from cotdistill.training.divergence_loss import weighted_divergence
from cotdistill.training.kd import Signal, TeacherSignal, divergences
from cotdistill.training.loss import TORCH, Products, nll_of, weighted_nll
from cotdistill.training.packed_attention import PACKED, Segments, moved, segments, using_attention
from cotdistill.training.teaching import Teller

TOLERANCE = 1e-4  # of an nll in float32, a fast path against the plain one


@dataclass(frozen=True)
class MicroBatch:
    """One micro-batch. `inputs` are the model's keyword arguments; target n reads the logits at flat position
    kept[n] of [B, T], is token tokens[n] of form forms[n], and counts coef[n]."""

    inputs: dict[str, Any]  # ids and masks [B, T]; packed: ids and positions [1, T] and their segments
    kept: Tensor  # [N]
    tokens: Tensor  # [N]
    forms: Tensor  # [N]
    coef: Tensor  # [N]
    signals: Sequence[Signal] = ()


def training_encoder(student: Student, answers: AnswerStyle = "text", max_length: int | None = None) -> Encoder:
    """Renders what a student trains on, the forms of an example merged as far as its model was found to allow.

    Trees where packed attention is exact. Not on a GPU: its fused kernel takes chains only, and is worth more
    than the tokens a tree spares.
    """
    trees = student.device.type == "cpu" and can_pack(student)
    return student.encoder(answers, max_length, "tree" if trees else "chain")


def collate(
    student: Student, trees: Sequence[TokenTree], packed: bool = False, tellers: Sequence[Teller] = ()
) -> MicroBatch:
    """Token trees padded on the right to the longest, or packed in one row, on the model's device.

    What a teacher says of the student's own words takes the place of the nll: there is no word to be learned.
    """
    inputs, positions = _packed(trees, student.device) if packed else _padded(trees, student)
    columns = (
        positions,
        np.concatenate([tree.tokens for tree in trees]).astype(np.int64),
        np.concatenate([tree.forms for tree in trees]).astype(np.int64),
        np.concatenate([tree.weights if tree.scored is None else np.zeros_like(tree.weights) for tree in trees]),
    )
    on_device = {
        name: moved(value, student.device) if isinstance(value, Tensor) else value for name, value in inputs.items()
    }
    told = (teller.signal(trees, student.device) for teller in tellers)
    kept, tokens, forms, coef = (moved(torch.from_numpy(column), student.device) for column in columns)
    return MicroBatch(on_device, kept, tokens, forms, coef, [signal for signal in told if signal is not None])


def token_nll(student: Student, batch: MicroBatch, model: nn.Module | None = None) -> Tensor:
    """The plain reference: negative log likelihood of every target from the model's own logits, float32 [N]."""
    return nll_of(_kept_logits(student, batch, model), batch.tokens)


def _kept_logits(student: Student, batch: MicroBatch, model: nn.Module | None) -> Tensor:
    """The model's own logits of the targets [N, V]."""
    with selected_head(student.model, batch.kept):
        logits: Tensor = (model or student.model)(**batch.inputs, use_cache=False).logits
    return logits.reshape(-1, logits.shape[-1])


def loss(
    student: Student,
    batch: MicroBatch,
    model: nn.Module | None = None,
    reweight: Reweight | None = None,
    plain: bool = False,
    products: Products = TORCH,
) -> tuple[Tensor, Tensor]:
    """(sum of coef * nll to differentiate, coef * nll of every target without gradient [N]), both with the teacher's
    term where the batch has its signal.

    `model`: what is called, where that is a wrapper of the student's (DDP). `plain`: from the model's own logits.
    """
    if not plain and head_is_linear(student):
        total, _, shares = _direct_loss(student, batch, model or student.model, reweight, products)
        return total, shares
    logits = _kept_logits(student, batch, model)
    nll = nll_of(logits, batch.tokens)
    coef = batch.coef if reweight is None else reweight(batch.coef, nll.detach())
    weighted = coef * nll
    for signal in batch.signals:
        told = signal.coef * divergences(logits.index_select(0, signal.rows), signal)
        weighted = weighted.index_add(0, signal.rows, told)
    return weighted.sum(), weighted.detach()


def _direct_loss(
    student: Student, batch: MicroBatch, model: nn.Module, reweight: Reweight | None = None, products: Products = TORCH
) -> tuple[Tensor, Tensor, Tensor]:
    """(total, nll [N], what each target adds to the total [N]).

    The head answers with the loss, not with logits, inside the model's forward as DDP needs it.
    """
    head = student.model.get_output_embeddings()
    parts: list[Tensor] = []

    def answer(hidden: Tensor) -> Tensor:
        states = hidden.reshape(-1, hidden.shape[-1]).index_select(0, batch.kept)
        recorded = next((signal for signal in batch.signals if isinstance(signal, TeacherSignal)), None)
        parts[:] = weighted_nll(states, head.weight, head.bias, batch.tokens, batch.coef, reweight, products, recorded)
        for signal in batch.signals:
            if signal is not recorded:
                told, each = weighted_divergence(states.index_select(0, signal.rows), head.weight, head.bias, signal)
                parts[0] = parts[0] + told
                parts[2] = parts[2].index_add(0, signal.rows, signal.coef * each)
        return parts[0]

    with replaced({head: answer}):
        total: Tensor = model(**batch.inputs, use_cache=False).logits
    if total.shape != ():
        raise RuntimeError("the model changes its head's output")
    return total, parts[1], parts[2]


@contextmanager
def selected_head(model: Any, positions: Tensor) -> Iterator[None]:
    """Only the kept flat positions [N] reach the language-model head; logits come back as [N, V].

    A hook in front of the head instead of a head run by hand: scaling before it (T5) and soft-capping after
    it (Gemma 2) stay the model's own, and it works through DDP's forward.
    """

    def select(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0].reshape(-1, inputs[0].shape[-1]).index_select(0, positions), *inputs[1:])

    hook = model.get_output_embeddings().register_forward_pre_hook(select)
    try:
        yield
    finally:
        hook.remove()


def can_pack(student: Student) -> bool:
    """Whether packed rows give the nll of their trees run alone, tried on this model and device."""
    return student.tried(_can_pack)


def head_is_linear(student: Student) -> bool:
    """Whether logits are what the head says and nothing more: then the chunked loss takes its place."""
    return student.tried(_head_is_linear)


def _can_pack(student: Student) -> bool:
    """Also in bfloat16 on a GPU, where another kernel runs: there rounding hides small leaks, so the distance must be
    far smaller than that of a row packed *with* leakage.
    """
    config = student.model.config
    known = set(getattr(config, "layer_types", None) or ()) <= {"full_attention", "sliding_attention"}
    if student.encoder_decoder or not known or getattr(config, "attention_chunk_size", None):
        return False
    kind = student.device.type
    half = nullcontext() if kind == "cpu" else torch.autocast(kind, torch.bfloat16)
    return _packs_exactly(student, nullcontext(), TOLERANCE) and (kind == "cpu" or _packs_exactly(student, half, 0.0))


def _packs_exactly(student: Student, precision: AbstractContextManager[Any], tolerance: float) -> bool:
    trees = _trial_trees()
    leaking = _chain([token for tree in trees for token in tree.ids])
    with _evaluating(student.model), precision:
        try:
            with using_attention(student.model, PACKED):
                packed = token_nll(student, collate(student, trees, packed=True))
                leaked = token_nll(student, collate(student, [leaking], packed=True))
        except (TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError):
            return False  # a model that takes no registered attention, or drops its segments
        alone = torch.cat([token_nll(student, collate(student, [tree])) for tree in _trial_trees(cut=True)])
    return float((packed - alone).abs().max()) <= max(tolerance, 0.1 * float((leaked - alone).abs().max()))


def _head_is_linear(student: Student) -> bool:
    """With large logits, which a soft cap or a scale behind the head (Gemma 2, Cohere) would change."""
    head = student.model.get_output_embeddings()
    if type(head) is not nn.Linear:
        return False
    batch = collate(student, _trial_trees(cut=True, encoder=student.encoder_decoder))
    said: list[Tensor] = []

    def answer(hidden: Tensor) -> Tensor:
        said[:] = [100 * nn.functional.linear(hidden, head.weight, head.bias).sign()]
        return said[0]

    with _evaluating(student.model):
        with replaced({head: answer}):
            heard = student.model(**batch.inputs, use_cache=False).logits
        try:
            direct = _direct_loss(student, batch, student.model)[1]
        except (TypeError, RuntimeError):
            return False
        return torch.equal(heard, said[0]) and _agree(direct, token_nll(student, batch))


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """No dropout and no gradient inside; the mode it had afterwards."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def _agree(nll: Tensor, other: Tensor) -> bool:
    return nll.shape == other.shape and float((nll - other).abs().max()) <= TOLERANCE


def _trial_trees(cut: bool = False, encoder: bool = False) -> list[TokenTree]:
    """For the start-up trials: two chains and a tree of two branches; `cut`: its branches apart."""
    stem, left, right = [5, 9, 7], [3, 8, 2, 6], [4, 1]
    chains = [[2, 7, 4, 9, 1], [8, 3, 3, 6, 5, 1, 7]]
    if cut:
        trees = [_chain(ids, 0) for ids in (*chains, stem + left)] + [_chain(stem + right, len(stem))]
    else:
        parent = np.array([-1, 0, 1, 2, 3, 4, 5, 2, 7], np.int32)
        trees = [*map(_chain, chains), _tree(stem + left + right, parent, 0)]
    source = np.array([3, 5, 8, 2], np.int32) if encoder else None
    return [replace(tree, source=source) for tree in trees]


def _chain(ids: Sequence[int], first: int = 0) -> TokenTree:
    return _tree(ids, np.arange(-1, len(ids) - 1, dtype=np.int32), first)


def _tree(ids: Sequence[int], parent: Any, first: int) -> TokenTree:
    positions = np.arange(first, len(ids), dtype=np.int32)
    tokens = np.array(ids[first:], np.int32) % 7 + 1
    ones = np.ones(len(positions), np.float32)
    return TokenTree(np.array(ids, np.int32), parent, positions, tokens, np.zeros_like(positions), ones, None)


def _padded(trees: Sequence[TokenTree], student: Student) -> tuple[dict[str, Tensor], Any]:
    if not all(tree.is_chain for tree in trees):
        raise ValueError("a branching token tree needs packed attention; encode with sharing='chain'")
    pad = student.tokens.pad
    ids = _pad([tree.ids for tree in trees], pad)
    # Causal positions never see what is padded behind them: only an encoder needs a mask.
    # decoder_input_ids are the ids themselves; made from masked labels they would be erased (T5 shifts
    # -100 into pad).
    inputs = {"decoder_input_ids" if student.encoder_decoder else "input_ids": ids}
    if student.encoder_decoder:
        sources = [tree.source for tree in trees if tree.source is not None]
        inputs["input_ids"] = _pad(sources, pad)
        inputs["attention_mask"] = _mask([len(source) for source in sources])
    positions = np.concatenate([tree.positions.astype(np.int64) + at * ids.shape[1] for at, tree in enumerate(trees)])
    return inputs, positions


def _packed(trees: Sequence[TokenTree], device: torch.device) -> tuple[dict[str, Any], Any]:
    """One row [1, T] of all trees, their position ids (depths) and segments."""
    ids = torch.from_numpy(np.concatenate([tree.ids for tree in trees])).long()
    layout: Segments = segments(trees, device)
    offsets = np.cumsum([0, *layout.lengths[:-1]])
    positions = np.concatenate([tree.positions.astype(np.int64) + at for tree, at in zip(trees, offsets, strict=True)])
    return {"input_ids": ids[None], "position_ids": layout.depth[None], "segments": layout}, positions


def _pad(sequences: Sequence[np.ndarray[Any, Any]], pad: int) -> Tensor:
    width = max(map(len, sequences))
    out = np.full((len(sequences), width), pad, np.int64)
    for row, sequence in zip(out, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(out)


def _mask(lengths: Sequence[int]) -> Tensor:
    return (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()
