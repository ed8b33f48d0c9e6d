"""The file of distributions beside elicited rows: what it holds already is not made again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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


@dataclass(frozen=True)
class Sidecar:
    """The file beside `out`, with the `k` likeliest tokens of each rationale of a teacher."""

    out: Path
    k: int
    scorer: Scorer

    @classmethod
    def of(cls, out: Path, k: int, teacher: Teacher) -> Sidecar:
        """Of a teacher that tells its distributions; others are refused before they are opened."""
        assert hasattr(teacher, "along")
        return cls(out, k, teacher)  # type: ignore[arg-type]

    def stored(self) -> dict[str, tuple[str, Recorded]]:
        """{recorded_key: (call, tokens)} of the file, as far as it is of this K and this vocabulary."""
        file = beside(self.out)
        try:
            found = load(file) if file.is_file() else None
        except DataError as error:
            warn(f"{error}; it is made again")
            return {}
        same = found is not None and (found.k, found.vocabulary) == (self.k, self.scorer.vocabulary)
        return found.each() if found is not None and same else {}

    def check_told(self, calls: Mapping[str, Call], entries: dict[str, FinishedCall], overwrite: bool) -> None:
        """Raise `UsageError` where rationales were elicited from a server without: it cannot tell of them any more
        (under `--overwrite` it is asked anew)."""
        held = self.stored()
        for key in calls:
            entry = entries.get(key)
            if entry is None or entry.rationale is None or entry.said:
                continue
            if held.get(_name(entry.id, entry.rationale), ("", None))[0] == key:
                continue
            if overwrite:
                del entries[key]
            else:
                raise UsageError(
                    f"--logprobs {self.k}: {self.out} has rationales that were elicited without it, or with another K, "
                    "and a server cannot tell of them any more; choose another --out, or ask again with --overwrite"
                )

    def store(
        self, calls: Mapping[str, Call], entries: Mapping[str, FinishedCall], others: Iterable[FinishedCall] = ()
    ) -> None:
        """Write the file, scoring only what it has not yet; an interruption keeps what was made.

        `calls` and `entries` by the call's key; `others`: rationales of other calls that stay (`--mix`).
        """
        held = self.stored()
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
                            told = self.scorer.along(calls[key], entry, self.k)
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
                save(beside(self.out), Distributions.of(tokens, self.scorer.vocabulary, self.k, made))


def _name(row: str, rationale: Rationale) -> str:
    return recorded_key(row, rationale.kind, rationale.text)
