"""Tokenised rows kept on disk under the digest of everything they depend on; a second run reads them back.

A cache is done without: where it cannot be read or written, a warning says so and the rows are tokenised.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from cotdistill import __version__
from cotdistill.console import warn_once
from cotdistill.data.files import writing
from cotdistill.data.seal import seal
from cotdistill.errors import OutputError
from cotdistill.strategies.description import dump_strategy
from cotdistill.strategies.forms import Draft, FillContext, Strategy
from cotdistill.strategies.join import Sample
from cotdistill.students.encode import EncodedSet, Encoder, TokenTree

LAYOUT = 2  # raise it where the meaning of what is stored changes
PER_TARGET = ("positions", "tokens", "forms", "weights")


def default_folder() -> Path:
    """Where encoded rows are kept: the user's cache directory."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cotdistill" / "encoded"


def encode_cached(
    encoder: Encoder, samples: Sequence[Sample], strategy: Strategy, context: FillContext, folder: Path | None = None
) -> EncodedSet:
    """`encoder.encode`, or its stored result.

    Strategies with word scores and plug-ins are encoded anew: what they read besides the rows has no digest here.
    """
    ours = strategy.code is None and getattr(strategy.fill, "__module__", "").startswith("cotdistill.")
    if strategy.needs_scores is not None or not ours:
        return encoder.encode(samples, strategy, context)
    try:
        folder = folder or default_folder()
    except RuntimeError:  # no HOME and no such user
        return encoder.encode(samples, strategy, context)
    stored = folder / f"{cache_key(encoder, samples, strategy, context)}.safetensors"
    cached = _stored(stored, strategy)
    if cached is not None:
        return cached
    data = encoder.encode(samples, strategy, context)
    try:
        save(stored, data)
    except OutputError as error:
        warn_once(f"{error}; the rows are tokenised again next time")
    return data


def _stored(path: Path, strategy: Strategy) -> EncodedSet | None:
    """What is stored, None where there is nothing or where it is damaged."""
    try:
        return load(path, strategy) if path.exists() else None
    except Exception as error:  # whatever a damaged file makes of its readers
        warn_once(f"{path} is damaged ({type(error).__name__}); the rows are tokenised again")
        return None


def cache_key(encoder: Encoder, samples: Sequence[Sample], strategy: Strategy, context: FillContext) -> str:
    """sha256 over tokenizer, rendering options, strategy and every row."""
    words = encoder.tokens
    backend = getattr(words.tokenizer, "backend_tokenizer", None)
    settings = [
        LAYOUT,
        __version__,
        dump_strategy(strategy),
        backend.to_str() if backend else [repr(words.tokenizer), sorted(words.tokenizer.get_vocab().items())],
        words.before,
        words.after,
        words.stop,
        encoder.start,
        encoder.answers,
        encoder.max_length,
        encoder.sharing,
        context.seed,
        *((context.epoch, context.progress) if strategy.progressive else ()),
    ]
    total = sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for sample in samples:
        rows = [sample.id, *(_fields(draft) for _, draft in sorted(sample.drafts.items()))]
        total.update(json.dumps(rows, ensure_ascii=False).encode())
    return total.hexdigest()


def save(path: Path, data: EncodedSet) -> None:
    """All trees as a few long arrays, written aside and renamed."""
    trees = [tree for sample in data.samples for tree in sample]
    arrays = {name: _joined([getattr(tree, name) for tree in trees]) for name in ("ids", "parent", *PER_TARGET)}
    arrays["source"] = _joined([tree.source for tree in trees if tree.source is not None])
    arrays["nodes"] = np.array([len(tree.ids) for tree in trees], np.int64)
    arrays["targets"] = np.array([len(tree.tokens) for tree in trees], np.int64)
    arrays["sources"] = np.array([-1 if tree.source is None else len(tree.source) for tree in trees], np.int64)
    arrays["trees"] = np.array([len(sample) for sample in data.samples], np.int64)
    about = {"ids": json.dumps(data.ids), "dropped": json.dumps(data.dropped)}
    aside = path.with_suffix(f".{os.getpid()}.tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            save_file(arrays, aside, {**about, "seal": _seal(arrays, about)})
            os.replace(aside, path)
        except BaseException:
            with suppress(OSError):
                aside.unlink()
            raise


def load(path: Path, strategy: Strategy) -> EncodedSet:
    """What `save` wrote; `ValueError` where it is not that any more."""
    with safe_open(path, framework="numpy") as stored:
        arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  # not a mapping
        about = stored.metadata()
    if about.pop("seal") != _seal(arrays, about):
        raise ValueError(f"{path} is not what was written")
    nodes, targets = _bounds(arrays["nodes"]), _bounds(arrays["targets"])
    sources = _bounds(arrays["sources"].clip(min=0))
    trees = []
    for at, length in enumerate(arrays["sources"].tolist()):
        positions, tokens, forms, weights = (arrays[name][targets[at] : targets[at + 1]] for name in PER_TARGET)
        trees.append(
            TokenTree(
                arrays["ids"][nodes[at] : nodes[at + 1]],
                arrays["parent"][nodes[at] : nodes[at + 1]],
                positions,
                tokens,
                forms,
                weights,
                None if length < 0 else arrays["source"][sources[at] : sources[at + 1]],
            )
        )
    samples = [trees[first:last] for first, last in pairwise(_bounds(arrays["trees"]))]
    return EncodedSet(
        json.loads(about["ids"]), samples, strategy.learned_forms(), Counter(json.loads(about["dropped"]))
    )


def _seal(arrays: Mapping[str, Any], about: Mapping[str, str]) -> str:
    return seal(((name, str(array.dtype), array.shape, array.reshape(-1)) for name, array in arrays.items()), **about)


def _fields(draft: Draft) -> list[Any]:
    choices = draft.example.choices
    return [draft.kind, draft.index, draft.example.id, draft.example.question, choices, draft.rationale, draft.answer]


def _joined(arrays: list[Any]) -> Any:
    return np.concatenate(arrays) if arrays else np.zeros(0, np.int32)


def _bounds(lengths: Any) -> list[int]:
    return [0, *np.cumsum(lengths).tolist()]
