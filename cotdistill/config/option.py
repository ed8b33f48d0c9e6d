"""One definition per option: a field of a config holds its type, default, bounds, help, panel and place in the key.

The command line (`cotdistill.options`), YAML (`config.reading`), `cotdistill schema`, the keys of results and the
tables of the documentation are made from it.
"""

from __future__ import annotations

import types
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

from cotdistill.plugins.registry import Registry, registries

Kind = Literal["flag", "value", "list", "repeated", "mapping", "pair"]
Proportion = Annotated[float, Field(ge=0, le=1)]
Most = 10**9  # the largest count, size or seed that an option takes: far above any use, far below any overflow


def option(
    default: Any,
    help: str,
    panel: str,
    *,
    key: bool = True,
    shown: str | None = None,
    names: tuple[str, ...] = (),
    repeated: bool = False,
    files: bool = False,
    needs: str = "",
    plugins: Registry[Any] | None = None,
    **bounds: Any,
) -> Any:
    """A field of a config that is an option of the command line too.

    `help`: the sentence of --help. `panel`: its group there. `key`: whether it is part of what defines a
    result. `shown`: what --help calls the default, where the value does not say it. `names`: its flags, where they
    are not made from the field's name. `repeated`: a tuple given by repeating the option, not by commas. `files`: a
    text that may name a file (`~` is the home directory). `needs`: fields, one of which must be set for it to mean
    anything, or match a pattern (FIELD=ONE|OTHER*): without them it is refused, not ignored. `plugins`: the registry
    whose names it takes. `bounds`: pydantic's constraints (gt, le, min_length, ...).
    """
    extra: dict[str, Any] = {
        "panel": panel,
        "key": key,
        "names": list(names),
        "repeated": repeated,
        "files": files,
        "needs": needs.split(),
    }
    if shown is not None:
        extra["shown"] = shown
    if plugins is not None:
        extra["plugins"] = plugins.kind
    return Field(default, description=help, json_schema_extra=extra, **bounds)


def section(default: BaseModel, title: str, prefix: str) -> Any:
    """A field that holds the options of another command, in YAML a mapping of its own.

    On the command line they keep their names; one that would meet another option's takes `prefix` before it. `title`
    precedes their panels. What `default` sets is the default here; made by `model_construct`, it builds no validator
    before there is something to check.
    """
    return Field(default, description=title, json_schema_extra={"prefix": prefix})


@dataclass(frozen=True)
class Option:
    """What a field says of its option; `section`: the field of the config that it lies in, empty for its own."""

    field: str
    info: FieldInfo
    section: str = ""
    title: str = ""
    prefix: str = ""
    default: Any = None

    @property
    def path(self) -> str:
        """`lr`, or `elicit.batch_size`."""
        return f"{self.section}.{self.field}" if self.section else self.field

    def _extra(self, name: str) -> Any:
        extra = self.info.json_schema_extra
        return extra.get(name) if isinstance(extra, dict) else None

    @property
    def name(self) -> str:
        """`--max-new-tokens`."""
        return self.names[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Its flags, the long one first."""
        return tuple(self._extra("names") or [f"--{self.prefix}{spelled(self.field)}"])

    @property
    def help(self) -> str:
        """The sentence of --help."""
        return self.info.description or ""

    @property
    def panel(self) -> str:
        """The group it is shown in by --help."""
        return self.title + str(self._extra("panel"))

    @property
    def key(self) -> bool:
        """Whether it is part of what defines a result."""
        return bool(self._extra("key"))

    @property
    def needs(self) -> list[str]:
        """Fields, one of which must be set for it to mean anything."""
        return list(self._extra("needs") or ())

    @property
    def files(self) -> bool:
        """Whether its text may name a file."""
        return bool(self._extra("files")) or self.type is Path

    @property
    def plugins(self) -> Registry[Any] | None:
        """Where what it names is registered; None where it names nothing that a plug-in could bring."""
        return next((one for one in registries if one.kind == self._extra("plugins")), None)

    @property
    def type(self) -> Any:
        """The type without None and without constraints."""
        return _bare(self.info.annotation)

    @property
    def kind(self) -> Kind:
        """How it is written."""
        annotation = self.type
        if annotation is bool:
            return "flag"
        if get_origin(annotation) is dict:
            return "mapping"
        if get_origin(annotation) is not tuple:
            return "value"
        if get_args(annotation)[-1] is not Ellipsis:
            return "pair"
        return "repeated" if self._extra("repeated") else "list"

    @property
    def values(self) -> tuple[str, ...]:
        """The values it is chosen from, a plug-in's aside; empty where any will do."""
        if self.plugins is not None:
            return self.plugins.reserved
        annotation = _bare(get_args(self.type)[0]) if self.kind in ("list", "repeated") else self.type
        return tuple(map(str, get_args(annotation))) if get_origin(annotation) is Literal else ()

    @property
    def shown(self) -> str | None:
        """The default as --help shows it."""
        default = self.default
        if (given := self._extra("shown")) is not None and default == self.info.default:
            return str(given)
        if default is None or default is False or default in ((), {}):
            return None
        if default is True:
            return spelled(self.field)
        if isinstance(default, tuple):
            return ",".join(f"{value:g}" if isinstance(value, float) else str(value) for value in default)
        return f"{default:g}" if isinstance(default, float) else str(default)


def options_of(model: type[BaseModel]) -> dict[str, Option]:
    """The options of a config by path, those of its sections included."""
    fields = model.model_fields
    sections = {name: info.default for name, info in fields.items() if isinstance(info.default, BaseModel)}
    met = Counter([*fields, *(field for default in sections.values() for field in type(default).model_fields)])
    options = {name: Option(name, info, default=info.default) for name, info in fields.items() if name not in sections}
    for name, default in sections.items():
        extra = fields[name].json_schema_extra
        assert isinstance(extra, dict)
        for field, info in type(default).model_fields.items():
            prefix = str(extra["prefix"]) if met[field] > 1 else ""
            option = Option(field, info, name, f"{fields[name].description}: ", prefix, getattr(default, field))
            options[option.path] = option
    return options


def spelled(field: str) -> str:
    """A field's name as it is written on the command line and in YAML: `max-new-tokens`, `lambda`."""
    return field.rstrip("_").replace("_", "-")


def _bare(annotation: Any) -> Any:
    """`Annotated[int, ...] | None` is int."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            (annotation,) = (member for member in get_args(annotation) if member is not type(None))
        else:
            return annotation
