"""A teacher's distributions beside the rows: for each token of a rationale the K likeliest tokens and their log
probabilities, in one safetensors file (ROWS.logprobs.safetensors).

tokens [T] int32: the ids of all rationales, one after the other, as segments of the teacher's tokenizer; ids [T, K]
int32 (-1: none, where a server told fewer) and logprobs [T, K] float16; bounds [R + 1] int64: rationale r has tokens
bounds[r] to bounds[r + 1]. A rationale is known by `recorded_key`, so that a file of other rows is noticed, and by the
teacher's call that it answered, so that what is complete is not made again; a seal notices damage.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from cotdistill.data.files import writing
from cotdistill.data.seal import seal
from cotdistill.errors import DataError, UsageError

SUFFIX = ".logprobs.safetensors"
ARRAYS = ("tokens", "ids", "logprobs", "bounds")


@dataclass(frozen=True)
class Recorded:
    """One rationale: tokens [t], the K likeliest ids [t, K] in descending order, and their logprobs [t, K]."""

    tokens: NDArray[np.int32]
    ids: NDArray[np.int32]
    logprobs: NDArray[np.float16]


@dataclass(frozen=True)
class Distributions:
    """All recorded rationales as they lie in the file; `vocabulary`: digest of the tokenizer that gave the ids."""

    tokens: NDArray[np.int32]  # [T]
    ids: NDArray[np.int32]  # [T, K]
    logprobs: NDArray[np.float16]  # [T, K]
    bounds: NDArray[np.int64]  # [R + 1]
    keys: Sequence[str]  # [R] `recorded_key` of each
    vocabulary: str
    calls: Sequence[str] = ()  # [R] key of the teacher's call that each answered

    @classmethod
    def of(
        cls,
        rationales: Mapping[str, Recorded],
        vocabulary: str,
        k: int,
        calls: Mapping[str, str] = MappingProxyType({}),
    ) -> Distributions:
        """`rationales` and the keys of their `calls`, both by `recorded_key`."""
        each = list(rationales.values())
        return cls(
            np.concatenate([np.zeros(0, np.int32), *(one.tokens for one in each)]),
            np.concatenate([np.zeros((0, k), np.int32), *(one.ids for one in each)]),
            np.concatenate([np.zeros((0, k), np.float16), *(one.logprobs for one in each)]),
            np.cumsum([0, *(len(one.tokens) for one in each)]).astype(np.int64),
            list(rationales),
            vocabulary,
            [calls.get(key, "") for key in rationales],
        )

    def each(self) -> dict[str, tuple[str, Recorded]]:
        """The call and the tokens of each rationale, by `recorded_key`."""
        calls = dict(zip(self.keys, self.calls, strict=False))
        return {
            key: (calls.get(key, ""), Recorded(self.tokens[at], self.ids[at], self.logprobs[at]))
            for key, at in self.places().items()
        }

    @property
    def k(self) -> int:
        """Tokens stored for each place."""
        return int(self.ids.shape[1])

    def top(self, k: int | None) -> Distributions:
        """Only the k likeliest tokens. Raises `UsageError` where fewer are stored."""
        if k is None or k == self.k:
            return self
        if k > self.k:
            raise UsageError(f"--kd-top {k}: only {self.k} tokens are stored; elicit --logprobs {k}, or take fewer")
        return replace(self, ids=self.ids[:, :k], logprobs=self.logprobs[:, :k])

    def places(self) -> dict[str, slice]:
        """Where each rationale's rows are, by `recorded_key`."""
        parts = itertools.pairwise(self.bounds.tolist())
        return {key: slice(first, last) for key, (first, last) in zip(self.keys, parts, strict=True)}


def beside(rows: Path) -> Path:
    """The file that belongs to a file of elicited rows."""
    return rows.with_name(rows.name + SUFFIX)


def recorded_key(row: str, kind: str, text: str) -> str:
    """What a rationale is known by: its question's id, its kind and its words."""
    return hashlib.sha256("\x1f".join((row, kind, text)).encode("utf-8", "backslashreplace")).hexdigest()


def vocabulary_digest(vocabulary: Mapping[str, int]) -> str:
    """sha256 of a tokenizer's pieces and their ids."""
    return hashlib.sha256(json.dumps(sorted(vocabulary.items())).encode()).hexdigest()


def save(path: Path, recorded: Distributions) -> None:
    """Write aside and rename. Raises `OutputError` where the disk does not take it."""
    arrays = {name: getattr(recorded, name) for name in ARRAYS}
    # One entry: safetensors writes several in no fixed order, and the file's digest is part of a run's key.
    about = {"keys": list(recorded.keys), "calls": list(recorded.calls), "vocabulary": recorded.vocabulary}
    about["seal"] = _seal(arrays, about)
    aside = path.with_suffix(f".{os.getpid()}.tmp")
    with writing(path):
        save_file(arrays, aside, {"about": json.dumps(about)})
        os.replace(aside, path)


def load(*paths: Path) -> Distributions:
    """What `save` wrote into these files, as one: as many tokens for each place as all of them have. Raises
    `UsageError` where a file is missing or has another vocabulary than the first, `DataError` where it is damaged."""
    for path in paths:
        if not path.is_file():
            raise UsageError(f"--kd needs the teacher's distributions, and {path} does not exist; elicit --logprobs K")
    return _joined(tuple((path, state.st_mtime_ns, state.st_size) for path in paths if (state := path.stat())))


@lru_cache(maxsize=1)
def _joined(files: tuple[tuple[Path, int, int], ...]) -> Distributions:
    """Files are read once per process, and again after one was rewritten."""
    each = [_read(path) for path, *_ in files]
    if len(each) == 1:
        return each[0]
    for (path, *_), one in zip(files, each, strict=True):
        if one.vocabulary != each[0].vocabulary:
            raise UsageError(
                f"--kd: {path} is of another vocabulary than {files[0][0]}; mix rows of teachers that share one"
            )
    k = min(one.k for one in each)
    begun = np.cumsum([0, *(len(one.tokens) for one in each)])
    bounds = [one.bounds[1:] + first for one, first in zip(each, begun, strict=False)]
    return Distributions(
        np.concatenate([one.tokens for one in each]),
        np.concatenate([one.ids[:, :k] for one in each]),
        np.concatenate([one.logprobs[:, :k] for one in each]),
        np.concatenate([np.zeros(1, np.int64), *bounds]),
        [key for one in each for key in one.keys],
        each[0].vocabulary,
        [call for one in each for call in one.calls],
    )


def _read(path: Path) -> Distributions:
    try:
        with safe_open(path, framework="numpy") as stored:
            arrays = {name: stored.get_tensor(name) for name in ARRAYS}
            about = json.loads(stored.metadata()["about"])
        if about.pop("seal") != _seal(arrays, about):
            raise ValueError("not what was written")
        return Distributions(**arrays, **about)
    except Exception as error:  # whatever a damaged file makes of its readers
        raise DataError.at(
            str(path), None, f"is damaged or no file of distributions ({type(error).__name__})", "elicit --logprobs K"
        ) from error


def _seal(arrays: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    return seal(((name, str(array.dtype), array.shape, array.tobytes()) for name, array in arrays.items()), **about)
