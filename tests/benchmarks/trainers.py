"""The work of one table, and every trainer that can be put to it: ours, a user's loop, HF Trainer and TRL."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cotdistill.config import DistillConfig
from cotdistill.data.records import Item
from cotdistill.students.encode import EncodedSet, Sharing
from cotdistill.students.student import Student
from cotdistill.training.lora import attach, parse_lora
from cotdistill.training.train import Loop
from tests.benchmarks import peers
from tests.benchmarks.workload import encoded

Start = Callable[[], peers.Advance]


@dataclass(frozen=True)
class Work:
    """What every trainer of a table is given: a student, rows, and how many examples make an optimizer step."""

    model: Callable[[], Student]
    rows: Callable[[], list[Item]]
    size: int
    lora: str | None = None  # adapters in place of the weights, the same for all
    row_length: int = 1024  # tokens of a packed row of TRL's
    settings: Mapping[str, object] = field(default_factory=dict)  # of `distill`
    params: Mapping[str, Any] = field(default_factory=dict)  # of the strategy

    def student(self) -> Student:
        """A fresh one, with its adapters."""
        made = self.model()
        if self.lora is not None:
            attach(made, parse_lora(self.lora))
        return made

    def encoded(self, student: Student, strategy: str, sharing: Sharing | None = None) -> EncodedSet:
        """The rows in a strategy's forms; `sharing` None: merged as `distill` merges them."""
        return encoded(student, strategy, self.rows(), sharing, **self.params)

    def ours(self, strategy: str, **settings: object) -> Start:
        """`distill`'s loop, advanced optimizer step by optimizer step."""

        def start() -> peers.Advance:
            student = self.student()
            given = {"steps": 100_000, "batch_size": self.size, "lr": 1e-4, "schedule": "constant", "device": "cpu"}
            config = DistillConfig.model_validate({**given, **self.settings, **settings})
            return Loop(student, self.encoded(student, strategy), config, Path(tempfile.mkdtemp())).advance

        return start

    def loop(
        self,
        strategy: str,
        loss: Callable[..., torch.Tensor],
        width: int | None = None,
        optimizer: Callable[[Any], Any] = partial(torch.optim.AdamW, lr=1e-4),
    ) -> Start:
        """A hand-written loop around one of the peers' losses."""

        def start() -> peers.Advance:
            student = self.student()
            data = self.encoded(student, strategy, "none")
            return peers.loop(student, data, self.size, loss, optimizer(student.model.parameters()), width)

        return start

    def hf(self, strategy: str) -> Start:
        """HF Trainer: one loss a form."""

        def start() -> peers.Advance:
            student = self.student()
            return peers.hf_trainer(student, self.encoded(student, strategy, "none"), self.size)

        return start

    def trl(self, strategy: str, sequences: int, **settings: Any) -> Start:
        """TRL's SFTTrainer on `sequences` per step (packed: rows), with settings of `SFTConfig`."""

        def start() -> peers.Advance:
            student = self.student()
            chosen = {**settings, "max_length": self.row_length} if settings.get("packing") else settings
            return peers.trl_trainer(student, self.encoded(student, strategy, "none"), sequences, **chosen)

        return start

    def packed_examples(self, strategy: str = "cot") -> float:
        """How many examples a packed row of TRL's holds on average."""
        from datasets import Dataset
        from trl.data_utils import pack_dataset

        ids = [[*trees[0].ids.tolist(), 0] for trees in self.encoded(self.model(), strategy, "none").samples]
        return len(ids) / len(pack_dataset(Dataset.from_dict({"input_ids": ids}), self.row_length))

    def useful_gflop(self, strategy: str) -> float:
        """Least work of an example: its tokens once through the layers, its learned tokens once through the head.

        Forward, and backward to states and weights: with frozen weights to the states alone.
        """
        student = self.model()
        data = self.encoded(student, strategy, "chain")
        layers = sum(p.numel() for name, p in student.model.named_parameters() if ".layers." in name and p.ndim == 2)
        head = student.model.get_output_embeddings().weight.numel()
        config = student.model.config
        total = 0
        for trees in data.samples:
            for tree in trees:
                length = len(tree.ids)
                attention = 2 * length * length * config.hidden_size * config.num_hidden_layers  # half of 4 T^2 D
                total += 2 * length * layers + 2 * len(set(tree.positions.tolist())) * head + attention
        return (3 if self.lora is None else 2) * total / len(data.samples) / 1e9
