"""Checks of a model's folder before a library trips over it: one line that names the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from cotdistill.errors import Unavailable

ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
INDEX = "model.safetensors.index.json"
LFS = b"version https://git-lfs"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# Files that libraries read silently although damaged, or with an error that names no file.
JSON = {"config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json", ADAPTER, INDEX}


def check_model_folder(folder: Path, purpose: str = "a model") -> None:
    """Raise `Unavailable` for a folder that cannot be loaded: because of what is missing, damaged or unreadable."""
    adapter = is_adapter(folder)
    if (folder / "run.json").is_file() and not adapter and not (folder / "config.json").is_file():
        raise Unavailable(f"{folder} is a run, not {purpose}; its model is {folder / 'student'}")
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        check_model_file(file)
    if not adapter and not (folder / "config.json").is_file():
        pickled = next(_pickled(folder), None)
        raise Unavailable(
            f"{folder} has no config.json{f', only {pickled.name}' if pickled else ''}; give a folder in "
            "Hugging Face format (config.json, model.safetensors, a tokenizer) or a GGUF file"
        )
    if not any(folder.glob(ADAPTER_WEIGHTS if adapter else "*.safetensors")):
        raise Unavailable(_no_weights(folder, adapter))
    _check_shards(folder)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds a PEFT adapter: its weights are added to those of a base."""
    return (folder / ADAPTER).is_file() and not any(folder.glob("model*.safetensors"))


def adapter_base(folder: Path) -> str:
    """The base an adapter was trained on, by path, or by hub name with the revision where one is named."""
    settings = read_json(folder / ADAPTER)
    base, revision = settings.get("base_model_name_or_path"), settings.get("revision")
    if not base:
        raise Unavailable(f"{folder / ADAPTER}: no base_model_name_or_path; write the base model's path there")
    local = str(base).startswith(("/", "./", "../", "~")) or Path(str(base)).exists() or (folder / str(base)).exists()
    return f"{base}@{revision}" if revision and not local else str(base)


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object, or `Unavailable` with the file's name."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise Unavailable(f"{file}: not JSON ({error}); copy or download it again") from None
    if not isinstance(value, dict):
        raise Unavailable(f"{file}: a JSON {type(value).__name__}, not an object; copy or download it again")
    return value


def check_model_file(file: Path) -> None:
    """Raise `Unavailable` for a file of a model that is a pointer, damaged or unreadable."""
    try:
        with file.open("rb") as stream:
            head = stream.read(len(LFS))
    except OSError as error:
        raise Unavailable(f"{file}: {error.strerror}") from None
    if head == LFS:
        raise Unavailable(f"{file}: a Git LFS pointer, not the file itself; fetch it with: git lfs pull")
    if file.name in JSON:
        read_json(file)
    if file.suffix == ".safetensors":
        try:
            with safe_open(file, framework="numpy"):
                pass
        except (SafetensorError, OSError, ValueError) as error:
            raise Unavailable(f"{file}: damaged or cut off ({_line(error)}); copy or download it again") from None


def _check_shards(folder: Path) -> None:
    index = folder / INDEX
    if not index.is_file():
        return
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict):
        raise Unavailable(f"{index}: no weight_map; copy or download it again")
    missing = sorted({str(shard) for shard in shards.values() if not (folder / str(shard)).is_file()})
    if missing:
        raise Unavailable(
            f"{folder / missing[0]}: missing, one of {len(missing)} shards that {INDEX} names; copy or download it"
        )


def _pickled(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.iterdir()) if file.suffix in PICKLED)


def _no_weights(folder: Path, adapter: bool) -> str:
    pickled = next(_pickled(folder), None)
    wanted = ADAPTER_WEIGHTS if adapter else "model.safetensors"
    if pickled is not None:
        return (
            f"{pickled}: pickled weights, which can run code when they are read; convert them where you trust "
            f"them: load the model with transformers and save it with save_pretrained ({wanted})"
        )
    return f"{folder} has no weights ({wanted}); copy or download them"


def _line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
