"""The strategies an ablation compares: `ablate`'s options spelled out as (name, parameters).

The only place besides the papers' own files where strategies are named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

from cotdistill.strategies.forms import Form, Strategy, learn
from cotdistill.strategies.registry import create, takes
from cotdistill.strategies.rewriting import MATCHED, rewrite_of
from cotdistill.strategies.shared_parameters import SHARED, is_given

DEFAULT = ("answer-only", "cot", "step-by-step", "scott", "cascod", "post-cot")
PLACEMENT = {"before": "cot", "after": "post-cot"}


@dataclass(frozen=True)
class Variant:
    """A strategy with parameters; the label shows those that differ from their default."""

    strategy: str
    params: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def label(self) -> str:
        """`post-cot-key(k=3)`."""
        defaults = create(self.strategy).params
        changed = ", ".join(
            f"{name}={value}"
            for name, value in self.made.params.items()
            if name not in defaults or value != defaults[name]
        )
        return f"{self.strategy}({changed})" if changed else self.strategy

    @property
    def made(self) -> Strategy:
        """The strategy itself (not stored: its closures cannot be pickled)."""
        return create(self.strategy, self.params)

    @property
    def learns_rationales(self) -> bool:
        """Whether training reads rationales at all."""
        return any(slot == "rationale" for _, slot in self.made.needs())

    @property
    def is_plain(self) -> bool:
        """Whether it has parameters of its own strategy only."""
        return not SHARED.keys() & self.params.keys()

    @property
    def rewrite(self) -> str | None:
        """What its rationales are rewritten by, where that was asked for by name."""
        return self.params.get("rewrite")

    def rewritten(self, text: str) -> Variant:
        """The same with rewritten rationales."""
        return Variant(self.strategy, {**self.params, "rewrite": text})


FLOOR = Variant("answer-only")  # the floor that every rationale must beat
UNTRAINED = Variant("cot")  # how the untrained student is asked: rationale first
ATTRIBUTED = Variant("cot")  # the student whose gradients say which words of a rationale matter
# How a local teacher is asked, where its own gradients are used instead.
TEACHER_FORM = Form(
    "teacher", "Q: {question}\nA:", (learn(" {rationale}"), learn(" So the answer is"), learn(" {answer}"))
)
AFTER = Variant("post-cot")  # the strategy that permuting, masking and key words ablate


def variants(
    strategies: Sequence[str],
    params: Mapping[str, Sequence[str]],
    permute_levels: Iterable[str] = (),
    mask_ratios: Iterable[float] = (),
    key_counts: Iterable[int] = (),
    key_by: Iterable[str] = ("tfidf",),
    tags: Iterable[str] = (),
    placements: Iterable[str] = (),
    exclude_label: bool = False,
    rewrites: Iterable[str] = (),
) -> list[Variant]:
    """The product of strategies and their parameters, then what the ablation options add; without duplicates.

    What keeps chosen words of a rationale always comes with the same number of random words, its size-matched control.
    `rewrites` are those of every strategy with rationales, or of post-cot where none is named.
    """
    texts = list(rewrites)
    named = [*strategies, *([AFTER.strategy] if texts and not strategies else [])]
    chosen = [variant for name in named for variant in _product(name, params)]
    chosen += [one for variant in chosen if variant.is_plain for one in _rewritten(variant, texts)]
    chosen += [Variant(PLACEMENT[place]) for place in placements]
    permuted = [Variant("post-cot-permuted", {"level": level}) for level in permute_levels]
    masked = [Variant("post-cot-masked", {"ratio": ratio}) for ratio in mask_ratios]
    counts = list(key_counts)
    keyed = [
        Variant("post-cot-key", {"k": k, "by": by, "exclude_label": exclude_label})
        for by in key_by
        if by != "random"
        for k in counts
    ]
    random = [Variant("post-cot-random-k", {"k": k, "exclude_label": exclude_label}) for k in counts]
    tagged = [Variant("scott", {"tags": tag}) for tag in tags]
    if permuted or masked or counts:
        chosen.append(AFTER)
    unique: dict[str, Variant] = {}
    for variant in (*chosen, *permuted, *masked, *keyed, *random, *tagged):
        unique.setdefault(variant.label, variant)
    return list(unique.values())


def ablated_variant(chosen: Sequence[Variant]) -> Variant | None:
    """The variant whose rationales the controls replace, one of the chosen; None where none learns rationales.

    What is ablated, if it is an arm beside its ablations: only then does a control have its intact counterpart. Else
    the first that learns rationales.
    """
    ablated = {"post-cot-permuted", "post-cot-masked", "post-cot-key", "post-cot-random-k"}
    if AFTER in chosen and any(variant.strategy in ablated and not variant.rewrite for variant in chosen):
        return AFTER
    return next((variant for variant in chosen if variant.learns_rationales), None)


def default_baseline(chosen: Sequence[Variant], named: bool) -> Variant:
    """The variant that the others are compared with where none is named.

    The first strategy that the user named; where none was named (`--permute-tokens` alone, or nothing at all) the
    ablated variant.
    """
    return chosen[0] if named else ablated_variant(chosen) or chosen[0]


def size_matched(variant: Variant, chosen: Sequence[Variant]) -> Variant | None:
    """The control of a variant that keeps chosen words: the same number of random words."""
    if variant.rewrite is not None:
        control = rewrite_of(variant.rewrite).matched
        return next((other for other in chosen if control and other == variant.rewritten(control)), None)
    if variant.strategy != "post-cot-key":
        return None
    wanted = {name: variant.made.params[name] for name in ("k", "exclude_label", "label_share")}
    return next(
        (other for other in chosen if other.strategy == "post-cot-random-k" and dict(other.made.params) == wanted), None
    )


def unscored(variant: Variant) -> Variant:
    """What costs as much as a variant before the scores of its words are there: as many random words."""
    if variant.made.needs_scores in (None, "tfidf"):
        return variant
    if variant.rewrite is None:
        return Variant("post-cot-random-k", {"k": variant.made.params["k"]})
    control = rewrite_of(variant.rewrite).matched
    assert control is not None  # what reads scores chooses words by them
    return variant.rewritten(control)


def dose(variant: Variant) -> tuple[str, str, float] | None:
    """(curve, what is varied, its value) of a variant that keeps some of a rationale's words: figures draw these."""
    params = variant.made.params
    if variant.rewrite is not None:
        varied = rewrite_of(variant.rewrite).dose
        name = variant.rewrite.removeprefix(MATCHED).partition(":")[0]
        curve = f"{variant.strategy}: {MATCHED if variant.rewrite.startswith(MATCHED) else ''}{name}"
        return varied and (curve, *varied)
    if variant.strategy == "post-cot-masked":
        return "masked words", "share of the words masked", float(params["ratio"])
    if variant.strategy == "post-cot-key":
        return f"key words by {params['by']}", "words kept", float(params["k"])
    if variant.strategy == "post-cot-random-k":
        return "random words", "words kept", float(params["k"])
    return None


