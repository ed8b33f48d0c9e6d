"""The one place that knows decoder-only from encoder-decoder: loading, collating and the nll of targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from cotdistill.config import DEMO
from cotdistill.errors import Unavailable
from cotdistill.students.batches import Row
from cotdistill.students.encode import Encoded
from cotdistill.students.tokens import SegmentTokenizer


@dataclass(frozen=True)
class Batch:
    """One micro-batch. `inputs` are the model's keyword arguments; `keep` marks the P positions whose logits are
    needed; target n reads logits row rows[n] and is token tokens[n] with coef[n]."""

    inputs: dict[str, Tensor]  # ids and masks [B, T]
    keep: Tensor  # bool [B, T], P of them true
    rows: Tensor  # [N] in 0..P-1
    tokens: Tensor  # [N]
    forms: Tensor  # [N]
    coef: Tensor  # [N]


class Student:
    """A model, its tokenizer, and how token trees become its inputs."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.encoder_decoder: bool = bool(model.config.is_encoder_decoder)
        self.tokens = SegmentTokenizer(tokenizer, self.encoder_decoder)

    @property
    def device(self) -> torch.device:
        """Where the model's inputs must be."""
        return next(self.model.parameters()).device

    @property
    def start(self) -> int | None:
        """The decoder's start id, None for decoder-only models."""
        if not self.encoder_decoder:
            return None
        start = self.model.config.decoder_start_token_id
        return int(start if start is not None else self.tokens.pad)

    @property
    def context(self) -> int | None:
        """Longest sequence the model can take; None where its positions are relative and unbounded (T5)."""
        config = self.model.config
        if self.encoder_decoder and getattr(config, "relative_attention_num_buckets", None):
            return None
        return getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)

    def collate(self, rows: Sequence[Row]) -> Batch:
        """Token trees padded on the right to the micro-batch's longest, on the model's device."""
        trees = [row.tree for row in rows]
        ids = _pad([tree.ids for tree in trees], self.tokens.pad)
        mask = _mask([len(tree.ids) for tree in trees], ids.shape[1])
        if self.encoder_decoder:
            source = _pad([tree.source for tree in trees if tree.source is not None], self.tokens.pad)
            lengths = [len(tree.source) for tree in trees if tree.source is not None]
            # decoder_input_ids are the ids themselves: made from masked labels they would be erased (T5 shifts -100
            # into pad).
            inputs = {"input_ids": source, "attention_mask": _mask(lengths, source.shape[1]),
                      "decoder_input_ids": ids, "decoder_attention_mask": mask}
        elif all(tree.is_chain for tree in trees):
            inputs = {"input_ids": ids, "attention_mask": mask}
        else:
            ancestors, depth = _tree_attention(trees, ids.shape[1])
            inputs = {"input_ids": ids, "attention_mask": ancestors, "position_ids": depth}
        keep, positions = _keep(trees, ids.shape)
        batch = Batch(inputs, keep, positions, *(
            torch.from_numpy(np.concatenate(parts)).to(kind) for parts, kind in (
                ([tree.tokens for tree in trees], torch.long), ([tree.forms for tree in trees], torch.long),
                ([row.coef for row in rows], torch.float32))))
        return _to(batch, self.device)

    def token_nll(self, batch: Batch, model: nn.Module | None = None) -> Tensor:
        """Negative log likelihood of every target, float32 [N]. `model` is the prepared (wrapped) one in training."""
        with selected_head(self.model, batch.keep):
            logits = (model or self.model)(**batch.inputs, use_cache=False).logits
        return nll_of(logits.reshape(-1, logits.shape[-1]), batch.rows, batch.tokens)

    def save(self, folder: Path) -> None:
        """Hugging Face format with tokenizer; safetensors."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def load_student(name: str, dtype: str = "float32", device: str = "cpu", trust_remote_code: bool = False) -> Student:
    """A student by local path or hub name, or the embedded demo base; any Auto-class model of either family."""
    where = str(demo_model("base")) if name == DEMO else name
    options = {"trust_remote_code": trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(where, **options)
        auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model = auto.from_pretrained(where, dtype=getattr(torch, dtype), use_safetensors=True, **options)
        tokenizer = AutoTokenizer.from_pretrained(where, **options)
    except (OSError, ValueError, ImportError) as error:
        raise Unavailable(f"cannot load the model {name!r}: {_first_line(error)}") from error
    return Student(model.to(device).eval(), tokenizer)


def demo_model(role: str) -> Path:
    """Folder of an embedded model: teacher, base or simulator."""
    return Path(__file__).parents[1] / "demo" / "models" / role


@contextmanager
def selected_head(model: Any, keep: Tensor) -> Iterator[None]:
    """Only the kept positions reach the language-model head; logits come back as [P, V] in row-major order.

    A hook in front of the head instead of a head run by hand: scaling before it (T5) and soft-capping after it
    (Gemma 2) stay the model's own, and it works through DDP's forward.
    """
    head = model.get_output_embeddings()

    def select(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0][keep], *inputs[1:])

    hook = head.register_forward_pre_hook(select)
    try:
        yield
    finally:
        hook.remove()


def nll_of(logits: Tensor, rows: Tensor, tokens: Tensor) -> Tensor:
    """-log softmax(logits)[row, token] in float32; logits [P, V], rows and tokens [N] -> [N]."""
    wide = logits.float()
    return wide.logsumexp(-1)[rows] - wide[rows, tokens]


def _pad(sequences: Sequence[np.ndarray[Any, Any]], pad: int) -> Tensor:
    width = max(map(len, sequences))
    out = np.full((len(sequences), width), pad, np.int64)
    for row, sequence in zip(out, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(out)


def _mask(lengths: Sequence[int], width: int) -> Tensor:
    return (torch.arange(width)[None] < torch.tensor(lengths)[:, None]).long()


def _keep(trees: Sequence[Encoded], shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Positions with a target, bool [B, T], and for each target its row among them [N]."""
    keep = torch.zeros(shape, dtype=torch.bool)
    rows, seen = [], 0
    for at, tree in enumerate(trees):
        unique, inverse = np.unique(tree.positions, return_inverse=True)
        keep[at, torch.from_numpy(unique).long()] = True
        rows.append(torch.from_numpy(inverse.astype(np.int64)) + seen)
        seen += len(unique)
    return keep, torch.cat(rows)


def _tree_attention(trees: Sequence[Encoded], width: int) -> tuple[Tensor, Tensor]:
    """Ancestor mask bool [B, 1, T, T] (true: may attend) and depth of each node [B, T] as position ids."""
    mask = torch.eye(width, dtype=torch.bool).repeat(len(trees), 1, 1)  # padding attends to itself: no empty softmax
    depth = torch.zeros(len(trees), width, dtype=torch.long)
    for at, tree in enumerate(trees):
        for node, parent in enumerate(tree.parent.tolist()):
            if parent >= 0:
                mask[at, node] |= mask[at, parent]
                depth[at, node] = depth[at, parent] + 1
    return mask[:, None], depth


def _to(batch: Batch, device: torch.device) -> Batch:
    return Batch({name: value.to(device) for name, value in batch.inputs.items()}, batch.keep.to(device),
                 batch.rows.to(device), batch.tokens.to(device), batch.forms.to(device), batch.coef.to(device))


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
