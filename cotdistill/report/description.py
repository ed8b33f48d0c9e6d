"""What an ablation compared, and how: ablation.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cotdistill.data.files import write_json
from cotdistill.strategies.studies import Claim

DESCRIPTION = "ablation.json"


@dataclass(frozen=True)
class Description:
    """What was compared, and how: everything a report needs besides the cells. Written as ablation.json."""

    title: str
    question: str
    baseline: str
    in_domain: str
    pairs: Sequence[tuple[str, str]]
    claims: Sequence[Claim]
    config: Mapping[str, Any]
    rows: Mapping[str, Any]  # files with digests, counts, held-out ids, words per rationale
    swept: Mapping[str, Mapping[str, float | None]]  # {arm: {candidate: dev accuracy}}
    chosen: Mapping[str, str]  # {arm: candidate}
    training: Mapping[str, Mapping[str, Any]]  # {arm: the settings that matter most to readers}
    defaults: Mapping[str, Mapping[str, str]]  # {arm: {option not given: where its value comes from}}
    steps: Mapping[str, int]
    scores: Mapping[str, Mapping[str, Any]]  # attributions: completeness error, leakage
    versions: Mapping[str, str]
    curves: Mapping[str, tuple[str, str, float]] = field(default_factory=dict)  # {arm: (curve, what, how much)}

    def write(self, out: Path) -> None:
        """DIR/ablation.json."""
        plain = {
            **vars(self),
            "claims": [vars(claim) for claim in self.claims],
            "pairs": [list(pair) for pair in self.pairs],
            "curves": {arm: list(curve) for arm, curve in self.curves.items()},
        }
        write_json(out / DESCRIPTION, plain)


def read_description(out: Path) -> Description:
    """Read ablation.json."""
    fields = json.loads((out / DESCRIPTION).read_text(encoding="utf-8"))
    return Description(
        **{
            **fields,
            "claims": [Claim(**claim) for claim in fields["claims"]],
            "pairs": [tuple(pair) for pair in fields["pairs"]],
            "curves": {arm: tuple(curve) for arm, curve in fields["curves"].items()},
        }
    )
