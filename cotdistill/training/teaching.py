"""Which targets a teacher's recorded distributions belong to: `--kd` between the file and the loss.

A distribution belongs to a target where the student's stream holds the recorded tokens, one after the other, among
one form's targets: same vocabulary and same segmentation. Where a strategy rewrote the rationale, or a part begins
without the blank that the teacher's tokens have, the term is left out; that is counted and said once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from cotdistill.config import DistillConfig
from cotdistill.console import warn
from cotdistill.data.distributions import beside, load, recorded_key, vocabulary_digest
from cotdistill.errors import DataError, UsageError
from cotdistill.strategies.forms import Form
from cotdistill.strategies.join import Sample
from cotdistill.students.encode import EncodedSet, TokenTree
from cotdistill.students.load import load_tokenizer
from cotdistill.students.places import locate
from cotdistill.students.student import Student
from cotdistill.training.kd import Divergence, Signal, TeacherSignal


class Teller(Protocol):
    """Who tells what a teacher says of some targets."""

    def signal(self, trees: Sequence[TokenTree], device: torch.device) -> Signal | None:
        """The teacher's side of a micro-batch, the targets of its trees one after the other; None: nothing to say."""


@dataclass(frozen=True)
class Teaching:
    """All recorded rows, ids and logprobs [R, K], and how they count."""

    ids: NDArray[np.int32]
    logprobs: NDArray[np.float16]
    divergence: Divergence
    weight: float

    def signal(self, trees: Sequence[TokenTree], device: torch.device) -> TeacherSignal | None:
        """The teacher's side of a micro-batch. A target with a negative coef is one to unlearn: it has none."""
        none = [np.full(len(tree.tokens), -1, np.int32) if tree.recorded is None else tree.recorded for tree in trees]
        recorded, coef = np.concatenate(none), np.concatenate([tree.weights for tree in trees])
        (rows,) = np.nonzero((recorded >= 0) & (coef > 0))
        if not len(rows):
            return None
        at = recorded[rows]
        return TeacherSignal(
            torch.from_numpy(rows).to(device),
            torch.from_numpy(self.ids[at].astype(np.int64)).to(device),
            torch.from_numpy(self.logprobs[at].astype(np.float32)).to(device),
            torch.from_numpy((self.weight * coef[rows]).astype(np.float32)).to(device),
            self.divergence,
        )


def with_distributions(config: DistillConfig, rows: str) -> DistillConfig:
    """The configuration with the file of --kd; refuses what cannot be learned before any weight is loaded."""
    if config.kd is None:
        return config
    Divergence.parse(config.kd)
    if config.kd_file is None:
        if rows == "-":
            raise UsageError("--kd: rows from stdin have no file of distributions beside them; name it with --kd-file")
        config = config.model_copy(update={"kd_file": beside(Path(rows))})
    assert config.kd_file is not None
    recorded = load(config.kd_file)
    vocabulary = load_tokenizer(locate(config.student), config.student, config.trust_remote_code).get_vocab()
    if vocabulary_digest(vocabulary) != recorded.vocabulary:
        raise UsageError(
            f"--kd: {config.student} has another vocabulary than the teacher of {config.kd_file}; use a student of the "
            "teacher's family, or omit --kd"
        )
    return config


def taught(
    config: DistillConfig, data: EncodedSet, samples: Sequence[Sample], student: Student
) -> tuple[EncodedSet, Teaching | None]:
    """The trees with the teacher's rows. Raises `DataError` where the file belongs to other rows."""
    if config.kd is None or config.kd_file is None:
        return data, None
    recorded = load(config.kd_file)
    places = recorded.places()
    known: dict[tuple[str, str], list[slice]] = {}
    for sample in samples:
        for kind, draft in sample.drafts.items():
            if draft.rationale:
                key = recorded_key(draft.example.id, kind, draft.rationale)
                if key not in places:
                    raise DataError.at(
                        str(config.kd_file),
                        None,
                        f"has no distributions of a rationale of {sample.id!r}: it belongs to other rows",
                        "elicit --logprobs K makes those of these rows",
                    )
                known.setdefault((sample.id, kind), []).append(places[key])
    trees = []
    for id_, each in zip(data.ids, data.samples, strict=True):
        by_kind: dict[str, list[slice]] = {form.kind: known.get((id_, form.kind), []) for form in data.forms}
        trees.append([_aligned(tree, data.forms, recorded.tokens, by_kind) for tree in each])
    _say(trees, config)
    return replace(data, samples=trees), Teaching(
        recorded.ids, recorded.logprobs, Divergence.parse(config.kd, config.kd_temperature), config.kd_weight
    )


def _aligned(
    tree: TokenTree, forms: Sequence[Form], recorded: NDArray[np.int32], known: Mapping[str, Sequence[slice]]
) -> TokenTree:
    """The tree with the row of the teacher's distribution for each target; `recorded`: the tokens of all rows [R]."""
    rows = np.full(len(tree.tokens), -1, np.int32)
    for at, form in enumerate(forms):
        (places,) = np.nonzero(tree.forms == at)  # along a sequence, nodes are numbered upwards
        stream = tree.tokens[places]
        # The longest first: a shorter rationale may be the beginning of another.
        for place in sorted(known[form.kind], key=lambda place: place.start - place.stop):
            first = _find(recorded[place], stream)
            if first is not None:
                rows[places[first : first + place.stop - place.start]] = np.arange(place.start, place.stop)
                break
    return replace(tree, recorded=rows)


def _find(part: NDArray[np.int32], whole: NDArray[np.int32]) -> int | None:
    """Where `part` first lies in `whole`."""
    if not len(part) or len(part) > len(whole):
        return None
    windows = np.lib.stride_tricks.sliding_window_view(whole, len(part))
    (places,) = np.nonzero((windows == part).all(-1))
    return int(places[0]) if len(places) else None


def _say(trees: Sequence[Sequence[TokenTree]], config: DistillConfig) -> None:
    """How much the teacher says. Raises `UsageError` where that is nothing."""
    without = sum(not any((tree.recorded >= 0).any() for tree in each if tree.recorded is not None) for each in trees)
    if without == len(trees):
        raise UsageError(
            f"--kd: {config.strategy} learns no rationale in the words and tokens that the teacher's distributions "
            "are of; omit --kd, or choose a strategy that learns the rationale as it is"
        )
    if without:
        warn(f"--kd: {without} of {len(trees)} samples have no rationale in the teacher's tokens; the term is left out")
