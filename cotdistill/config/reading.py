"""From what a user wrote, in YAML or on the command line, to the values of a config's fields.

Both are read by the same rules: names with dashes or underscores, lists with commas or brackets, mappings as
NAME=VALUE or as YAML's own, `~` for the home directory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cotdistill.config.option import Option
from cotdistill.console import warn
from cotdistill.errors import UsageError, did_you_mean

# What a run card must not bring along: it may be a stranger's, and these run code or send data elsewhere.
NEVER_FROM_A_CARD = ("plugin", "trust_remote_code", "base_url")
_HOME = re.compile(r"(^|[=:,])~(?=/|$)")  # `~/x`, `NAME=~/x`, `recorded:~/x`


def read_config(file: Path, options: Mapping[str, Option]) -> dict[str, Any]:
    """The values of a YAML file, by field; a run.json works as one. Unknown names are refused."""
    values = _parse(file)
    if isinstance(values.get("config"), dict):
        return _from_card(file, values["config"], options)
    found = {}
    for name, value in values.items():
        field = _field(str(name), options)
        if field is None:
            raise UsageError(f"--config {file}: unknown key {name!r}{did_you_mean(str(name), options)}")
        if field in found:
            raise UsageError(f"--config {file}: {name!r} is set twice")
        found[field] = value
    told = [options[name].name for name in NEVER_FROM_A_CARD if found.get(name)]
    if told:
        warn(f"--config {file} sets {' and '.join(told)}")
    return found


def coerced(option: Option, value: Any) -> Any:
    """A value as the field takes it; what cannot be one is left for the field's own check to refuse."""
    where = option.name
    if option.kind == "mapping":
        return _mapping(option, value)
    if option.kind == "list":
        value = split_list(value) if isinstance(value, str) else _several(value)
    elif option.kind == "repeated":
        value = _several(value)
    elif isinstance(value, bool) and {"on", "off"} <= set(option.values):
        value = "on" if value else "off"  # YAML 1.1 reads on and off as truth values
    elif option.type in (int, float) and isinstance(value, str):
        raise UsageError(f"{where}: should be a number, not the text {value!r}")
    if isinstance(value, list):
        return tuple(_text(option, one) for one in value)
    return _text(option, value)


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def split_list(text: str) -> list[str]:
    """`"a,b,c"` as a list; numbers may be a range, `"0..4"`."""
    first, dots, last = text.partition("..")
    if dots and first.strip().isdecimal() and last.strip().isdecimal() and len(text) < 16:
        return [str(n) for n in range(int(first), int(last) + 1)]
    return [piece.strip() for piece in text.split(",") if piece.strip()]


def explain(error: ValidationError, options: Mapping[str, Option]) -> str:
    """The first complaint of a config's check as one line that names the option."""
    first = error.errors()[0]
    where = str(first["loc"][0]) if first["loc"] else "configuration"
    name = options[where].name if where in options else f"--{where}"
    if first["type"] == "extra_forbidden":
        return f"unknown option {name}{did_you_mean(where, options)}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{name}: {message[0].lower() + message[1:]}, not {_short(first['input'])}"


def _parse(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"--config {file}: {error.strerror}") from None
    except RecursionError:
        raise UsageError(f"--config {file}: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, a number of thousands of digits, a NUL
        raise UsageError(f"--config {file}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UsageError(f"--config {file}: holds no mapping of option names to values")
    return values


def _from_card(file: Path, values: Mapping[str, Any], options: Mapping[str, Option]) -> dict[str, Any]:
    """A run card's configuration, without what this command has no option for and what a card must not decide."""
    left_out = [options[name].name for name in NEVER_FROM_A_CARD if name in options and values.get(name)]
    if left_out:
        warn(f"{file} is a run card: its {' and '.join(left_out)} are not taken over; give them on the command line")
    for name in values:
        if name not in options:
            raise UsageError(f"--config {file}: unknown key {name!r}{did_you_mean(str(name), options)}")
    return {name: value for name, value in values.items() if name not in NEVER_FROM_A_CARD and value is not None}


def _field(name: str, options: Mapping[str, Option]) -> str | None:
    """`max-new-tokens` and `lambda` as the fields they mean."""
    plain = name.replace("-", "_")
    return next((one for one in (plain, plain + "_") if one in options), None)


def _mapping(option: Option, value: Any) -> Any:
    """`["alpha=0.3"]` or `{alpha: 0.3}` as {"alpha": "0.3"}; values are lists where the field holds lists."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        pairs = [str(pair) for pair in value]
        for pair in pairs:
            if "=" not in pair or pair.startswith("="):
                raise UsageError(f"{option.name} takes NAME=VALUE, not {_short(pair)}")
        value = {name: text for name, _, text in (pair.partition("=") for pair in pairs)}
    if not isinstance(value, dict):
        return value
    several = "tuple" in str(option.type)
    return {str(name): tuple(_strings(one)) if several else _string(one) for name, one in value.items()}


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return split_list(value)
    return [_string(one) for one in _several(value)]


def _string(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(option: Option, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if "\0" in value:
        raise UsageError(f"{option.name}: {_short(value)} holds a NUL character")
    return _HOME.sub(lambda found: found[1] + str(Path.home()), value) if option.files else value


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # a list that holds itself, a number of thousands of digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."
