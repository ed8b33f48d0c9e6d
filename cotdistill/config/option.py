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

Kind = Literal["flag", "value", "list", "repeated", "mapping", "pair"]
Most = 10**9  # the largest count, size or seed that an option takes: far above any use, far below any overflow


def option(default: Any, help: str, panel: str, *, key: bool = True, shown: str | None = None,
           names: tuple[str, ...] = (), repeated: bool = False, files: bool = False, needs: str = "",
           **bounds: Any) -> Any:
    """A field of a config that is an option of the command line too.

    `help`: the sentence of --help. `panel`: the group it stands in there. `key`: whether it is part of what defines a
    result. `shown`: what --help calls the default, where the value does not say it. `names`: its flags, where they
    are not made from the field's name. `repeated`: a tuple given by repeating the option, not by commas. `files`: a
    text that may name a file (`~` is the home directory). `needs`: fields, one of which must be set for it to mean
    anything: without them it is refused, not ignored. `bounds`: pydantic's constraints (gt, le, min_length, ...).
    """
    extra: dict[str, Any] = {"panel": panel, "key": key, "names": list(names), "repeated": repeated, "files": files,
                             "needs": needs.split()}
    if shown is not None:
        extra["shown"] = shown
    return Field(default, description=help, json_schema_extra=extra, **bounds)


def section(default: BaseModel, title: str, prefix: str) -> Any:
    """A field that holds the options of another command, in YAML a mapping of its own.

    On the command line they keep their names; one that would meet another option's takes `prefix` before it. `title`
    stands before their panels. What `default` sets is the default here.
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
        """The group it stands in."""
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
    def type(self) -> Any:
        """The type without None and without constraints."""
        return _bare(self.info.annotation)

    @property
    def kind(self) -> Kind:
        """How it is written."""
        made = self.type
        if made is bool:
            return "flag"
        if get_origin(made) is dict:
            return "mapping"
        if get_origin(made) is not tuple:
            return "value"
        if get_args(made)[-1] is not Ellipsis:
            return "pair"
        return "repeated" if self._extra("repeated") else "list"

    @property
    def values(self) -> tuple[str, ...]:
        """The values it is chosen from; empty where any will do."""
        made = _bare(get_args(self.type)[0]) if self.kind in ("list", "repeated") else self.type
        return tuple(map(str, get_args(made))) if get_origin(made) is Literal else ()

    @property
    def shown(self) -> str | None:
        """The default as --help shows it."""
        default = self.default
        if (said := self._extra("shown")) is not None and default == self.info.default:
            return str(said)
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
    met = Counter([*fields, *(one for default in sections.values() for one in type(default).model_fields)])
    found = {name: Option(name, info, default=info.default) for name, info in fields.items() if name not in sections}
    for name, default in sections.items():
        extra = fields[name].json_schema_extra
        assert isinstance(extra, dict)
        for one, info in type(default).model_fields.items():
            prefix = str(extra["prefix"]) if met[one] > 1 else ""
            made = Option(one, info, name, f"{fields[name].description}: ", prefix, getattr(default, one))
            found[made.path] = made
    return found


def spelled(field: str) -> str:
    """A field's name as it is written on the command line and in YAML: `max-new-tokens`, `lambda`."""
    return field.rstrip("_").replace("_", "-")


def _bare(annotation: Any) -> Any:
    """`Annotated[int, ...] | None` is int."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            (annotation,) = (one for one in get_args(annotation) if one is not type(None))
        else:
            return annotation
