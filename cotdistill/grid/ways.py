"""Ways of training that a grid compares: those of `--vary`, and beside each choice or mixture of rows what belongs to
it, unless `--no-controls`.

A ranked choice (`--select rsr|nll|length`) shows nothing by itself: half the rows are also fewer rows, and a ranking
may only leave out wrong answers. So every strategy is trained on all rows (`select none`), on right answers only and on
as many random rows, too.

A mixture of long and short chains (`--mix`) differs from either in how much text is learned. So every strategy is
trained on each of its sources alone, too, on as many learned tokens as the mixture gives.
"""

from __future__ import annotations

from dataclasses import dataclass

from cotdistill.config import AblateConfig
from cotdistill.data.mixture import parse_mix
from cotdistill.grid.axes import Setting, settings, values_of
from cotdistill.training.selection import RANDOM, RANKED

CHOICE = ("select", "select_share")


@dataclass(frozen=True)
class Way:
    """Training options that differ between arms. `floors`: whether it has floors of its own; of the ways that differ
    in their rows alone only the first does. `matched`: the mixture that it learns as many tokens as."""

    setting: Setting
    floors: bool = True
    matched: Setting | None = None


def ways(config: AblateConfig) -> list[Way]:
    """Every way of training, each once."""
    found = _choices(config, settings(config))
    if not config.controls:
        return found
    return [one for way in found for one in (way, *_sources(config, way))]


def _choices(config: AblateConfig, asked: list[Setting]) -> list[Way]:
    """The ways with all that belongs to their choice of rows; a choice that ranks nothing has no share to vary."""
    if config.controls:
        asked = [_replaced(one, "mix", "+".join(mix)) if (mix := _mix(config, one)) else one for one in asked]
    if not any(ranks(config, setting) for setting in asked):
        return [Way(setting) for setting in asked]
    chosen = [one for setting in asked for one in _with_choices(config, setting)] if config.controls else asked
    found = dict.fromkeys(_without_share(config, setting) for setting in chosen)
    by_rest: dict[Setting, Setting] = {}
    for setting in found:
        by_rest.setdefault(tuple(one for one in setting if one[0] not in CHOICE), setting)
    return [Way(setting, setting in by_rest.values()) for setting in found]


def _sources(config: AblateConfig, way: Way) -> list[Way]:
    """Each source of a mixture alone."""
    mix = _mix(config, way.setting)
    names = list(parse_mix(mix)) if mix and way.floors else []
    if len(names) < 2:
        return []
    return [Way(_replaced(way.setting, "mix", f"{name}:1"), False, way.setting) for name in names]


def ranks(config: AblateConfig, setting: Setting) -> bool:
    """Whether rows are chosen by what the student makes of them."""
    return _select(config, setting) in RANKED and _select(config, setting) != RANDOM


def size_matched(config: AblateConfig, setting: Setting) -> Setting | None:
    """The same with as many random rows, of a ranked choice."""
    return _replaced(setting, "select", RANDOM) if ranks(config, setting) else None


def _with_choices(config: AblateConfig, setting: Setting) -> list[Setting]:
    """A way of training and, where it ranks rows, what it is compared with."""
    if not ranks(config, setting):
        return [setting]
    return [_replaced(setting, "select", how) for how in ("none", "right", str(_select(config, setting)), RANDOM)]


def _without_share(config: AblateConfig, setting: Setting) -> Setting:
    if _select(config, setting) in RANKED:
        return setting
    return tuple(one for one in setting if one[0] != "select_share")


def _mix(config: AblateConfig, setting: Setting) -> tuple[str, ...]:
    found: tuple[str, ...] = values_of(setting).get("mix", config.mix)
    return found


def _select(config: AblateConfig, setting: Setting) -> str | None:
    found: str | None = values_of(setting).get("select", config.select)
    return found


def _replaced(setting: Setting, name: str, value: str) -> Setting:
    """The setting with one option at this value, in its place."""
    changed = tuple((one, value if one == name else text) for one, text in setting)
    return changed if name in dict(setting) else (*changed, (name, value))
