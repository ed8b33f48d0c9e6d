"""The peers: the papers' loops, what a user would write, HF Trainer and TRL, each at its fair settings.

All read the same rows as next-token labels, made from our encoder's unshared sequences. Nothing of this is
used outside the benchmarks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Trainer, TrainerCallback, TrainingArguments

from cotdistill.students.encode import EncodedSet, TokenTree
from cotdistill.students.student import Student
from tests.benchmarks.rounds import Paused

IGNORE = -100
Example = dict[str, Any]
Advance = Callable[[int], None]


def labelled(tree: TokenTree) -> tuple[list[int], list[int]]:
    """A sequence and its next-token labels (IGNORE where nothing is scored), as every other trainer wants
    them.
    """
    ids = [*tree.ids.tolist(), int(tree.tokens[tree.positions.argmax()])]
    labels = [IGNORE] * len(ids)
    for position, token in zip(tree.positions.tolist(), tree.tokens.tolist(), strict=True):
        labels[position + 1] = token
    return ids, labels


def examples(data: EncodedSet) -> list[Example]:
    """One dictionary an example: for each form k its ids{k}, labels{k} and, with an encoder, source{k}."""
    made = []
    for trees in data.samples:
        example: Example = {}
        for tree in trees:
            form = int(tree.forms[0])
            example[f"ids{form}"], example[f"labels{form}"] = labelled(tree)
            if tree.source is not None:
                example[f"source{form}"] = tree.source.tolist()
        made.append(example)
    return made


def pad(sequences: list[list[int]], fill: int, width: int | None = None) -> Tensor:
    """Sequences padded on the right."""
    width = width or max(map(len, sequences))
    return torch.tensor([sequence[:width] + [fill] * (width - len(sequence)) for sequence in sequences])


def batch_of(rows: list[Example], form: int, pad_id: int, width: int | None = None) -> dict[str, Tensor]:
    """Inputs and labels of one form, padded to `width` or to the longest."""
    ids = [row[f"ids{form}"] for row in rows]
    inputs = {
        "input_ids": pad(ids, pad_id, width),
        "labels": pad([row[f"labels{form}"] for row in rows], IGNORE, width),
    }
    inputs["attention_mask"] = pad([[1] * len(row) for row in ids], 0, width)
    return inputs


def mean_nll(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the scored tokens of one form, from full logits."""
    wide = logits.float()
    return F.cross_entropy(wide[:, :-1].reshape(-1, wide.shape[-1]), labels[:, 1:].reshape(-1))


def two_forwards(student: Student, rows: list[Example], shares: list[float], width: int | None = None) -> Tensor:
    """What a user would write: one forward and one mean loss a form."""
    total = torch.zeros(())
    for form, share in enumerate(shares):
        total = total + share * student.model(**batch_of(rows, form, student.tokens.pad, width), use_cache=False).loss
    return total


def concatenated(student: Student, rows: list[Example], shares: list[float], width: int | None = None) -> Tensor:
    """CasCoD's published way: both steps stacked in one batch, full float32 logits, one mean a step.

    As there, nobody switches the key-value cache off.
    """
    width = width or max(len(row[f"ids{form}"]) for row in rows for form in range(len(shares)))
    batches = [batch_of(rows, form, student.tokens.pad, width) for form in range(len(shares))]
    ids, mask = (torch.cat([batch[name] for batch in batches]) for name in ("input_ids", "attention_mask"))
    logits = student.model(input_ids=ids, attention_mask=mask).logits.float().chunk(len(shares))
    return sum(
        (share * mean_nll(part, batch["labels"]) for share, part, batch in zip(shares, logits, batches, strict=True)),
        torch.zeros(()),
    )


def seq2seq_forwards(student: Student, rows: list[Example], shares: list[float], width: int | None = None) -> Tensor:
    """SCOTT's published loop on T5: factual and counterfactual batch apart, both padded to `width`."""
    total = torch.zeros(())
    for form, share in enumerate(shares):
        sources = [row[f"source{form}"] for row in rows]
        ids, labels = ([row[f"{name}{form}"] for row in rows] for name in ("ids", "labels"))
        logits = student.model(
            input_ids=pad(sources, student.tokens.pad, width),
            attention_mask=pad([[1] * len(source) for source in sources], 0, width),
            decoder_input_ids=pad([row[:-1] for row in ids], student.tokens.pad, width),
            use_cache=False,
        ).logits
        scored = pad([row[1:] for row in labels], IGNORE, width)
        total = total + share * F.cross_entropy(logits.reshape(-1, logits.shape[-1]), scored.reshape(-1))
    return total


