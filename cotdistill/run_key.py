"""The definition of a run's result. Its digest is the run's key: two runs with one key are the same run.

Everything is identified by its content: rows, word scores, dev rows and the student's files by their digests, a plug-in
by its code (`Strategy.code`); a run whose student is trained further by its own key, as the same key gives the same
student. Paths and file names do not identify anything, but for the student's name as it was
given, which is in the key beside its digest: `base`, `./base` and `base/` are one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from cotdistill.config import DistillConfig
from cotdistill.config.option import options_of
from cotdistill.data.distributions import beside
from cotdistill.data.files import file_digest, json_digest
from cotdistill.data.mixture import mix_digest, mixed_files
from cotdistill.data.records import Example, digest
from cotdistill.data.runcard import RunCard, read_card
from cotdistill.plugins.kinds import DIVERGENCES
from cotdistill.strategies.description import dump_strategy
from cotdistill.strategies.forms import Strategy
from cotdistill.students.places import Place, locate, teacher_model

# A model's files: weights, settings, vocabularies, chat templates, and code that trust_remote_code would run.
MODEL_FILES = {".json", ".safetensors", ".model", ".txt", ".jinja", ".tiktoken", ".spm", ".vocab", ".bpe", ".py"}
# Files that transformers reads beside a GGUF file, in preference to its metadata.
TOKENIZER_FILES = {
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
}

# What a run may read beside its rows, as `also_read` gives it and run cards keep it.
ALSO_READ = ("scores", "dev", "kd", "mix", "teacher", "kd_code", "on_policy_code", "start", "kd_mix")


def definition(
    config: DistillConfig, strategy: Strategy, rows: str, dev: Sequence[Example] | None = None
) -> dict[str, Any]:
    """Everything that defines a run's result. `rows`: digest of the training items; `dev`: what `--dev` names."""
    return _definition(
        dump_strategy(strategy),
        rows,
        student_digest(config.student),
        config.model_dump(mode="json"),
        also_read(config, dev),
    )


def also_read(config: DistillConfig, dev: Sequence[Example] | None) -> dict[str, str | None]:
    """Digests of what a run reads beside its rows."""
    return {
        "scores": None if config.scores is None else file_digest(config.scores),
        "dev": None if dev is None else digest(dev),
        "kd": None if config.kd is None or config.kd_file is None else _digest(config.kd_file),
        "mix": mix_digest(config.mix),
        "teacher": None if config.teacher is None else student_digest(teacher_model(config.teacher)),
        "kd_code": _code_of(config.kd),
        "on_policy_code": None if config.on_policy is None else _code_of(config.on_policy_divergence),
        "kd_mix": None if config.kd is None else _kd_mix(config.mix),
        "start": None if config.start is None else read_card(config.start).key,
    }


def _kd_mix(mix: Sequence[str]) -> str | None:
    """Digest of the distributions of the files that are mixed in."""
    files = [beside(file) for file in mixed_files(mix)]
    return json_digest([_digest(file) for file in files]) if files else None


def _code_of(divergence: str | None) -> str | None:
    """Digest of the code of a plug-in's divergence."""
    entry = None if divergence is None else DIVERGENCES.find(divergence.partition(":")[0])
    return None if entry is None else entry.code


def card_key(card: RunCard) -> str:
    """The key that the parts of a run card give."""
    files = {name: card.data.get(name) for name in ALSO_READ}
    return json_digest(_definition(card.strategy, card.data["digest"], card.student["digest"], card.config, files))


def _definition(
    strategy: Mapping[str, Any], rows: str, student: str, config: Mapping[str, Any], files: Mapping[str, str | None]
) -> dict[str, Any]:
    keyed = {name: config[name] for name, option in options_of(DistillConfig).items() if option.key and name in config}
    return {
        "strategy": dict(strategy),
        "rows": rows,
        "student": student,
        "config": {**keyed, "student": os.path.normpath(config["student"])},
        **{name: digest for name, digest in files.items() if digest is not None},
    }


def student_digest(name: str) -> str:
    """Digest of a local model's files, an adapter's base included, or of a GGUF file; NAME@COMMIT of a hub name."""
    return _place_digest(locate(name))


def _place_digest(place: Place) -> str:
    if place.commit is not None:
        return str(place)
    folder = Path(place.where)
    files = [
        path
        for path in folder.iterdir()
        if path.suffix in MODEL_FILES and (place.gguf is None or path.name in TOKENIZER_FILES)
    ]
    files += folder.glob("additional_chat_templates/*.jinja")
    digests = {str(path.relative_to(folder)): _digest(path) for path in sorted(files) if path.is_file()}
    if place.file is not None:
        return json_digest(digests | {"gguf": _digest(place.file)}) if digests else _digest(place.file)
    return json_digest(digests | ({"base": _place_digest(place.base)} if place.base else {}))


def _digest(path: Path) -> str:
    """Weights are read once per process, and again after they were rewritten."""
    state = path.stat()
    return _read_digest(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=256)
def _read_digest(path: Path, written: int, size: int) -> str:
    return file_digest(path)