def known_params(names: Sequence[str]) -> set[str]:
    """The names that `--param` takes: a parameter of any of these strategies, or `strategy.parameter` of one."""
    own = [(name, param) for name in names for param in create(name).params]
    own += [(name, param) for name in names for param in SHARED]
    return {param for _, param in own} | {f"{name}.{param}" for name, param in own}


def _product(name: str, params: Mapping[str, Sequence[str]]) -> list[Variant]:
    """Every combination of the values of the parameters that this strategy has."""
    mine = {key: params[key] for key in params if "." not in key}
    mine |= {key.partition(".")[2]: values for key, values in params.items() if key.startswith(name + ".")}
    honoured = {key: [value for value in values if takes(name, key, value)] for key, values in mine.items()}
    own = {key: values for key, values in honoured.items() if values}
    return [
        Variant(name, {key: value for key, value in zip(own, combination, strict=True) if is_given(key, value)})
        for combination in product(*own.values())
    ]


def _rewritten(variant: Variant, rewrites: Iterable[str]) -> list[Variant]:
    """A variant with each rewrite that it can be given, each followed by its size-matched control."""
    made = []
    for text in rewrites:
        if not takes(variant.strategy, "rewrite", text):
            continue
        made.append(variant.rewritten(text))
        if control := rewrite_of(text).matched:
            made.append(variant.rewritten(control))
    return made
