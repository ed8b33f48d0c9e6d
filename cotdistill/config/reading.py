"""From what a user wrote, in YAML or on the command line, to the values of a config's fields.

Both are read by the same rules: names with dashes or underscores, lists with commas or brackets, mappings as
NAME=VALUE or as YAML's own, `~` for the home directory.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cotdistill.config.option import Option
from cotdistill.console import warn
from cotdistill.errors import UsageError, did_you_mean

# What a run card must not bring along: it may be a stranger's, and these run code, send data elsewhere or drop files.
NEVER_FROM_A_CARD = ("plugin", "trust_remote_code", "base_url", "extra_body", "ray", "overwrite", "repair")
_HOME = re.compile(r"(^|[=:,])~(?=/|$)")  # `~/x`, `NAME=~/x`, `recorded:~/x`


def read_config(file: Path, options: Mapping[str, Option], own_sections: Collection[str] = ()) -> dict[str, Any]:
    """The values of a YAML file, by path; a run.json works as one. Unknown names are refused."""
    values, where = _parse(file), f"--config {file}: "
    if isinstance(values.get("config"), dict):
        return _from_card(file, by_path(values["config"], options, own_sections, where), options)
    paths = by_path(values, options, own_sections, where)
    told = [options[path].name for path in paths if options[path].field in NEVER_FROM_A_CARD and paths[path]]
    if told:
        warn(f"--config {file} sets {' and '.join(told)}")
    return paths


def by_path(
    values: Mapping[Any, Any], options: Mapping[str, Option], own_sections: Collection[str], where: str
) -> dict[str, Any]:
    """Values by the paths of their options, however they are grouped and written. Unknown names are refused.

    An option is named by its field, by its flag, or inside the mapping of its section; `own_sections` are mappings of
    options of the config itself.
    """
    sections = {option.section for option in options.values()} - {""}
    paths: dict[str, Any] = {}
    for name, value in values.items():
        key = str(name)
        if key in sections or key in own_sections:
            if not isinstance(value, Mapping):
                raise UsageError(f"{where}{key}: must be a mapping of option names to values")
            section = key if key in sections else ""
            inner = {option.field: option for option in options.values() if option.section == section}
            new = {
                inner[field].path: content for field, content in by_path(value, inner, (), f"{where}{key}: ").items()
            }
        else:
            path = _path(key, options)
            if path is None:
                raise UsageError(
                    f"{where}unknown key {name!r}{did_you_mean(key, _names(options))}"
                    if where
                    else f"unknown option {key!r}{did_you_mean(key, _names(options))}"
                )
            new = {path: value}
        for path in new:
            if path in paths:
                raise UsageError(f"{where}{options[path].name.removeprefix('--')!r} is set twice")
        paths |= new
    return paths


def coerced(option: Option, value: Any) -> Any:
    """A value as the field takes it; what cannot be one is left for the field's own check to refuse."""
    where = option.name
    if option.kind == "mapping":
        return _mapping(option, value)
    if option.kind == "list":
        text, value = value, split_list(value) if isinstance(value, str) else _several(value)
        if isinstance(text, str) and not value:
            raise UsageError(f"{where}: is empty; give comma-separated values, or omit it")
        if any(isinstance(one, bool) for one in value):
            raise UsageError(f"{where}: does not take true or false")
    elif option.kind == "repeated":
        value = _several(value)
    elif isinstance(value, bool) and {"on", "off"} <= set(option.values):
        value = "on" if value else "off"  # YAML 1.1 reads on and off as truth values
    elif option.type in (int, float) and isinstance(value, str | bool):
        what = "text" if isinstance(value, str) else "truth value"
        raise UsageError(f"{where}: must be a number, not the {what} {_short(value)}")
    if isinstance(value, list | tuple):
        return tuple(_text(option, element) for element in value)
    return _text(option, value)


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def split_list(text: str) -> list[str]:
    """`"a,b,c"` as a list; numbers may be a range, `"0..4"`."""
    first, dots, last = text.partition("..")
    if dots and first.strip().isdecimal() and last.strip().isdecimal() and len(text) < 16:
        return [str(n) for n in range(int(first), int(last) + 1)]
    return [piece.strip() for piece in text.split(",") if piece.strip()]


def explain_error(error: ValidationError, options: Mapping[str, Option]) -> str:
    """The first complaint of a config's check as one line that names the option."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"][:2]]
    where = next(
        (candidate for candidate in (".".join(path), *path[:1]) if candidate in options),
        path[0] if path else "configuration",
    )
    name = options[where].name if where in options else f"--{where}"
    if first["type"] == "extra_forbidden":
        return f"unknown option {name}{did_you_mean(where, options)}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{name}: {message[0].lower() + message[1:]}, not {_short(first['input'])}"


def _parse(file: Path) -> dict[str, Any]:
    import yaml  # only who names a file waits for it

    class Loader(yaml.SafeLoader):
        """YAML with the numbers of YAML 1.2 and JSON: to PyYAML, which stays with 1.1, `5e-5` is a text."""

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)[eE][-+]?\d+$"), list("-+.0123456789")
    )
    try:
        values = yaml.load(file.read_text(encoding="utf-8-sig"), Loader=Loader)
    except OSError as error:
        raise UsageError(f"--config {file}: {error.strerror}") from None
    except RecursionError:
        raise UsageError(f"--config {file}: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, a number of thousands of digits, a NUL
        raise UsageError(f"--config {file}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UsageError(f"--config {file}: must be a mapping of option names to values")
    return values


def _from_card(file: Path, values: Mapping[str, Any], options: Mapping[str, Option]) -> dict[str, Any]:
    """A run card's configuration without what a card must not decide."""
    never = [path for path in values if options[path].field in NEVER_FROM_A_CARD]
    left_out = [options[path].name for path in never if values[path]]
    if left_out:
        warn(f"{file} is a run card: its {' and '.join(left_out)} are ignored; give them on the command line")
    return {path: value for path, value in values.items() if path not in never and value is not None}


def _path(name: str, options: Mapping[str, Option]) -> str | None:
    """The path that `max-new-tokens`, `lambda`, `eval-batch-size`, `batch_size` or `elicit.batch_size` means."""
    plain = name.replace("__", ".").replace("-", "_")
    direct = next((spelling for spelling in (name, plain, plain + "_") if spelling in options), None)
    flag = "--" + name.replace("_", "-")
    return direct or next((path for path, option in options.items() if flag in option.names), None)


def _names(options: Mapping[str, Option]) -> list[str]:
    """Every name an option goes by in YAML."""
    return [
        *(option.field for option in options.values() if not option.prefix),
        *(option.name.removeprefix("--") for option in options.values()),
    ]


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
    return {str(name): tuple(_strings(content)) if several else _string(content) for name, content in value.items()}


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):  # `;` where the values themselves hold commas
        return [piece.strip() for piece in value.split(";") if piece.strip()] if ";" in value else split_list(value)
    return [_string(element) for element in _several(value)]


def _string(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(option: Option, value: Any) -> Any:
    if isinstance(value, Path):  # as the command line reads it
        return Path(_text(option, str(value)))
    if not isinstance(value, str):
        return value
    if "\0" in value:
        raise UsageError(f"{option.name}: {_short(value)} holds a NUL character")
    if not (option.files and _HOME.search(value)):
        return value
    try:
        home = str(Path.home())
    except RuntimeError:  # no HOME, and no such user
        raise UsageError(f"{option.name}: {_short(value)}: there is no home directory; write the whole path") from None
    return _HOME.sub(lambda match: match[1] + home, value)


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # a list that holds itself, a number of thousands of digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."
