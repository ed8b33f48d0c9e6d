"""What defines a run's result. The digest of it is the run's key: two runs with one key are the same run.

Everything counts by its content: rows, word scores, dev rows and the student's files by their digests, a plug-in by
its code (`Strategy.code`). Paths and file names do not identify anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from cotdistill.config import DistillConfig
from cotdistill.config.option import options_of
from cotdistill.data.files import file_digest, json_digest
from cotdistill.data.records import Example, digest
from cotdistill.data.runcard import RunCard
from cotdistill.strategies.description import describe
from cotdistill.strategies.forms import Strategy
from cotdistill.students.places import Place, locate

# A model's files: weights, settings, vocabularies, chat templates, and code that trust_remote_code would run.
MODEL_FILES = {".json", ".safetensors", ".model", ".txt", ".jinja", ".tiktoken", ".spm", ".vocab", ".bpe", ".py"}
# What transformers reads beside a GGUF file, before the file's own.
TOKENIZER_FILES = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
                   "chat_template.jinja"}


def definition(config: DistillConfig, strategy: Strategy, rows: str,
               dev: Sequence[Example] | None = None) -> dict[str, Any]:
    """Everything that defines a run's result. `rows`: digest of the training items; `dev`: what `--dev` names."""
    return _definition(describe(strategy), rows, student_digest(config.student), config.model_dump(mode="json"),
                       also_read(config, dev))


def also_read(config: DistillConfig, dev: Sequence[Example] | None) -> dict[str, str | None]:
    """Digests of what a run reads beside its rows."""
    return {"scores": None if config.scores is None else file_digest(config.scores),
            "dev": None if dev is None else digest(dev)}


def card_key(card: RunCard) -> str:
    """The key that the parts of a run card give."""
    files = {name: card.data.get(name) for name in ("scores", "dev")}
    return json_digest(_definition(card.strategy, card.data["digest"], card.student["digest"], card.config, files))


def _definition(strategy: Mapping[str, Any], rows: str, student: str, config: Mapping[str, Any],
                files: Mapping[str, str | None]) -> dict[str, Any]:
    return {"strategy": dict(strategy), "rows": rows, "student": student,
            "config": {name: config[name] for name, one in options_of(DistillConfig).items()
                       if one.key and name in config},
            **{name: found for name, found in files.items() if found is not None}}


def student_digest(name: str) -> str:
    """Digest of a local model's files, an adapter's base included, or of a GGUF file; NAME@COMMIT of a hub name."""
    return _place_digest(locate(name))


def _place_digest(place: Place) -> str:
    if place.commit is not None:
        return str(place)
    folder = Path(place.where)
    files = [path for path in folder.iterdir() if path.suffix in MODEL_FILES
             and (place.gguf is None or path.name in TOKENIZER_FILES)]
    files += folder.glob("additional_chat_templates/*.jinja")
    found = {str(path.relative_to(folder)): _digest(path) for path in sorted(files) if path.is_file()}
    if place.file is not None:
        return json_digest(found | {"gguf": _digest(place.file)}) if found else _digest(place.file)
    return json_digest(found | ({"base": _place_digest(place.base)} if place.base else {}))


def _digest(path: Path) -> str:
    """Weights are read once a process, and again when they were written again."""
    state = path.stat()
    return _read_digest(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=256)
def _read_digest(path: Path, written: int, size: int) -> str:
    return file_digest(path)
