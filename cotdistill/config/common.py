"""What every command's config has: the common options, and how a config is built from a file and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from cotdistill.config.option import Most, Option, option, options_of
from cotdistill.config.reading import by_path, coerced, explain, read_config
from cotdistill.errors import UsageError

Dtype = Literal["float32", "bfloat16", "float16"]
DEMO = "demo"
GENERAL = "General"
ROWS = "Reading rows"


class Options(BaseModel):
    """A frozen group of options. Unknown names, infinite numbers and NaN are refused, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ForeignRows(Options):
    """How rows are read that other tools wrote."""

    map: str | None = option(None, "Columns of foreign rows: question=COL,choices=A+B+C,answer=COL; of recordings: "
                             "id=COL,text=COL", ROWS)


class BadRows(Options):
    """What is done with rows that cannot be read."""

    bad_rows: Literal["stop", "skip"] = option(
        "stop", "Rows that cannot be read: stop at the first, or skip, list and count them", ROWS, key=False)
    max_bad_rows: float = option(0.2, "Fail where a larger share of a file would be skipped", ROWS, key=False, ge=0,
                                 le=1)


class Config(Options):
    """Options that every command has."""

    own_sections: ClassVar[tuple[str, ...]] = ()  # names under which YAML may group options of the config itself

    seed: int = option(0, "Seed of training and of every draw", GENERAL, ge=0, le=Most)
    data_seed: int = option(0, "Seed of what is drawn from data", GENERAL, ge=0, le=Most)
    limit: int | None = option(None, "Read at most this many rows", GENERAL, gt=0, le=Most)
    plugin: tuple[Path, ...] = option((), "Python file with strategies of your own (repeatable)", GENERAL, key=False,
                                      repeated=True)
    device: str = option("auto", "auto (cuda, else mps, else cpu), cpu, cuda, cuda:1, mps, ...", GENERAL, key=False)
    dtype: Dtype = option("float32", "Precision of the model", GENERAL,
                          shown="float32; bfloat16 to train a pretrained student on a GPU that has it")
    trust_remote_code: bool = option(False, "Run code that is shipped with a model", GENERAL)
    partial_weights: bool = option(
        False, "Load a model though weights are missing from its files (they start at random) or left over", GENERAL)

    overwrite: bool = option(False, "Replace an output that holds something else", GENERAL, key=False)
    repair: bool = option(False, "Set damaged lines of unfinished work aside (FILE.damaged) and make them again",
                          GENERAL, key=False)

    @classmethod
    def build(cls, file: Path | None = None, **given: Any) -> Self:
        """The configuration from `--config FILE` and the options that were given (None: not given)."""
        options = options_of(cls)
        values = read_config(file, options, cls.own_sections) if file else {}
        values |= by_path({name: value for name, value in given.items() if value is not None}, options,
                          cls.own_sections, "")
        try:
            made = cls(**cls._nested({path: coerced(options[path], value) for path, value in values.items()}))
        except ValidationError as error:
            raise UsageError(explain(error, options)) from None
        for path in values:
            made._refuse_idle(path, options)
        return made

    def _refuse_idle(self, path: str, options: Mapping[str, Option]) -> None:
        """Complain about an option that would change nothing, as what it belongs to was not asked for."""
        section, dot, name = path.rpartition(".")
        held, one = getattr(self, section) if dot else self, options[path]
        if not one.needs or getattr(held, name) == one.info.get_default(call_default_factory=True, validated_data={}):
            return
        if not any(getattr(group, field, None) for group in (held, self) for field in one.needs):
            prefix = f"{section}." if dot else ""
            wanted = [options[at].name for field in one.needs for at in (prefix + field, field) if at in options]
            raise UsageError(f"{one.name} changes nothing without {' or '.join(dict.fromkeys(wanted))}")

    @classmethod
    def _nested(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Values by path as fields; a section keeps what its default sets."""
        made = {path: value for path, value in values.items() if "." not in path}
        for path, value in values.items():
            section, dot, name = path.partition(".")
            if dot:
                default = cls.model_fields[section].default
                held = made.setdefault(section, {one: getattr(default, one) for one in default.model_fields_set})
                held[name] = value
        return made

    def with_defaults(self, values: Mapping[str, Any]) -> Self:
        """The configuration with these values where nothing was given."""
        options = options_of(type(self))
        found, update = self, {}
        for path, value in by_path(values, options, self.own_sections, "").items():
            section, dot, name = path.rpartition(".")
            held = getattr(found, section) if dot else found
            if name in held.model_fields_set:
                continue
            update[section or name] = held.model_copy(update={name: value}) if dot else value
            found = found.model_copy(update=update)
        return found

    def defining(self) -> dict[str, Any]:
        """The options that are part of what defines a result, as plain data."""
        return self.model_dump(mode="json", include={name for name, one in options_of(type(self)).items() if one.key})
