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
from cotdistill.data.distributions import Distributions, beside, load, recorded_key, vocabulary_digest
from cotdistill.data.mixture import mixed_files, takes_own
from cotdistill.data.records import Example
from cotdistill.errors import DataError, UsageError
from cotdistill.strategies.forms import Draft, FillContext, Form, Strategy, Tokens
from cotdistill.strategies.join import Sample
from cotdistill.students.encode import EncodedSet, TokenTree
from cotdistill.students.load import load_tokenizer
from cotdistill.students.places import locate
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
    own = takes_own(config.mix)
    if config.kd_file is None and own:
        config = config.model_copy(update={"kd_file": file_beside(rows)})
    elif config.kd_file is not None and not own:
        raise UsageError(
            f"--kd-file changes nothing: --mix {','.join(config.mix)} takes none of the command's own rows"
        )
    files = files_of(config.kd_file, config.mix)
    recorded = load(*files).top(config.kd_top)
    check_vocabulary(config.student, config.trust_remote_code, recorded.vocabulary, f"the teacher of {files[0]}")
    return config


def files_of(own: Path | None, mix: Sequence[str]) -> list[Path]:
    """The files of distributions of all that is learned: the command's own rows' and those of the files mixed in."""
    return [*([] if own is None else [own]), *(beside(file) for file in mixed_files(mix))]


def file_beside(rows: str) -> Path:
    """The file of distributions of a file of rows. Raises `UsageError` for stdin, which has nothing beside it."""
    if rows == "-":
        raise UsageError("--kd: rows from stdin have no file of distributions beside them; name it with --kd-file")
    return beside(Path(rows))


def check_vocabulary(student: str, trust_remote_code: bool, vocabulary: str, whose: str) -> None:
    """Raise `UsageError` where a student's tokenizer is not the one with the digest `vocabulary`."""
    if vocabulary_of(student, trust_remote_code) != vocabulary:
        raise UsageError(
            f"--kd: {student} has another vocabulary than {whose}; use a student of the teacher's family, or omit --kd"
        )


def vocabulary_of(name: str, trust_remote_code: bool) -> str:
    """Digest of the vocabulary of a model's tokenizer."""
    return vocabulary_digest(load_tokenizer(locate(name), name, trust_remote_code).get_vocab())


def check_recorded(recorded: Distributions, samples: Sequence[Sample], files: Sequence[Path]) -> None:
    """Raise `DataError` where a rationale that is learned is none of the recorded ones."""
    known = set(recorded.keys)
    for sample in samples:
        for kind, draft in sample.drafts.items():
            if draft.rationale and recorded_key(draft.example.id, kind, draft.rationale) not in known:
                raise DataError.at(
                    ", ".join(map(str, files)),
                    None,
                    f"has no distributions of a rationale of {sample.id!r}: it belongs to other rows",
                    "elicit --logprobs K makes those of these rows",
                )


def learns_as_given(strategy: Strategy) -> bool:
    """Whether a strategy learns rationales in the teacher's own words, in some pass over the rows: found by filling its
    forms with a made-up one. A rewritten rationale is one that the teacher said nothing of."""
    if not any(part.slot == "rationale" and part.weight for form in strategy.learned_forms() for part in form.target):
        return False
    text = "First, 2 plus 3 is 5. Then 5 minus 4 is 1.\nStep 3 says so."
    example = Example(id="probe", task="probe", split="train", question="What is it?", choices=None, answer="1")
    other = Draft(example, "First, 2 plus 3 is 6. Then 6 minus 4 is 2.\nStep 3 says so.", "2", kind="counterfactual")
    draft = Draft(example, text, "1", dual=other)
    for epoch, progress in ((0, 0.0), (9, 0.99)):
        context = FillContext(0, _bytes, lambda id_, words, answer: [0.0] * len(words.split()), _bare, epoch, progress)
        filled = strategy.fill(draft, context)["rationale"]
        if filled == text or (isinstance(filled, Tokens) and filled.ids == _bytes(" " + text)):
            return True
    return False


def _bytes(text: str) -> tuple[int, ...]:
    return tuple(text.encode())


def _bare(draft: Draft) -> str:
    return draft.answer


def taught(
    config: DistillConfig, data: EncodedSet, samples: Sequence[Sample], always: bool = True
) -> tuple[EncodedSet, Teaching | None]:
    """The trees with the teacher's rows. Raises `DataError` where the file belongs to other rows.

    `always`: complain where no rationale is learned as recorded; a progressive strategy may have passes without.
    """
    files = files_of(config.kd_file, config.mix)
    if config.kd is None or not files:
        return data, None
    recorded = load(*files).top(config.kd_top)
    check_recorded(recorded, samples, files)
    places = recorded.places()
    known: dict[tuple[str, str], list[slice]] = {}
    for sample in samples:
        for kind, draft in sample.drafts.items():
            if draft.rationale:
                place = places[recorded_key(draft.example.id, kind, draft.rationale)]
                known.setdefault((sample.id, kind), []).append(place)
    trees = []
    for id_, each in zip(data.ids, data.samples, strict=True):
        by_kind: dict[str, list[slice]] = {form.kind: known.get((id_, form.kind), []) for form in data.forms}
        trees.append([_aligned(tree, data.forms, recorded.tokens, by_kind) for tree in each])
    if always:
        _say(trees, config.strategy)
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


def _say(trees: Sequence[Sequence[TokenTree]], strategy: str) -> None:
    """How much the teacher says. Raises `UsageError` where that is nothing."""
    without = sum(not any((tree.recorded >= 0).any() for tree in each if tree.recorded is not None) for each in trees)
    if without == len(trees):
        raise UsageError(
            f"--kd: {strategy} learns no rationale in the words and tokens that the teacher's distributions "
            "are of; omit --kd, or choose a strategy that learns the rationale as it is"
        )
    if without:
        warn(f"--kd: {without} of {len(trees)} samples have no rationale in the teacher's tokens; the term is left out")
