"""The run card, RUN/run.json: everything that defines a run, so that numbers can be traced to teacher answers."""

from __future__ import annotations

import json
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from cotdistill import __version__
from cotdistill.data.card_shape import CardShape
from cotdistill.data.files import json_digest, write_json
from cotdistill.errors import DataError, UsageError

RUN = ("run.json", "checkpoints", "first", "metrics.jsonl", "timings.jsonl", "track")  # what identifies a run directory
PACKAGES = ("torch", "transformers", "tokenizers", "accelerate")


class RunCard(BaseModel):
    """The fields below; `key`, the digest of all that defines the result, is what later stages trust."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    strategy: dict[str, Any]  # name, paper, params, plan, explain and the rendered forms
    student: dict[str, Any]  # name, family, digest of the weights it started from
    data: dict[str, Any]  # source, digest, rows, samples, left out and dropped with reasons
    config: dict[str, Any]
    counts: dict[str, Any]  # learned tokens per form, input tokens of one pass
    trained: dict[str, Any]  # steps, processes
    versions: dict[str, str]
    defaults: dict[str, str] = {}  # options not given: where their values come from

    def write(self, run: Path) -> None:
        """RUN/run.json, written last: its presence says that the run is complete."""
        write_json(run / "run.json", self.model_dump(mode="json"))


def refuse_foreign(folder: Path, ours: Collection[str] = RUN) -> None:
    """Raise `UsageError` where a directory holds files, but none of `ours`: they would be mixed with what we write."""
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")} if folder.is_dir() else set()
    if names and not names & {*ours}:
        raise UsageError(
            f"{folder} contains files that this command did not write, such as {min(names)!r}; choose another "
            "--out, or pass --overwrite"
        )


def read_card(run: Path) -> RunCard:
    """The card of a run directory; `DataError` where it is missing or damaged."""
    path = run / "run.json"
    if not path.is_file():
        raise DataError.at(str(run), None, "is not a finished run (no run.json)", "give a directory made by distill")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        CardShape.model_validate_json(json.dumps(fields))
        return RunCard.model_validate(fields)
    except OSError as error:
        raise DataError.at(str(path), None, str(error.strerror), "check its permissions") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        what = f"{'.'.join(map(str, first['loc'])) or 'card'}: {first['msg'].lower()}"
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, nested too deeply
        what = str(error).splitlines()[0]
    raise DataError.at(str(path), None, f"damaged: {what}", "remove it and distill again")


def package_versions() -> dict[str, str]:
    """Versions of what numbers depend on; this package may run from a checkout, without metadata of its own."""
    return {"cotdistill": __version__, **{name: version(name) for name in PACKAGES}}


def run_key(**parts: Any) -> str:
    """One digest over everything that defines a result."""
    return json_digest(parts)
