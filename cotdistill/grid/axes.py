"""Axes of a grid besides the strategies: training options that make arms (`--vary`), and those that are chosen for
each arm (`--sweep`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, TypeVar

from pydantic import ValidationError

from cotdistill.config import TrainingOptions
from cotdistill.config.common import is_met
from cotdistill.config.option import Option, options_of, spelled
from cotdistill.config.reading import explain_error
from cotdistill.errors import UsageError, did_you_mean

T = TypeVar("T", bound=TrainingOptions)
Setting = tuple[tuple[str, str], ...]  # (option, value as it was written), ...
Swept = tuple[tuple[str, float], ...]  # (option, value), ...
KD = "kd"  # begins the names of all options of the teacher's distributions
BUDGETED = ("steps", "epochs")  # --budget makes them equal for all arms


def settings(options: TrainingOptions, vary: Mapping[str, Sequence[str]]) -> list[Setting]:
    """Every combination of the values of `--vary`, by field name; one empty combination where nothing varies.
    `options`: what all have in common.

    An option that has no effect beside the others of a combination is left out of it: one arm serves for all its
    values.
    """
    named = {_field(name, "--vary"): values for name, values in vary.items()}
    for name, texts in named.items():
        if not texts:
            raise UsageError(f"--vary {spelled(name)}: has no value")
    combinations = [tuple(zip(named, values, strict=True)) for values in product(*named.values())]
    found = list(dict.fromkeys(in_effect(options, combination) for combination in combinations))
    for name in named:
        if all(name not in dict(setting) for setting in found):
            raise UsageError(f"--vary {spelled(name)} changes nothing without {' or '.join(map(_flag, _needs(name)))}")
    return found


def in_effect(options: TrainingOptions, setting: Setting) -> Setting:
    """The setting without options that need another one (FIELD, or FIELD=ONE|OTHER), where that is not so in it."""
    held = varied(options, setting)
    return tuple(one for one in setting if not (needs := _needs(one[0])) or any(is_met(need, held) for need in needs))


def varied(options: T, setting: Setting) -> T:
    """The options with those of a setting in their place."""
    return options.model_copy(update=values_of(setting))


def _needs(name: str) -> list[str]:
    """What must be so of the training options, in one respect, for another to mean anything."""
    options = options_of(TrainingOptions)
    return [need for need in options[name].needs if need.partition("=")[0] in options]


def _flag(need: str) -> str:
    field, _, values = need.partition("=")
    return f"--{spelled(field)} {values}".rstrip()


def values_of(setting: Setting) -> dict[str, Any]:
    """The values of a setting, as a config holds them; `none` means unset."""
    options = options_of(TrainingOptions)
    values: dict[str, Any] = {}
    for name, text in setting:
        unset = text == "none" and options[name].default in (None, ())
        values[name] = options[name].default if unset else _read(options[name], text)
    return _checked(values, "--vary")


def said(setting: Setting | Swept) -> list[str]:
    """`["lora r=8", "lr 0.001"]`."""
    return [
        f"{spelled(name)} {value:g}" if isinstance(value, float) else f"{spelled(name)} {value}"
        for name, value in setting
    ]


def candidates(sweep: Mapping[str, Sequence[float]]) -> list[Swept]:
    """Every combination of the values of `--sweep`, the smallest first."""
    named = {_field(name, "--sweep"): values for name, values in sweep.items()}
    options = options_of(TrainingOptions)
    for name, values in named.items():
        if not values:
            raise UsageError(f"--sweep {spelled(name)}: has no value")
        if name in BUDGETED or options[name].type not in (int, float):
            raise UsageError(
                f"--sweep {spelled(name)}: only numeric options can be swept, and not those that "
                "--budget equalises; for others use --vary"
            )
    if not named:
        return []
    combinations = [tuple(zip(named, values, strict=True)) for values in product(*map(sorted, named.values()))]
    for combination in combinations:
        swept_values(combination)  # complains
    return combinations


def swept_values(swept: Swept) -> dict[str, Any]:
    """The values of a candidate, as a config holds them."""
    options = options_of(TrainingOptions)
    whole = {name for name, value in swept if options[name].type is int and value.is_integer()}
    return _checked({name: int(value) if name in whole else value for name, value in swept}, "--sweep")


def _checked(values: Mapping[str, Any], flag: str) -> dict[str, Any]:
    """Training options as a config holds them; `UsageError` that names the first that is none."""
    try:
        checked = TrainingOptions(**values)
    except ValidationError as error:
        raise UsageError(f"{flag} " + explain_error(error, options_of(TrainingOptions)).removeprefix("--")) from None
    return {name: getattr(checked, name) for name in values}


def _read(option: Option, text: str) -> Any:
    if option.kind == "flag":
        return {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}.get(text, text)
    return tuple(text.split("+")) if option.kind in ("list", "pair") else text


def _field(name: str, flag: str) -> str:
    fields = TrainingOptions.model_fields
    plain = name.replace("-", "_")
    if plain not in fields:
        known = [spelled(field) for field in fields]
        raise UsageError(f"{flag} {name}: not a training option{did_you_mean(name, known)}")
    return plain
