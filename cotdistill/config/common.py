"""What every command's config has: the common options, and how a config is built from a file and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from cotdistill.config.option import Most, option, options_of
from cotdistill.config.reading import coerced, explain, read_config
from cotdistill.errors import UsageError

Dtype = Literal["float32", "bfloat16", "float16"]
DEMO = "demo"
GENERAL = "General"


class Options(BaseModel):
    """A frozen group of options. Unknown names, infinite numbers and NaN are refused, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Config(Options):
    """Options that every command has."""

    seed: int = option(0, "Seed of training and of every draw", GENERAL, ge=0, le=Most)
    data_seed: int = option(0, "Seed of what is drawn from data", GENERAL, ge=0, le=Most)
    limit: int | None = option(None, "Read at most this many rows", GENERAL, gt=0, le=Most)
    plugin: tuple[Path, ...] = option((), "Python file with strategies of your own (repeatable)", GENERAL, key=False,
                                      repeated=True)
    device: str = option("auto", "auto, cpu, cuda, cuda:1, ...", GENERAL, key=False)
    dtype: Dtype = option("float32", "Precision of the model", GENERAL)
    trust_remote_code: bool = option(False, "Run code that is shipped with a model", GENERAL)

    @classmethod
    def build(cls, file: Path | None = None, **given: Any) -> Self:
        """The configuration from `--config FILE` and the options that were given (None: not given)."""
        options = options_of(cls)
        values = read_config(file, options) if file else {}
        values |= {name: value for name, value in given.items() if value is not None}
        values = {name: coerced(options[name], value) if name in options else value
                  for name, value in values.items()}
        try:
            return cls(**values)
        except ValidationError as error:
            raise UsageError(explain(error, options)) from None

    def defining(self) -> dict[str, Any]:
        """The options that are part of what defines a result, as plain data."""
        kept = {name for name, one in options_of(type(self)).items() if one.key}
        return self.model_dump(mode="json", include=kept)