def loop(
    student: Student, data: EncodedSet, size: int, loss: Callable[..., Tensor], optimizer: Any, width: int | None = None
) -> Advance:
    """A plain training loop around one of the losses above."""
    rows, shares = examples(data), [form.share for form in data.forms]
    steps = _slices(len(rows), size)
    student.model.train()

    def advance(count: int) -> None:
        for _ in range(count):
            loss(student, [rows[at] for at in next(steps)], shares, width).backward()
            torch.nn.utils.clip_grad_norm_(student.model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return advance


def hf_trainer(student: Student, data: EncodedSet, size: int) -> Advance:
    """HF Trainer; with two forms compute_loss makes two forwards, with one it is plain chain of thought."""
    rows, shares = examples(data), [form.share for form in data.forms]

    class TwoLosses(Trainer):
        def compute_loss(self, model: Any, inputs: dict[str, Any], *_: Any, **__: Any) -> Tensor:
            if len(shares) == 1:
                return model(**inputs[0], use_cache=False).loss
            return sum(
                (share * model(**inputs[form], use_cache=False).loss for form, share in enumerate(shares)),
                torch.zeros((), device=self.args.device),
            )

        def _prepare_inputs(self, inputs: dict[int, Any]) -> dict[int, Any]:
            return {form: super(TwoLosses, self)._prepare_inputs(batch) for form, batch in inputs.items()}

    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=size,
        max_steps=100_000,
        learning_rate=1e-4,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        logging_strategy="no",
        use_cpu=student.device.type == "cpu",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        bf16=student.device.type == "cuda",
    )

    def collate(chosen: list[Example]) -> dict[int, Any]:
        return {form: batch_of(chosen, form, student.tokens.pad) for form in range(len(shares))}

    return _paused(
        lambda callback: TwoLosses(
            student.model, arguments, train_dataset=rows, data_collator=collate, callbacks=[callback]
        )
    )


def trl_trainer(student: Student, data: EncodedSet, size: int, **settings: Any) -> Advance:
    """TRL's SFTTrainer, `size` sequences (packed: rows) per step, with `settings` of its configuration.

    Without checkpointing and, on a CPU, without bfloat16: its defaults, which only slow a model that fits.
    """
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = []
    for example in examples(data):
        for form in range(len(data.forms)):
            labels = example[f"labels{form}"]
            rows.append(
                {"input_ids": example[f"ids{form}"], "completion_mask": [int(label != IGNORE) for label in labels]}
            )
    cuda = student.device.type == "cuda"
    chosen = {
        "output_dir": tempfile.mkdtemp(),
        "per_device_train_batch_size": size,
        "max_steps": 100_000,
        "learning_rate": 1e-4,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_strategy": "no",
        "use_cpu": not cuda,
        "gradient_checkpointing": False,
        "bf16": cuda,
        "max_length": None,
        "completion_only_loss": True,
        "dataloader_pin_memory": False,
        **settings,
    }
    arguments = SFTConfig(**chosen)
    return _paused(
        lambda callback: SFTTrainer(
            student.model,
            arguments,
            train_dataset=Dataset.from_list(rows),
            processing_class=student.tokenizer,
            callbacks=[callback],
        )
    )


def trl_on_policy(student: Student, teacher: Student, prompts: list[str], size: int, tokens: int) -> Advance:
    """TRL's DistillationTrainer: reverse KL on texts of `tokens` tokens that the student samples at temperature 1;
    without checkpointing and bfloat16, its defaults, which only slow a CPU.
    """
    from datasets import Dataset
    from trl import DistillationConfig, DistillationTrainer

    arguments = DistillationConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=size,
        max_steps=100_000,
        learning_rate=1e-4,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        logging_strategy="no",
        use_cpu=True,
        gradient_checkpointing=False,
        bf16=False,
        max_completion_length=tokens,
        dataloader_pin_memory=False,
    )
    return _paused(
        lambda callback: DistillationTrainer(
            student.model,
            teacher.model,
            arguments,
            train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in prompts]),
            processing_class=student.tokenizer,
            callbacks=[callback],
        )
    )


def trl_divergence(student: Student, teacher: Student, trees: list[TokenTree], beta: float) -> Tensor:
    """TRL's loss of these texts, GKD's as its trainer takes it: from both models' full logits, padded."""
    from trl.experimental.gkd import GKDTrainer

    rows = [dict(zip(("ids0", "labels0"), labelled(tree), strict=True)) for tree in trees]
    batch = batch_of(rows, 0, student.tokens.pad)
    labels = batch.pop("labels")
    with torch.no_grad():
        told = teacher.model(**batch, use_cache=False).logits
    logits = student.model(**batch, use_cache=False).logits
    loss: Tensor = GKDTrainer.generalized_jsd_loss(logits[:, :-1], told[:, :-1], labels[:, 1:], beta)
    return loss


def _paused(build: Callable[[TrainerCallback], Any]) -> Paused:
    def run(step_done: Callable[[], None]) -> None:
        class Gate(TrainerCallback):
            def on_step_end(self, *_: Any, **__: Any) -> None:
                step_done()

        build(Gate()).train()

    return Paused(run)


def _slices(rows: int, size: int) -> Iterator[list[int]]:
    at = 0
    while True:
        yield [place % rows for place in range(at, at + size)]
        at += size
