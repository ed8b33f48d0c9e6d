"""Ways of training that a grid compares: those of `--vary`, and beside each choice or mixture of rows what belongs to
it, unless `--no-controls`.

A ranked choice (`--select rsr|nll|length`) shows nothing by itself: half the rows are also fewer rows, and a ranking
may only leave out wrong answers. So every strategy is trained on all rows (`select none`), on right answers only and on
as many random rows, too.

A mixture of long and short chains (`--mix`) differs from either in how much text is learned. So every strategy is
trained on each of its sources alone, too, on as many learned tokens as the mixture gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cotdistill.config import TrainingOptions
from cotdistill.data.mixture import parse_mix
from cotdistill.grid.axes import Setting, in_effect, settings, varied
from cotdistill.strategies.candidates import RANDOM, RANKED

CHOICE = ("select", "select_share")


@dataclass(frozen=True)
class Way:
    """Training options that differ between arms. `floors`: whether it has floors of its own; of the ways that differ
    in their rows alone only the first does. `matched`: the mixture that it learns as many tokens as."""

    setting: Setting
    floors: bool = True
    matched: Setting | None = None


def ways(options: TrainingOptions, vary: Mapping[str, Sequence[str]], controls: bool) -> list[Way]:
    """Every way of training, each once. `options`: what all have in common; `vary`: the values of those that differ;
    `controls`: whether what belongs to a choice or a mixture is added."""
    found = _choices(options, settings(options, vary), controls)
    return [one for way in found for one in (way, *_sources(options, way))] if controls else found


def _choices(options: TrainingOptions, asked: list[Setting], controls: bool) -> list[Way]:
    """The ways with all that belongs to their choice of rows; a choice that ranks nothing has no share to vary."""
    if controls:
        mixes = [varied(options, one).mix for one in asked]
        asked = [_replaced(one, "mix", "+".join(mix)) if mix else one for one, mix in zip(asked, mixes, strict=True)]
    if not any(ranks(options, setting) for setting in asked):
        return [Way(setting) for setting in asked]
    chosen = [one for setting in asked for one in _with_choices(options, setting)] if controls else asked
    found = dict.fromkeys(in_effect(options, setting) for setting in chosen)
    by_rest: dict[Setting, Setting] = {}
    for setting in found:
        by_rest.setdefault(tuple(one for one in setting if one[0] not in CHOICE), setting)
    return [Way(setting, setting in by_rest.values()) for setting in found]


def _sources(options: TrainingOptions, way: Way) -> list[Way]:
    """Each source of a mixture alone."""
    mix = varied(options, way.setting).mix
    names = list(parse_mix(mix)) if mix and way.floors else []
    if len(names) < 2:
        return []
    return [Way(_replaced(way.setting, "mix", f"{name}:1"), False, way.setting) for name in names]


def ranks(options: TrainingOptions, setting: Setting) -> bool:
    """Whether rows are chosen by what the student makes of them."""
    select = varied(options, setting).select
    return select in RANKED and select != RANDOM


def size_matched(options: TrainingOptions, setting: Setting) -> Setting | None:
    """The same with as many random rows, of a ranked choice."""
    return _replaced(setting, "select", RANDOM) if ranks(options, setting) else None


def _with_choices(options: TrainingOptions, setting: Setting) -> list[Setting]:
    """A way of training and, where it ranks rows, what it is compared with."""
    if not ranks(options, setting):
        return [setting]
    own = str(varied(options, setting).select)
    return [_replaced(setting, "select", how) for how in ("none", "right", own, RANDOM)]


def _replaced(setting: Setting, name: str, value: str) -> Setting:
    """The setting with one option at this value, in its place."""
    changed = tuple((one, value if one == name else text) for one, text in setting)
    return changed if name in dict(setting) else (*changed, (name, value))
