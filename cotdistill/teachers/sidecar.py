"""The file of distributions beside elicited rows: what it holds already is not made again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from cotdistill.config import ElicitConfig
from cotdistill.config.server import PREFIX
from cotdistill.console import progress, warn
from cotdistill.data.distributions import Distributions, Recorded, beside, load, recorded_key, save
from cotdistill.data.journal import FinishedCall
from cotdistill.data.records import Rationale
from cotdistill.errors import DataError, UsageError
from cotdistill.teachers.calls import Call, Teacher


class Scorer(Protocol):
    """A teacher that tells its distributions."""

    @property
    def vocabulary(self) -> str:
        """Digest of the vocabulary that its ids are of."""

    def along(self, call: Call, entry: FinishedCall, k: int) -> Recorded:
        """The K likeliest tokens along the rationale that a call was answered with."""


def stored(out: Path, k: int, vocabulary: str) -> dict[str, tuple[str, Recorded]]:
    """{recorded_key: (call, tokens)} of the file beside `out`, as far as it is of this K and this vocabulary."""
    try:
        found = load(beside(out)) if beside(out).is_file() else None
    except DataError as error:
        warn(f"{error}; it is made again")
        return {}
    return found.each() if found is not None and (found.k, found.vocabulary) == (k, vocabulary) else {}


def check_told(
    config: ElicitConfig, teacher: Teacher, calls: Mapping[str, Call], entries: dict[str, FinishedCall]
) -> None:
    """Raise `UsageError` where rationales were elicited from a server without: it cannot tell of them any more
    (under `--overwrite` it is asked anew)."""
    k, out = config.logprobs, config.out
    if k is None or out is None or not config.teacher.startswith(PREFIX):
        return
    held = stored(out, k, _scorer(teacher).vocabulary)
    for key in calls:
        entry = entries.get(key)
        if entry is None or entry.rationale is None or entry.said:
            continue
        if held.get(_name(entry.id, entry.rationale), ("", None))[0] == key:
            continue
        if config.overwrite:
            del entries[key]
        else:
            raise UsageError(
                f"--logprobs {k}: {out} has rationales that were elicited without it, or with another K, and a server "
                "cannot tell of them any more; choose another --out, or ask again with --overwrite"
            )


def store(
    config: ElicitConfig,
    teacher: Teacher,
    calls: Mapping[str, Call],
    entries: Mapping[str, FinishedCall],
    others: Iterable[FinishedCall] = (),
) -> None:
    """Write the file beside --out where --logprobs asks for it, scoring only what it has not yet; an interruption keeps
    what was made.

    `calls` and `entries` by the call's key; `others`: rationales of other calls that stay (`--mix`).
    """
    k, out = config.logprobs, config.out
    if k is None or out is None:
        return
    scorer = _scorer(teacher)
    held = stored(out, k, scorer.vocabulary)
    found: dict[str, tuple[str, Recorded]] = {}
    answered = {key: entry for key in calls if (entry := entries[key]).rationale is not None}
    whole = False
    try:
        with progress("logprobs", len(answered)) as advance:
            for key, entry in answered.items():
                assert entry.rationale is not None
                name = _name(entry.id, entry.rationale)
                if name not in found:  # samples may have the same words
                    call, told = held.get(name, ("", None))
                    if told is None or call != key:
                        told = scorer.along(calls[key], entry, k)
                    found[name] = key, told
                advance(1, "")
        for entry in others:
            if entry.rationale is not None and (name := _name(entry.id, entry.rationale)) in held:
                found.setdefault(name, held[name])
        whole = True
    finally:
        kept = found if whole else {**held, **found}
        if {name: call for name, (call, _) in kept.items()} != {name: call for name, (call, _) in held.items()}:
            tokens = {name: told for name, (_, told) in kept.items()}
            made = {name: call for name, (call, _) in kept.items()}
            save(beside(out), Distributions.of(tokens, scorer.vocabulary, k, made))


def _scorer(teacher: Teacher) -> Scorer:
    """The teacher as one that tells its distributions; others are refused before they are opened."""
    assert hasattr(teacher, "along")
    return teacher  # type: ignore[return-value]


def _name(row: str, rationale: Rationale) -> str:
    return recorded_key(row, rationale.kind, rationale.text)
