"""Where a model is: a folder, a GGUF file, an adapter on its base, or a hub name at one commit.

A model of the hub is written NAME or NAME@REVISION (branch, tag or commit) everywhere: a grid names several students
and a teacher, `evaluate` a model and a simulator, an adapter its base. A single option --revision could not tell which
one; where a command names one model, it is short for this.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cotdistill.config import DEMO
from cotdistill.data.network import unreachable_hub
from cotdistill.errors import Unavailable, UsageError, missing_extra
from cotdistill.students.gguf_file import check_gguf, gguf_of, is_gguf
from cotdistill.students.model_files import ADAPTER, PICKLED, adapter_base, check_model_folder, is_adapter

Above = tuple[Path, ...]


@dataclass(frozen=True)
class Place:
    """`where`: a folder or a hub name; `gguf`: the file in that folder; `commit`: of the hub; `base`: an adapter's."""

    where: str
    gguf: str | None = None
    commit: str | None = None
    base: Place | None = None

    @property
    def weights(self) -> Place:
        """The place of the model's own weights: for an adapter, its base's."""
        return self if self.base is None else self.base.weights

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of from_pretrained besides `where`."""
        return ({"gguf_file": self.gguf} if self.gguf else {}) | ({"revision": self.commit} if self.commit else {})

    @property
    def file(self) -> Path | None:
        """The GGUF file."""
        return Path(self.where) / self.gguf if self.gguf else None

    def __str__(self) -> str:
        """As given to a command."""
        return str(self.file or (f"{self.where}@{self.commit}" if self.commit else self.where))


def locate(name: str, above: Above = ()) -> Place:
    """A local model, its files checked, or a name of the hub. `above`: the adapters that use it.

    Raises `Unavailable` for a model that is missing or cannot be loaded, `UsageError` for a local one with a revision.
    """
    if name == DEMO:
        return Place(str(demo_model("base")))
    place = Path(name).expanduser()
    try:
        if place.is_dir():
            return _in_folder(place, above)
        if is_gguf(place):
            return _gguf(place)
    except Unavailable as error:
        raise Unavailable(f"cannot load the model {name!r}: {error}") from None
    if (place.parent / "run.json").is_file():
        raise Unavailable(f"cannot load the model {name!r}: no such folder; the run's model is gone, train it again")
    if place.is_file():
        raise Unavailable(
            f"cannot load the model {name!r}: a file; a model is a folder in Hugging Face "
            "format, a GGUF file, or a hub name"
        )
    hub_name, revision = name_and_revision(name)
    if hub_name.startswith(("/", "./", "../", "~")) or hub_name.count("/") > 1:
        raise Unavailable(f"cannot load the model {name!r}: no such folder; check the path")
    return _on_hub(name, hub_name, revision, above)


def name_and_revision(name: str) -> tuple[str, str | None]:
    """(NAME, REVISION) of NAME@REVISION, unless it is a path. Raises `UsageError` where NAME is a local model."""
    if "@" not in name or Path(name).expanduser().exists():
        return name, None
    before, _, revision = name.rpartition("@")
    local = Path(before).expanduser().exists() or before.startswith(("/", "./", "../", "~"))
    if before == DEMO or (before and local):
        raise UsageError(f"{name}: {before} is a local model, which has no revisions; omit @{revision}")
    if not before or not revision:
        raise UsageError(f"{name}: write a hub model at a revision as NAME@REVISION")
    return before, revision


def at_revision(name: str, revision: str | None) -> str:
    """NAME@REVISION of --revision. Raises `UsageError` where NAME has no revisions, or names one already."""
    if revision is None:
        return name
    if "@" in name and not Path(name).expanduser().exists():
        raise UsageError(f"--revision {revision}: {name} already names a revision; give only one")
    return "@".join(str(part) for part in name_and_revision(f"{name}@{revision}"))


def demo_model(role: str) -> Path:
    """Folder of an embedded model: teacher, base or simulator."""
    return Path(__file__).parents[1] / "demo" / "models" / role


def teacher_model(name: str) -> str:
    """A teacher's model as `locate` is given it: as a teacher, demo is another one than as a student."""
    return str(demo_model("teacher")) if name == DEMO else name


def _in_folder(folder: Path, above: Above) -> Place:
    if is_adapter(folder):
        check_model_folder(folder)
        return Place(str(folder), base=_base(folder, above))
    file = gguf_of(folder)
    if file is not None:
        return _gguf(file)
    check_model_folder(folder)
    return Place(str(folder))


def _gguf(file: Path) -> Place:
    if find_spec("gguf") is None:
        raise missing_extra("gguf", f"the GGUF file {file}")
    check_gguf(file)
    return Place(str(file.parent), file.name)


def _base(adapter: Path, above: Above) -> Place:
    """The place of an adapter's base, which may itself be an adapter; a relative path is tried here, then beside it."""
    base = adapter_base(adapter)
    beside = adapter / base
    place = str(beside) if beside.exists() and not Path(base).exists() else base
    above = (*above, adapter.resolve())
    if Path(place).resolve() in above:
        raise Unavailable(
            f"{adapter} is an adapter of {base!r}, which is itself an adapter of it; write the base model's path into "
            f"{adapter / ADAPTER}"
        )
    try:
        return locate(place, above)
    except Unavailable as error:
        raise Unavailable(f"{adapter} is an adapter of {base!r}, which cannot be loaded: {error}") from None


def _on_hub(name: str, hub_name: str, revision: str | None, above: Above) -> Place:
    from huggingface_hub import constants, snapshot_download

    why = unreachable_hub()
    cache = constants.HF_HUB_CACHE
    try:
        adapter = _commit(hub_name, revision, ADAPTER, cache)
    except Exception:  # most models are not adapters
        adapter = None
    if adapter is not None:
        pickled = [f"*{suffix}" for suffix in PICKLED]
        folder = Path(snapshot_download(hub_name, revision=adapter, ignore_patterns=pickled))
        if is_adapter(folder):
            return Place(str(folder), base=_base(folder, above))
    try:
        return Place(hub_name, commit=_commit(hub_name, revision, "config.json", cache))
    except Exception as error:  # the hub's, the transport's, or of an impossible name
        missing = f"no such folder, {'that revision is ' if revision else ''}not in the hub's local cache, and {why}"
        raise Unavailable(f"cannot load the model {name!r}: {missing if why else _line(error)}") from error


@lru_cache(maxsize=256)
def _commit(hub_name: str, revision: str | None, file: str, cache: str) -> str:
    """The commit at which a model of the hub has a file, which is then in the local cache: one commit per process."""
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(hub_name, file, revision=revision, cache_dir=cache)).parent.name


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
