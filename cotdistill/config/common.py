"""What every command's config has: the common options, and how a config is built from a file and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from cotdistill.config.option import Most, Option, option, options_of
from cotdistill.config.reading import by_path, coerced, explain_error, read_config
from cotdistill.errors import UsageError

Dtype = Literal["float32", "bfloat16", "float16"]
DEMO = "demo"
GENERAL = "General"
ROWS = "Reading rows"


class Options(BaseModel):
    """A frozen group of options. Unknown names, infinite numbers and NaN are refused, never ignored."""

    # `defer_build`: a command pays for the validator of its own config, not for those of all others.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class ForeignRows(Options):
    """How rows are read that other tools wrote."""

    map: str | None = option(
        None,
        "Columns of rows in another format: question=COL,choices=A+B+C,answer=COL; recordings: id=COL,text=COL",
        ROWS,
    )


class BadRows(Options):
    """What is done with rows that cannot be read."""

    bad_rows: Literal["stop", "skip"] = option(
        "stop", "Unreadable rows: stop at the first, or skip, list and count them", ROWS, key=False
    )
    max_bad_rows: float = option(
        0.2, "Fail if more than this share of a file would be skipped", ROWS, key=False, ge=0, le=1
    )

    def apart(self) -> BadRows:
        """These two without what else a command's config holds."""
        return BadRows(bad_rows=self.bad_rows, max_bad_rows=self.max_bad_rows)


class Config(Options):
    """Options that every command has."""

    own_sections: ClassVar[tuple[str, ...]] = ()  # names under which YAML may group options of the config itself

    seed: int = option(0, "Seed of training and of every draw", GENERAL, ge=0, le=Most)
    data_seed: int = option(0, "Seed of everything sampled from data", GENERAL, ge=0, le=Most)
    limit: int | None = option(None, "Read at most this many rows", GENERAL, gt=0, le=Most)
    plugin: tuple[Path, ...] = option(
        (),
        "Python file with strategies, data sets, checkers, ... of your own (repeatable)",
        GENERAL,
        key=False,
        repeated=True,
        files=True,
    )
    device: str = option(
        "auto", "Device: auto (cuda, else mps, else cpu), cpu, cuda, cuda:1, mps, ...", GENERAL, key=False
    )
    dtype: Dtype = option(
        "float32",
        "Precision of the model",
        GENERAL,
        shown="float32; bfloat16 to train a pretrained student on a GPU that has it",
    )
    trust_remote_code: bool = option(False, "Run code that ships with a model", GENERAL)
    partial_weights: bool = option(
        False, "Load a model even if its files lack weights (initialised at random) or have unused ones", GENERAL
    )

    overwrite: bool = option(
        False, "Replace an output that other settings or another program wrote", GENERAL, key=False
    )
    repair: bool = option(
        False, "Move damaged lines of unfinished work to FILE.damaged and redo them", GENERAL, key=False
    )

    @classmethod
    def build(cls, file: Path | None = None, **given: Any) -> Self:
        """The configuration from `--config FILE` and the options that were given (None: not given)."""
        options = options_of(cls)
        values = read_config(file, options, cls.own_sections) if file else {}
        values |= by_path(
            {name: value for name, value in given.items() if value is not None}, options, cls.own_sections, ""
        )
        try:
            config = cls(**cls._nested({path: coerced(options[path], value) for path, value in values.items()}))
        except ValidationError as error:
            raise UsageError(explain_error(error, options)) from None
        for path in values:
            config._refuse_idle(path, options)
        return config

    def _refuse_idle(self, path: str, options: Mapping[str, Option]) -> None:
        """Complain about an option that would change nothing, as what it belongs to was not asked for."""
        section, dot, name = path.rpartition(".")
        owner, option = getattr(self, section) if dot else self, options[path]
        if not option.needs or getattr(owner, name) == option.info.get_default(
            call_default_factory=True, validated_data={}
        ):
            return
        if any(is_met(need, owner) or is_met(need, self) for need in option.needs):
            return
        wanted = []
        for field, equals, values in (need.partition("=") for need in option.needs):
            at = next((at for at in ([f"{section}.{field}"] if dot else []) + [field] if at in options), None)
            if at is not None:
                wanted.append(options[at].name + (f" {values.replace('*', 'NAME')}" if equals else ""))
        without = f" without {' or '.join(dict.fromkeys(wanted))}" if wanted else " here"
        raise UsageError(f"{option.name} changes nothing{without}")

    @classmethod
    def _nested(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Values by path as fields; a section keeps what its default sets."""
        fields = {path: value for path, value in values.items() if "." not in path}
        for path, value in values.items():
            section, dot, name = path.partition(".")
            if dot:
                default = cls.model_fields[section].default
                inner = fields.setdefault(
                    section, {field: getattr(default, field) for field in default.model_fields_set}
                )
                inner[name] = value
        return fields

    def with_defaults(self, values: Mapping[str, Any]) -> Self:
        """The configuration with these values where nothing was given."""
        options = options_of(type(self))
        config, update = self, {}
        for path, value in by_path(values, options, self.own_sections, "").items():
            section, dot, name = path.rpartition(".")
            owner = getattr(config, section) if dot else config
            if name in owner.model_fields_set:
                continue
            update[section or name] = owner.model_copy(update={name: value}) if dot else value
            config = config.model_copy(update=update)
        return config

    def defining(self) -> dict[str, Any]:
        """The options that are part of what defines a result, as plain data."""
        return self.model_dump(
            mode="json", include={name for name, option in options_of(type(self)).items() if option.key}
        )


def is_met(need: str, options: Options) -> bool:
    """Whether a field is set, or, of `FIELD=ONE|OTHER*`, matches one of the patterns."""
    field, equals, patterns = need.partition("=")
    value = getattr(options, field, None)
    if not equals:
        return bool(value)
    values = value if isinstance(value, tuple) else (value,)
    return any(fnmatchcase(str(one), pattern) for one in values for pattern in patterns.split("|"))
