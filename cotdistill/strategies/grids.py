"""Which strategies an ablation compares: the meaning of `ablate`'s options, spelled out as (name, parameters)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from cotdistill.strategies.registry import create

DEFAULT = ("answer-only", "cot", "step-by-step", "scott", "cascod", "post-cot")
PLACEMENT = {"before": "cot", "after": "post-cot"}


@dataclass(frozen=True)
class Variant:
    """A strategy with parameters; the label names those that are not at their default."""

    strategy: str
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """`post-cot-key(k=3)`."""
        defaults = create(self.strategy).params
        made = create(self.strategy, self.params).params
        changed = ", ".join(f"{name}={value}" for name, value in made.items() if value != defaults[name])
        return f"{self.strategy}({changed})" if changed else self.strategy


def variants(
    strategies: Sequence[str],
    params: Mapping[str, Sequence[str]],
    permute_levels: Iterable[str] = (),
    mask_ratios: Iterable[float] = (),
    key_counts: Iterable[int] = (),
    key_by: Iterable[str] = ("tfidf",),
    tags: Iterable[str] = (),
    placements: Iterable[str] = (),
) -> list[Variant]:
    """The product of strategies and their parameters, then what the ablation options add; no variant twice.

    Key words always come with the same number of random words, their size-matched control.
    """
    made = [variant for name in strategies for variant in _product(name, params)]
    made += [Variant(PLACEMENT[place]) for place in placements]
    permuted = [Variant("post-cot-permuted", {"level": level}) for level in permute_levels]
    masked = [Variant("post-cot-masked", {"ratio": ratio}) for ratio in mask_ratios]
    counts = list(key_counts)
    keyed = [Variant("post-cot-key", {"k": k, "by": by}) for by in key_by for k in counts]
    random = [Variant("post-cot-random-k", {"k": k}) for k in counts]
    tagged = [Variant("scott", {"tags": tag}) for tag in tags]
    if permuted or masked or keyed:
        made += [Variant("post-cot")]  # what they are ablations of
    unique: dict[str, Variant] = {}
    for variant in (*made, *permuted, *masked, *keyed, *random, *tagged):
        unique.setdefault(variant.label, variant)
    return list(unique.values())


def _product(name: str, params: Mapping[str, Sequence[str]]) -> list[Variant]:
    """Every combination of the values of the parameters that this strategy has."""
    own = {key: values for key, values in params.items() if key in create(name).params}
    return [Variant(name, dict(zip(own, combination, strict=True))) for combination in product(*own.values())]
